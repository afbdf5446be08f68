"""One supervised process: started, watched, started again after a pause, and never left behind."""

import logging
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from logging.handlers import RotatingFileHandler
from pathlib import Path

from med3d_contract.backoff import Backoff

LOG_BYTES = 5_000_000
LOG_LINES_REMEMBERED = 12
STEADY_S = 30.0
"""A process that ran for so long has started well: its earlier deaths no longer count."""
BACKOFF = Backoff(first_s=0.5, longest_s=8.0)


@dataclass(frozen=True)
class ChildSpec:
    """What to run. ``hopeless_exit_codes`` say that starting it again will not help."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    hopeless_exit_codes: frozenset[int] = frozenset()


class ChildProcess:
    """Runs in a session of its own, so that Ctrl-C reaches the supervisor alone, and dies with the supervisor."""

    def __init__(self, spec: ChildSpec, log: Path, *, echo: bool) -> None:
        self.spec = spec
        self.deaths = 0
        self.last_lines: deque[str] = deque(maxlen=LOG_LINES_REMEMBERED)
        self._log = RotatingFileHandler(log, maxBytes=LOG_BYTES, backupCount=1)
        self._echo = echo
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0
        self._start_again_at = 0.0
        self._line = b""

    @property
    def output(self) -> int | None:
        """Descriptor of the process's stdout and stderr, non-blocking; None while it is down."""
        return self._process.stdout.fileno() if self._process and self._process.stdout else None

    @property
    def is_running(self) -> bool:
        """Whether it has been started and not yet been found dead."""
        return self._process is not None

    def start(self) -> None:
        """Start it now. Must be called from the main thread: the child is tethered to the thread that forks."""
        from med3d_worker.process.tether import die_with_parent

        supervisor = os.getpid()
        self._process = subprocess.Popen(  # noqa: S603 - our own command lines
            self.spec.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=dict(self.spec.environment),
            start_new_session=True,
            preexec_fn=lambda: die_with_parent(supervisor),  # noqa: PLW1509 - the supervisor has one thread
        )
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)
        self._started_at = time.monotonic()

    def start_if_due(self) -> bool:
        """Start it again once its pause is over; whether it was."""
        if self._process is None and time.monotonic() >= self._start_again_at:
            self.start()
            return True
        return False

    def exit_code(self) -> int | None:
        """Return its ending; None while it runs.

        Else its code, once: the rest of its family is ended and the next start is set.
        """
        if self._process is None or (code := self._process.poll()) is None:
            return None
        self.read_output()
        self._end_family()
        ran_s = time.monotonic() - self._started_at
        self.deaths = 1 if ran_s > STEADY_S else self.deaths + 1
        self._start_again_at = time.monotonic() + BACKOFF.pause_s(self.deaths)
        return code

    def ask_to_stop(self) -> None:
        """Send SIGTERM to the process itself; its own children are its business."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def has_stopped(self) -> bool:
        """Tell whether it is gone; reads what it still had to say."""
        if self._process is None:
            return True
        self.read_output()
        if self._process.poll() is None:
            return False
        self._end_family()
        return True

    def kill(self) -> None:
        """Send SIGKILL to it and to everything that it started."""
        if self._process is not None:
            self._end_family()

    def read_output(self) -> None:
        """Move what it has said into its log."""
        while (descriptor := self.output) is not None:
            try:
                data = os.read(descriptor, 65536)
            except BlockingIOError:
                return
            if not data:
                return
            *lines, self._line = (self._line + data).split(b"\n")
            for line in lines:
                self._write(line.decode(errors="replace"))

    def close(self) -> None:
        """Close the log."""
        self._log.close()

    def _write(self, line: str) -> None:
        self.last_lines.append(line)
        self._log.emit(logging.makeLogRecord({"msg": line}))
        if self._echo:
            print(f"{self.spec.name}: {line}", file=sys.stderr)  # noqa: T201 - asked for by --verbose

    def _end_family(self) -> None:
        assert self._process is not None
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self.read_output()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._process = None
