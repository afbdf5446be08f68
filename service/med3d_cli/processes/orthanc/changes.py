"""The smallest change that lets an Orthanc tell of stable studies: what is added, and the one line that grows.

Orthanc reads every ``*.json`` of its folder and does not start where two of them define the same key, so a file of ours
may hold only what no other does.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from med3d_cli.errors import CommandError
from med3d_cli.processes.orthanc.commented_json import NotJsonError, put_into_list, read_object
from med3d_cli.processes.orthanc.exact_files import read_exactly

OURS, SCRIPT, SECRET_FILE, DROP_IN = "med3d.json", "med3d.lua", "med3d.env", "med3d.conf"
HOOK_VARIABLE = "MED3D_HOOK_SECRET"
DICOMWEB_PLUGIN = "libOrthancDicomWeb.so"
_KINDS: dict[str, tuple[type, str]] = {
    "LuaScripts": (list, "list of scripts"),
    "Plugins": (list, "list of files and folders"),
    "DicomWeb": (dict, "section"),
}


@dataclass(frozen=True)
class Hook:
    """Where Orthanc calls, and the name under which the peers' file knows it."""

    url: str
    peer: str


@dataclass(frozen=True)
class Change:
    """One file as it is (empty where there is none) and as it should be."""

    path: Path
    before: str
    after: str
    secret: bool = False


@dataclass(frozen=True)
class Configuration:
    """The settings of a folder, each with the file that defines it."""

    folder: Path
    texts: dict[Path, str]
    settings: dict[str, Any]
    defined_in: dict[str, Path]


def read_configuration(folder: Path) -> Configuration:
    """Read what Orthanc would, but for our own file. Raises CommandError."""
    found = Configuration(folder, {}, {}, {})
    if not folder.is_dir():
        raise CommandError(f"{folder} is no folder; Debian's Orthanc is configured in /etc/orthanc")
    for path in sorted(folder.glob("*.json")):
        if path.is_dir():
            continue
        try:
            text = read_exactly(path)
            settings = read_object(text)
        except OSError as error:
            raise CommandError(f"{path} cannot be read ({type(error).__name__}); try as root") from error
        except NotJsonError as error:
            raise CommandError(f"{path} is not JSON as Orthanc reads it: {error}") from error
        found.texts[path] = text
        if path.name != OURS:
            _take(found, path, settings)
    if "Med3d" in found.defined_in:
        raise CommandError(f"{found.defined_in['Med3d']} defines Med3d; take it out there, {OURS} is to hold it")
    return found


def _take(found: Configuration, path: Path, settings: dict[str, Any]) -> None:
    """Add the settings of one file. Raises CommandError for what Orthanc does not start with."""
    for key in settings.keys() & found.defined_in.keys():
        raise CommandError(f"{path} and {found.defined_in[key]} both define {key}: Orthanc does not start so")
    for key in settings.keys() & _KINDS.keys():
        kind, words = _KINDS[key]
        if not isinstance(settings[key], kind):
            raise CommandError(f"{key} in {path} is no {words}; make it one")
    found.settings.update(settings)
    found.defined_in.update(dict.fromkeys(settings, path))


def changes_of(found: Configuration, hook: Hook) -> list[Change]:
    """List the files that differ from what they should be."""
    ours: dict[str, Any] = {
        "Med3d": {"Url": f"{hook.url}/hooks/orthanc", "Peer": hook.peer, "Secret": f"${{{HOOK_VARIABLE}}}"}
    }
    script = found.folder / SCRIPT
    wanted = {script: files(__package__).joinpath(SCRIPT).read_text()}
    if "LuaScripts" not in found.defined_in:
        ours["LuaScripts"] = [str(script)]
    elif str(script) not in found.settings["LuaScripts"]:
        lists_scripts = found.defined_in["LuaScripts"]
        try:
            wanted[lists_scripts] = put_into_list(found.texts[lists_scripts], "LuaScripts", str(script))
        except NotJsonError as error:
            raise CommandError(f"LuaScripts in {lists_scripts} cannot be added to: {error}") from error
    if "Plugins" not in found.defined_in:
        ours["Plugins"] = ["/usr/share/orthanc/plugins/"]
    wanted[found.folder / OURS] = json.dumps(ours, indent=2) + "\n"
    return differing(wanted)


def differing(wanted: dict[Path, str], *, secret: bool = False) -> list[Change]:
    """List, of files and their texts, those that are not there or not so. Raises CommandError."""
    held = {path: _held(path) for path in wanted}
    return [Change(path, held[path], text, secret) for path, text in wanted.items() if held[path] != text]


def _held(path: Path) -> str:
    try:
        return read_exactly(path)
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise CommandError(f"{path} cannot be read ({type(error).__name__}); try as root") from error


def warnings_of(found: Configuration) -> list[str]:
    """Return what would keep studies from coming although Orthanc starts."""
    said = []
    folders = [Path(one) for one in found.settings.get("Plugins", ["/usr/share/orthanc/plugins/"])]
    if not any(path.name == DICOMWEB_PLUGIN or (path / DICOMWEB_PLUGIN).exists() for path in folders):
        said.append("no DICOMweb plugin is among Orthanc's plugins; on Debian: apt-get install orthanc-dicomweb")
    if found.settings.get("DicomWeb", {}).get("Enable") is False:
        said.append(f"{found.defined_in['DicomWeb']} switches DICOMweb off (Enable): studies cannot be fetched")
    if asks_for_password(found.settings):
        said.append(
            "Orthanc asks for a user and password (AuthenticationEnabled): name one of its RegisteredUsers in the "
            "peers' file, and put the password into the file that it names"
        )
    said += [
        f"{script} defines OnStableStudy as well: Orthanc keeps the one that it reads last"
        for script in map(Path, found.settings.get("LuaScripts", []))
        if script.name != SCRIPT and script.exists() and "OnStableStudy" in script.read_text(errors="replace")
    ]
    return said


def asks_for_password(settings: Mapping[str, Any]) -> bool:
    """Tell whether Orthanc lets nobody in without one; by default only where others than its own host may reach it."""
    return settings.get("AuthenticationEnabled", settings.get("RemoteAccessAllowed", False)) is True


def secret_changes(folder: Path, systemd: Path, secret: str) -> list[Change]:
    """Return the secret for Orthanc's process, in a file for root alone, and the unit's drop-in that reads it."""
    drop_in = f"[Service]\nEnvironmentFile={folder / SECRET_FILE}\n"
    return [
        *differing({folder / SECRET_FILE: f"{HOOK_VARIABLE}={secret}\n"}, secret=True),
        *differing({systemd / "orthanc.service.d" / DROP_IN: drop_in}),
    ]


def peers_table(found: Configuration, hook: Hook, secret_file: Path) -> str:
    """Return what the peers' file says of this Orthanc, where the service runs beside it."""
    secure = found.settings.get("SslEnabled") is True
    rest_url = f"{'https' if secure else 'http'}://127.0.0.1:{found.settings.get('HttpPort', 8042)}"
    root = str(found.settings.get("DicomWeb", {}).get("Root", "/dicom-web/")).rstrip("/")
    way_in = (
        f'user = "med3d"\npassword = {{file = "{hook.peer}.password"}}\n' if asks_for_password(found.settings) else ""
    )
    return (
        f'[dicomweb.{hook.peer}]\nurl = "{rest_url}{root}"\n{way_in}\n'
        f'[dicomweb.{hook.peer}.orthanc]\nrest_url = "{rest_url}"\nhook_secret = {{file = "{secret_file}"}}\n'
    )
