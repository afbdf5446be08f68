"""Runs the child that parses what came from outside: one process per study, under limits, one kept ready."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable

import structlog
from pydantic import ValidationError

from med3d_confined.shutting_in import ONE_THREAD
from med3d_service.settings import GIB, Settings
from med3d_service.studies.working_copy.messages import Finding, Job, Limits, Report

log = structlog.get_logger()

WAIT_S = 2.0
CHILDREN_PER_STUDY = 2
CHILD = "med3d_service.studies.working_copy.child"


def child_environment() -> dict[str, str]:
    """Return what a child is told of ours."""
    return ONE_THREAD | {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "LANG") if name in os.environ}


def start_child(module: str, limits: Limits) -> subprocess.Popen[str]:
    """Start a module of ours with its limits; it is told by its input and answers by its output."""
    return subprocess.Popen(  # noqa: S603 - our own module
        [sys.executable, "-P", "-m", module, limits.model_dump_json()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # what a parser or codec says may quote the data set
        env=child_environment(),
        text=True,
    )


def limits_of(settings: Settings) -> Limits:
    """Return what the settings let a child have."""
    return Limits(
        memory_bytes=settings.courier_memory_bytes,
        cpu_s=settings.courier_cpu_s,
        file_bytes=settings.max_unpacked_bytes + GIB,
    )


class DiskFaultError(Exception):
    """There was no room for the copy, or the disk failed otherwise: that says nothing about the study."""


class _EndedWithoutReportError(Exception):
    """The child ended, or was ended, before it said how the copying went."""


class Sandbox:
    """Starts children. ``run`` raises DiskFaultError for what the disk did, and nothing for what a study did."""

    def __init__(self, limits: Limits, timeout_s: float) -> None:
        self._limits = limits
        self._timeout_s = timeout_s
        self._ready: subprocess.Popen[str] | None = None
        self._told: set[str] = set()

    def prepare(self) -> None:
        """Have a child ready that has its imports behind it."""
        if self._ready is not None and self._ready.poll() is not None:
            self.close()
        if self._ready is None:
            self._ready = start_child(CHILD, self._limits)

    def run(self, job: Job, while_waiting: Callable[[], object]) -> Report:
        """Copy one study, calling ``while_waiting`` every few seconds.

        A child that takes too long, or two in a row that end without a word, make the study unreadable. One alone may
        have been killed for what others did on the machine.
        """
        for _ in range(CHILDREN_PER_STUDY):
            with contextlib.suppress(_EndedWithoutReportError):
                report = self._try(job, while_waiting)
                self._tell_of(report.unconfined)
                if report.finding is Finding.DISK_FAULT:
                    raise DiskFaultError("the disk failed the child that copies")
                return report
        return Report(finding=Finding.UNREADABLE_FILE)

    def _tell_of(self, unconfined: tuple[str, ...]) -> None:
        """Say once what the kernel does not give the children, who then stand in the limits of before alone."""
        if missing := sorted(set(unconfined) - self._told):
            self._told.update(missing)
            log.warning("child_not_confined", missing=missing)

    def _try(self, job: Job, while_waiting: Callable[[], object]) -> Report:
        self.prepare()
        child, self._ready = self._ready, None
        assert child is not None
        said = job.told()
        try:
            return Report.model_validate_json(self._answer(child, said + "\n", while_waiting))
        except subprocess.TimeoutExpired:
            log.warning("copying_child_too_slow", timeout_s=self._timeout_s)
            return Report(finding=Finding.UNREADABLE_FILE)
        except ValidationError:
            log.warning("copying_child_broke", exit_status=child.poll())
            raise _EndedWithoutReportError from None
        finally:
            child.kill()
            child.wait()

    def _answer(self, child: subprocess.Popen[str], line: str, while_waiting: Callable[[], object]) -> str:
        started = time.monotonic()
        said: str | None = line
        while True:
            try:
                return child.communicate(said, timeout=WAIT_S)[0]
            except subprocess.TimeoutExpired:
                if time.monotonic() - started > self._timeout_s:
                    raise
                said = None  # it was given; communicate goes on where it stopped
                while_waiting()

    def close(self) -> None:
        """End the child that waits."""
        if self._ready is not None:
            self._ready.kill()
            self._ready.communicate()
            self._ready = None
