"""The project as people get it: wheel and sdist, and environments that know of no checkout."""

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Mapping
from importlib.metadata import Distribution, distribution, distributions
from importlib.util import cache_from_source
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

CHECKOUT = Path(__file__).parents[3]
LEFT_BY_TOOLS = shutil.ignore_patterns(".git", ".venv*", "build", "dist", ".*_cache", ".hypothesis")
# What a real checkout has lying about beside the code, by the paths it would have in a wheel or an sdist.
BAITS = {
    "service/med3d_service/__pycache__/bait.cpython-311.pyc": "med3d_service/__pycache__/bait.cpython-311.pyc",
    "worker/med3d_pipeline/bait.dcm": "med3d_pipeline/bait.dcm",
    "worker/med3d_pipeline/bait.nii.gz": "med3d_pipeline/bait.nii.gz",
    "deploy/secrets/bait.key": "deploy/secrets/bait.key",
    "out/bait.csv": "out/bait.csv",
}


class Distributions(NamedTuple):
    """Files of one build: the wheel, the sdist, and the wheel that the sdist gives."""

    wheel: Path
    sdist: Path
    wheel_of_sdist: Path


class FreshEnvironment:
    """A virtual environment of ``python`` in ``folder`` with an empty HOME, where nothing points to the checkout."""

    def __init__(self, folder: Path, python: str | Path = sys.executable) -> None:
        self.bin = folder / "env" / "bin"
        self.home = folder / "home"
        self.elsewhere = folder / "elsewhere"
        for place in (self.home, self.elsewhere):
            place.mkdir(parents=True)
        self._make(python)

    def _make(self, python: str | Path) -> None:
        subprocess.run([python, "-m", "venv", self.bin.parent], check=True)
        self.pip("install", "--quiet", "--upgrade", "pip")  # what Python brings along takes twice as long to install

    def install(self, *requirements: object) -> None:
        """Install without compiling what most commands never import."""
        self.pip("install", "--quiet", "--no-compile", *requirements)

    def pip(self, *arguments: object) -> str:
        """Run pip with the caller's own settings and cache; fail with what it said."""
        command = [*self._pip(), "--disable-pip-version-check", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=_outside(dict(os.environ)))
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def _pip(self) -> list[str]:
        return [str(self.bin / "python"), "-m", "pip"]

    def run(self, name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        """Run a command of the environment as a user would who has nothing else."""
        environment = _outside(dict(os.environ)) | {"HOME": str(self.home), "COLUMNS": "200", "TMPDIR": str(self.home)}
        command = [str(self.bin / name), *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=self.elsewhere)


class LinkedEnvironment(FreshEnvironment):
    """The same, but the packages of others are links to those that the tests run with: nothing of them is fetched.

    It has no pip of its own, and holds what the wheel's metadata asks for and nothing else.
    """

    def _make(self, python: str | Path) -> None:
        subprocess.run([python, "-m", "venv", "--without-pip", self.bin.parent], check=True)

    def _pip(self) -> list[str]:
        return [sys.executable, "-m", "pip", "--python", str(self.bin / "python")]

    def install_linked(self, wheel: Path, extras: Iterable[str]) -> None:
        """Install the wheel, and link all that these extras of it ask for."""
        self.install("--no-deps", wheel)
        [ours] = distributions(path=[str(self._packages())])
        for one in _asked_for(ours, extras):
            self.link(one)

    def link(self, installed: Distribution) -> None:
        """Link the files of a distribution, and what Python compiled of them, but no commands."""
        for file in installed.files or ():
            source = Path(str(file.locate()))
            if ".." in file.parts or source.suffix == ".pyc" or not source.is_file():
                continue
            target = self._packages() / file
            _link(source, target)
            if source.suffix == ".py" and (compiled := Path(cache_from_source(str(source)))).is_file():
                _link(compiled, Path(cache_from_source(str(target))))

    def _packages(self) -> Path:
        [found] = self.bin.parent.glob("lib/python3.*/site-packages")
        return found


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        target.hardlink_to(source)
    except OSError:  # on another disk
        target.symlink_to(source)


def _asked_for(ours: Distribution, extras: Iterable[str]) -> list[Distribution]:
    """Return all that some extras ask for, at any remove, as it is installed here; fails where it is not, or too old."""
    name_of_ours = canonicalize_name(ours.metadata["Name"])
    found: dict[str, Distribution] = {}
    asked: set[tuple[str, str]] = set()
    left = [(ours, extra) for extra in ("", *extras)]
    while left:
        asking, extra = left.pop()
        for wanted in map(Requirement, asking.requires or ()):
            name = canonicalize_name(wanted.name)
            if wanted.marker is not None and not wanted.marker.evaluate({"extra": extra}):
                continue
            if name != name_of_ours and name not in found:
                found[name] = distribution(wanted.name)
            one = found.get(name, ours)
            assert name == name_of_ours or wanted.specifier.contains(one.version), f"{wanted}, and not {one.version}"
            new = {(name, also) for also in ("", *wanted.extras)} - asked
            asked |= new
            left += [(one, also) for _, also in new]
    return list(found.values())


def _outside(environment: Mapping[str, str]) -> dict[str, str]:
    inside = ("MED3D_", "PYTHON", "VIRTUAL_ENV", "XDG_")
    return {name: value for name, value in environment.items() if not name.startswith(inside)}


def build_distributions(folder: Path) -> Distributions:
    """Build from a copy of the checkout that has baits lying about, and build the sdist once more to a wheel."""
    source = folder / "source"
    shutil.copytree(CHECKOUT, source, ignore=LEFT_BY_TOOLS)
    for bait in BAITS:
        (source / bait).parent.mkdir(parents=True, exist_ok=True)
        (source / bait).write_text("bait")
    builder = LinkedEnvironment(folder / "builder")
    builder.install(*tomllib.loads((source / "pyproject.toml").read_text())["build-system"]["requires"])
    subprocess.run(
        [builder.bin / "python", "-m", "hatchling", "build", "-t", "sdist", "-t", "wheel", "-d", folder / "built"],
        cwd=source,
        check=True,
        capture_output=True,
    )
    [sdist], [wheel] = (list((folder / "built").glob(kind)) for kind in ("*.tar.gz", "*.whl"))
    again = folder / "again"
    builder.pip("wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", again, sdist)
    return Distributions(wheel, sdist, next(again.glob("*.whl")))


def interpreter(version: str) -> Path | None:
    """A Python of this version, from PATH or pyenv; None where there is none that runs."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    on_path = shutil.which(f"python{version}")
    here: list[str | Path] = [on_path] if on_path else []
    for python in [*here, *sorted(pyenv.glob(f"{version}.*/bin/python"))]:
        if subprocess.run([python, "--version"], capture_output=True, check=False).returncode == 0:
            return Path(python)
    return None
