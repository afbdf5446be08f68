"""The whole service, as a user starts it, on an empty data folder."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from rig.peers.receivers import Storescp
from rig.processes.service import free_port

READY_WITHIN_S = 120
ANSWER_WITHIN_S = 180
TERMINAL = {"completed", "refused", "failed", "cancelled"}


@dataclass(frozen=True)
class Service:
    """A running `med3d serve`."""

    data_dir: Path
    url: str
    client: httpx.Client
    receiver: Storescp
    """A PACS that gets the answers."""

    def clinical(self, path: str) -> httpx.Response:
        """GET with the key that may see what names a patient."""
        key = (self.data_dir / "clinical.key").read_text().strip()
        return self.client.get(path, headers={"Authorization": f"Bearer {key}"}).raise_for_status()

    def submit(self, files: list[Path], **options: str) -> dict:
        """POST the files as parts of one study; the ids, which are the same where it was sent before."""
        parts = [("files", (f"{number}.dcm", path.read_bytes())) for number, path in enumerate(files)]
        answer = self.client.post("/studies", files=parts, data=options)
        assert answer.status_code in {200, 202}, answer.text
        return answer.json()

    def answer(self, run_id: str) -> dict:
        """The run once it is terminal."""
        deadline = time.monotonic() + ANSWER_WITHIN_S
        while time.monotonic() < deadline:
            run = self.client.get(f"/runs/{run_id}").raise_for_status().json()
            if run["status"] in TERMINAL:
                return run
            time.sleep(0.2)
        pytest.fail(f"after {ANSWER_WITHIN_S} s the run is still {run['status']} ({run['stage']})")


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    """`med3d serve --port 0`, stopped by SIGTERM at the end."""
    with tempfile.TemporaryDirectory(prefix="med3d-e2e-") as folder:
        data_dir = Path(folder) / "data"
        receiver = _receiver(Path(folder))
        environment = os.environ | {
            "MED3D_ALLOW_DEMONSTRATION_HEADS": "1",
            "MED3D_PEERS_FILE": f"{folder}/peers.toml",
            "MED3D_DELIVERIES_FILE": f"{folder}/deliveries.toml",
            "MED3D_DICOM_PORT": str(free_port()),
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "med3d_cli", "serve", "--data-dir", str(data_dir), "--port", str(free_port())],
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        try:
            url, key_file = _wait_until_ready(process)
            headers = {"Authorization": f"Bearer {key_file.read_text().strip()}"}
            with httpx.Client(base_url=url, headers=headers, timeout=60) as client:
                yield Service(data_dir, url, client, receiver)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=60)
            process.stdout.close()
            receiver.stop()


def _receiver(folder: Path) -> Storescp:
    """dcmtk's storescp, and the service's files that send it everything."""
    (folder / "received").mkdir()
    receiver = Storescp(folder / "received").start()
    (folder / "peers.toml").write_text(f"[dimse.pacs]\n{receiver.table}")
    (folder / "deliveries.toml").write_text(
        '[[deliver]]\npeer = "pacs"\nkinds = ["sr", "pdf", "sc"]\ndecisions = ["accepted", "review", "refused"]\n'
    )
    return receiver


def _wait_until_ready(process: subprocess.Popen[str]) -> tuple[str, Path]:
    url = None
    assert process.stdout is not None
    for line in process.stdout:
        if ready := re.search(r"med3d ready on (http://\S+)", line):
            url = ready[1]
        if key := re.search(r"API key: (.+)", line):
            assert url is not None
            return url, Path(key[1].strip())
    pytest.fail(f"med3d serve ended with {process.wait()} before it was ready")
