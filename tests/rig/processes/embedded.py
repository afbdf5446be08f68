"""`med3d serve` as a real process, with real heads to send it."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil

from med3d_cli.data_dir import DataDir
from med3d_cli.embedded.demo_head import average_head, write_mr_series
from med3d_client.results import ResultsClient, StudyOptions
from med3d_client.study_stream import open_study
from med3d_contract.results import RunView
from med3d_pipeline.volume import Volume
from med3d_worker.process.tether import die_with_parent
from rig.processes.service import free_port
from rig.processes.waiting import children, family, living, wait_until, wait_until_gone, words_of

READY = "med3d ready on "
FAULTS = Path(__file__).parents[1] / "faults" / "at_a_function"
START_TIMEOUT_S = 120


def write_small_head(folder: Path, variant: int = 0) -> Path:
    """The average head of pydeface, every second voxel (2 mm), as a DICOM series. Each ``variant`` is another study."""
    head = average_head()
    voxels = head.voxels[::2, ::2, ::2].copy()
    voxels[0, 0, 0] = 1 + variant
    affine = head.affine.copy()
    affine[:3, :3] *= 2
    write_mr_series(Volume(voxels, affine), folder)
    return folder


class Service:
    """Starts and stops `med3d serve` on ``root``; speaks to it as a user would."""

    def __init__(self, root: Path, data_dir: Path | None = None) -> None:
        self.root = root
        self.data_dir = DataDir(data_dir or root / "data")
        self.faults = root / "faults"
        self.faults.mkdir()
        self._process: subprocess.Popen[str] | None = None
        self._client: ResultsClient | None = None

    def start(self, port: int | None = None, **settings: str) -> None:
        environment = dict(os.environ) | {
            "PYTHONPATH": os.pathsep.join(filter(None, (str(FAULTS), os.environ.get("PYTHONPATH")))),
            "MED3D_TEST_FAULTS": str(self.faults),
            "MED3D_LEASE_S": "5",
            "MED3D_HEARTBEAT_S": "1",
            "MED3D_DICOM_PORT": os.environ.get("MED3D_DICOM_PORT") or str(free_port()),
            **settings,
        }
        here = os.getpid()
        where = ("--data-dir", str(self.data_dir.root), "--port", str(port or free_port()))
        command = [sys.executable, "-m", "med3d_cli", "serve", *where]
        self._process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            preexec_fn=lambda: die_with_parent(here),  # noqa: PLW1509 - tests run on one thread
        )
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        line = self.process.stdout.readline()
        assert line.startswith(READY), self.process.stderr.read()
        key = self.data_dir.api_key_file.read_text().strip()
        self._client = ResultsClient(line.removeprefix(READY).strip(), key)

    @property
    def process(self) -> subprocess.Popen[str]:
        """The supervisor; there is one from the start on."""
        assert self._process is not None, "not started"
        return self._process

    @property
    def client(self) -> ResultsClient:
        """Who asks the API."""
        assert self._client is not None, "not started"
        return self._client

    def everyone(self) -> list[psutil.Process]:
        return family(self.process.pid)

    def stop(self) -> list[psutil.Process]:
        """SIGTERM, and wait for the end; who was there before."""
        everyone = self.everyone()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        return everyone

    def end(self) -> None:
        """Whatever state it is in: gone afterwards."""
        if self._process is None:
            return
        everyone = self.everyone()
        if self.process.poll() is None:
            self.process.kill()
        for said in (self.process.stdout, self.process.stderr):
            assert said is not None
            said.close()
        self.process.wait()
        if self._client is not None:  # it never got as far as to listen
            self.client.close()
        wait_until_gone(everyone)

    def submit(self, variant: int) -> str:
        folder = self.root / f"head-{variant}"
        if not folder.exists():
            write_small_head(folder, variant)
        with open_study(folder) as upload:
            return self.client.submit(upload, StudyOptions()).run_id

    def plan_fault(self, function: str, part: str = "") -> Path:
        """The next process that opens a path with ``part`` below ``function`` is killed there."""
        planned = self.faults / f"{function}@{part}"
        planned.mkdir()
        return planned

    def wait_for_end(self, run_id: str, timeout_s: float = 240) -> RunView:
        """The run once it is over."""
        return wait_until(
            lambda: (run := self.client.run(run_id)).status.is_terminal and run,
            f"the end of the run; it is {self.client.run(run_id).status}",
            timeout_s,
        )

    def events(self, run_id: str) -> list[dict[str, Any]]:
        return [event["data"] for event in self.client.follow(run_id)]

    def process_named(self, name: str) -> psutil.Process:
        """The process that the supervisor calls ``name``, once there is one; "worker child" does the worker's work."""
        if name == "worker child":
            return self.worker_child()
        if name == "broker":
            return self.broker()
        return self._below("listen" if name == "listener" else name)

    def worker(self) -> psutil.Process:
        """The worker's parent process."""
        return self._below("med3d_cli", "worker")

    def worker_child(self) -> psutil.Process:
        """The process that does the work."""
        return wait_until(lambda: children(self.worker().pid), "a worker child")[0]

    def broker(self) -> psutil.Process:
        return wait_until(
            lambda: [
                one for one in living(self.everyone()) if re.search("valkey|redis-server", "".join(words_of(one)[:1]))
            ],
            "a broker",
        )[0]

    def _below(self, *words: str) -> psutil.Process:
        def find() -> list[psutil.Process]:
            return [one for one in children(self.process.pid) if set(words) <= set(words_of(one))]

        return wait_until(find, f"a process {' '.join(words)}")[0]
