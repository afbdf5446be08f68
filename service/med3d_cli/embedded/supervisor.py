"""Keeps a family of processes running until it is told to stop, and leaves none behind."""

import os
import select
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from med3d_cli.embedded.child_process import ChildProcess, ChildSpec
from med3d_cli.errors import CommandError

DEATHS_THAT_END_THE_SERVICE = 5
TICK_S = 0.2

StopGroup = tuple[tuple[str, ...], float]
"""Names of processes that are asked to stop together, and the seconds that they get."""


class Supervisor:
    """Single-threaded: starts ``specs`` in order, starts again what dies, and reads what they say into bounded logs."""

    def __init__(self, specs: Sequence[ChildSpec], stop_order: Sequence[StopGroup], logs: Path, *, echo: bool) -> None:
        self._children = {spec.name: ChildProcess(spec, logs / f"{spec.name}.log", echo=echo) for spec in specs}
        self._stop_order = stop_order
        self._logs = logs
        self._asked_to_stop = False

    def run(self, on_tick: Callable[[], None]) -> None:
        """Run until SIGTERM or SIGINT, calling ``on_tick`` a few times a second; everything is stopped at the end.

        Raises CommandError when a process dies again and again, or cannot work at all.
        """
        with self._signals() as wakeup:
            try:
                for child in self._children.values():
                    child.start()
                while not self._asked_to_stop:
                    self._look_after()
                    on_tick()
                    self._wait(wakeup)
            finally:
                self._stop()

    def _look_after(self) -> None:
        for name, child in self._children.items():
            child.read_output()
            if (code := child.exit_code()) is not None:
                if code in child.spec.hopeless_exit_codes:
                    raise CommandError(f"{name} cannot work here: {self._last_words(child)}")
                if child.deaths >= DEATHS_THAT_END_THE_SERVICE:
                    raise CommandError(
                        f"{name} died {child.deaths} times in a row (exit code {code}): {self._last_words(child)}; "
                        f"see {self._logs / name}.log"
                    )
            child.start_if_due()

    @staticmethod
    def _last_words(child: ChildProcess) -> str:
        said = [line for line in child.last_lines if line.strip()]
        return said[-1].strip().removeprefix("error: ") if said else "it said nothing"

    def _wait(self, wakeup: int, timeout_s: float = TICK_S) -> None:
        outputs = [child.output for child in self._children.values() if child.output is not None]
        select.select([wakeup, *outputs], [], [], timeout_s)
        with suppress(BlockingIOError):
            os.read(wakeup, 4096)

    def _stop(self) -> None:
        for names, grace_s in self._stop_order:
            group = [self._children[name] for name in names if name in self._children]
            for child in group:
                child.ask_to_stop()
            until = time.monotonic() + grace_s
            while not all([child.has_stopped() for child in group]) and time.monotonic() < until:  # noqa: C419 - all are read
                time.sleep(0.02)
            for child in group:
                child.kill()
        for child in self._children.values():
            child.kill()
            child.close()

    def _ask_to_stop(self, _number: int, _frame: object) -> None:
        self._asked_to_stop = True

    @contextmanager
    def _signals(self) -> Iterator[int]:
        """Let SIGTERM and SIGINT ask for the stop, and wake the loop through a pipe."""
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        os.set_blocking(writer, False)
        wakeup_before = signal.set_wakeup_fd(writer)
        before = {number: signal.signal(number, self._ask_to_stop) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield reader
        finally:
            signal.set_wakeup_fd(wakeup_before)
            for number, handler in before.items():
                signal.signal(number, handler)
            os.close(reader)
            os.close(writer)
