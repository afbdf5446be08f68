"""Processes of the service that are forks of one that has imported it: the imports take two seconds each time.

They are what ``python -P -m med3d_service NAME`` is, after its imports; those are seen where `med3d serve` is started.
"""

import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import NoReturn

MAIN = "med3d_service.__main__"
IMPORTED = [
    MAIN,
    "med3d_pages",
    *(f"med3d_service.processes.{name}" for name in ("api", "courier", "deliverer", "fetcher", "hl7", "listener")),
    "med3d_service.processes.scheduler",
]
READ_WHEN_PYTHON_STARTS = frozenset({"LD_PRELOAD", "PYTHONPATH"})


class Forked:
    """One of them, to be asked as a ``subprocess.Popen`` is."""

    def __init__(self, name: str, environment: Mapping[str, str], log: Path) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(IMPORTED)
        self._name = name
        self._process: ForkServerProcess = context.Process(target=_become, args=(name, environment, str(log)))
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def poll(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float) -> int:
        """Wait for the end; the exit code. Raises subprocess.TimeoutExpired."""
        self._process.join(timeout)
        code = self.poll()
        if code is None:
            raise subprocess.TimeoutExpired(self._name, timeout)
        return code

    def send_signal(self, number: int) -> None:
        """Send it, unless the process has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)


def _become(name: str, environment: Mapping[str, str], log: str) -> NoReturn:
    """Run the service's process ``name`` in this one, as if it had been started with ``environment``."""
    from med3d_service.__main__ import main

    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None  # as the environment of the tests said
    written = os.open(log, os.O_WRONLY | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(written, stream)
    os.close(written)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = ["med3d_service", name]
    sys.exit(main())
