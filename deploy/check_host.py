"""Finds the system packages that a target needs: installs them as root on Debian, else names them in one line.

Run by the Makefile before the project itself is installed, so it uses the standard library alone.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path


def missing_for_venv() -> list[str]:
    """``python -m venv`` needs ensurepip, which Debian ships apart."""
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        return [f"python{sys.version_info.major}.{sys.version_info.minor}-venv"]
    return []


def missing_for_test() -> list[str]:
    """List what the tests start or ask and this host lacks: PostgreSQL, Orthanc, dcmtk, dciodvfy and others."""
    found = {
        "postgresql": any(Path("/usr/lib/postgresql").glob("*/bin/initdb")),
        "orthanc": Path("/usr/sbin/Orthanc").exists(),
        "orthanc-dicomweb": Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so").exists(),
        "dcmtk": Path("/usr/bin/storescu").exists(),
        "dicom3tools": shutil.which("dciodvfy") is not None,
        "fonts-wqy-zenhei": Path("/usr/share/fonts/truetype/wqy/wqy-zenhei.ttc").exists(),
        "prometheus": shutil.which("promtool") is not None,
        "nginx-light": shutil.which("nginx", path="/usr/sbin:/usr/bin") is not None,
        "caddy": shutil.which("caddy") is not None,
        "iproute2": shutil.which("ip") is not None,
    }
    return [package for package, there in found.items() if not there]


def missing_for_pages() -> list[str]:
    """List Debian's Chromium, in which the pages are tested, where it is not here; none is downloaded."""
    return [] if shutil.which("chromium") else ["chromium"]


def missing_for_npm() -> list[str]:
    """List npm, which the viewer of the pages comes from, where it is not here."""
    return [] if shutil.which("npm") else ["npm"]


TARGETS = {
    "venv": missing_for_venv,
    "test": missing_for_test,
    "pages": missing_for_pages,
    "npm": missing_for_npm,
}


def install(packages: list[str]) -> int:
    """Install ``packages`` by apt where that is possible; the exit code to leave with."""
    names = " ".join(packages)
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        print(f"missing system packages: {names} (on Debian: sudo apt-get install {names})", file=sys.stderr)
        return 1
    print(f"Installing {names} by apt ...")
    quiet = {"stdout": subprocess.DEVNULL}
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "update", "-qq"], check=True, env=environment, **quiet)
    subprocess.run(
        ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages], check=True, env=environment, **quiet
    )
    return 0


def main() -> int:
    """Check the target named on the command line."""
    missing = TARGETS[sys.argv[1]]()
    return install(missing) if missing else 0


if __name__ == "__main__":
    sys.exit(main())
