"""A service with its pages, and Debian's Chromium to look at them; heads and studies to send it."""

import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pydicom
import pytest

from med3d_client.results import ResultsClient
from rig.peers.openid_provider import CLIENT, SECRET
from rig.processes.embedded import Service, write_small_head

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (pip install -e '.[dev]')")
CHROMIUM = shutil.which("chromium")
TIMEOUT_MS = 60_000  # it ends what hangs: others of the tests may have the processor
ANSWER_TIMEOUT_MS = 240_000


@contextmanager
def chromium():
    """Debian's Chromium, without a window."""
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed (on Debian: apt-get install chromium)")
    as_root = ["--no-sandbox"] if os.geteuid() == 0 else []
    without_gpu = ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]  # WebGL by the processor
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*as_root, *without_gpu])
        try:
            yield browser
        finally:
            browser.close()


class Hospital:
    """`med3d serve` with people who look at its pages; ``provider`` is where they may sign in, too."""

    def __init__(self, root: Path, provider=None) -> None:
        self.service = Service(root)
        self.service.start(**({} if provider is None else signing_in_at(provider)))
        self.url = str(self.service.client._http.base_url).rstrip("/")
        self.clinical = ResultsClient(self.url, self.service.data_dir.clinical_key_file.read_text().strip())

    def key(self, role, *more):
        """A new key, as `med3d keys create` makes it."""
        command = (sys.executable, "-m", "med3d_cli", "keys", "create", "--role", role, *more)
        said = subprocess.run(
            [*command, "--data-dir", str(self.service.data_dir.root)], check=True, capture_output=True, text=True
        )
        return next(word for word in said.stdout.split() if word.startswith("m3d_"))

    def close(self):
        self.clinical.close()
        self.service.stop()
        self.service.end()


def signing_in_at(provider):
    """The settings of a service whose people sign in at this provider."""
    return {
        "MED3D_OIDC_ISSUER": provider.issuer,
        "MED3D_OIDC_AUDIENCE": "med3d",
        "MED3D_OIDC_CLIENT_ID": CLIENT,
        "MED3D_OIDC_CLIENT_SECRET": SECRET,
    }


class Person:
    """Somebody at a browser of their own. What it complains of, such as a breach of the page's policy, is kept."""

    def __init__(self, browser, hospital, **looks):
        self.hospital = hospital
        usual = {"base_url": hospital.url, "viewport": {"width": 1280, "height": 900}}
        self.context = browser.new_context(**(usual | looks))
        self.page = self.context.new_page()
        self.page.set_default_timeout(TIMEOUT_MS)
        self.complaints = []
        self.page.on("console", self._hear)
        self.page.on("dialog", lambda dialog: (self.complaints.append("a dialog"), dialog.dismiss()))

    def _hear(self, said):
        if said.type in {"warning", "error"}:  # it also tells of what it does as asked, such as to forget its cache
            self.complaints.append(said.text)

    def enter(self, client=None, to="/ui/today"):
        """Sign in by a link."""
        self.page.goto((client or self.hospital.clinical).sign_in_link(to).removeprefix(self.hospital.url))
        self.page.wait_for_url(to)  # whole, from the base: the address of the link ends in it, too
        return self

    def see(self, text):
        """Wait until it stands on the page."""
        self.page.get_by_text(text).first.wait_for()

    def close(self):
        self.context.close()


def scripted_head(folder: Path, description: str, variant: int = 7) -> Path:
    """A head whose series carries this description, and whose patient carries it for a name."""
    write_small_head(folder, variant)
    for path in folder.iterdir():
        dataset = pydicom.dcmread(path)
        dataset.SeriesDescription = description
        dataset.PatientName = f"{description}^x"
        dataset.save_as(path)
    return folder


def few_slices(folder: Path) -> Path:
    """Three slices of a head: refused, for a series has more."""
    write_small_head(folder, 8)
    for path in sorted(folder.iterdir())[3:]:
        path.unlink()
    return folder
