"""axe-core, to look at pages with: fetched from npm once, held against its digest, and never shipped."""

import hashlib
import io
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

PACKAGE = "axe-core@4.14.1"
SHA256 = "e6b0ce02b84d892e2e33e403485e7f3d6c29e2be6df65daf44d89ba564139745"
BUILD = Path(__file__).parents[2] / "build" / "axe"
GRAVE = ("serious", "critical")


def axe_source() -> str:
    """axe-core's script; skips where there is no npm, or no registry."""
    kept = BUILD / "axe-core-4.14.1.tgz"
    if not kept.exists():
        if shutil.which("npm") is None:
            pytest.skip("npm is not installed (on Debian: apt-get install npm)")
        BUILD.mkdir(parents=True, exist_ok=True)
        packed = subprocess.run(["npm", "pack", "--silent", PACKAGE], cwd=BUILD, capture_output=True, check=False)
        if packed.returncode != 0:
            pytest.skip("the npm registry does not answer")
    content = kept.read_bytes()
    assert hashlib.sha256(content).hexdigest() == SHA256
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        return archive.extractfile("package/axe.min.js").read().decode()


def grave_findings(page, source):
    """What axe finds on a page that keeps people out: rule and elements."""
    page.evaluate(source)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    return [(one["id"], [node["target"] for node in one["nodes"]][:3]) for one in found if one["impact"] in GRAVE]
