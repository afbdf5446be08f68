"""The project as people get it: wheel and sdist, and environments that know of no checkout."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import NamedTuple

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

    def __init__(self, folder: Path, python=sys.executable):
        self.bin = folder / "env" / "bin"
        self.home = folder / "home"
        self.elsewhere = folder / "elsewhere"
        for place in (self.home, self.elsewhere):
            place.mkdir(parents=True)
        subprocess.run([python, "-m", "venv", self.bin.parent], check=True)
        self.pip("install", "--quiet", "--upgrade", "pip")  # what Python brings along takes twice as long to install

    def install(self, *requirements):
        """Install without compiling what most commands never import."""
        self.pip("install", "--quiet", "--no-compile", *requirements)

    def pip(self, *arguments):
        """Run pip with the caller's own settings and cache; fail with what it said."""
        command = [str(self.bin / "python"), "-m", "pip", "--disable-pip-version-check", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=_outside(dict(os.environ)))
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def run(self, name, *arguments):
        """Run a command of the environment as a user would who has nothing else."""
        environment = _outside(dict(os.environ)) | {"HOME": str(self.home), "COLUMNS": "200", "TMPDIR": str(self.home)}
        command = [str(self.bin / name), *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=self.elsewhere)


def _outside(environment):
    inside = ("MED3D_", "PYTHON", "VIRTUAL_ENV", "XDG_")
    return {name: value for name, value in environment.items() if not name.startswith(inside)}


def build_distributions(folder: Path) -> Distributions:
    """Build from a copy of the checkout that has baits lying about, and build the sdist once more to a wheel."""
    source = folder / "source"
    shutil.copytree(CHECKOUT, source, ignore=LEFT_BY_TOOLS)
    for bait in BAITS:
        (source / bait).parent.mkdir(parents=True, exist_ok=True)
        (source / bait).write_text("bait")
    builder = FreshEnvironment(folder / "builder")
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
