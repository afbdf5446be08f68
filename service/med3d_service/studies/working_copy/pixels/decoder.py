"""Asks a child what images show, in whatever transfer syntax they are; a child that breaks leaves that unknown."""

import contextlib
import selectors
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog
from pydantic import ValidationError

from med3d_service.settings import Settings
from med3d_service.studies.working_copy.messages import Container, Limits, Member
from med3d_service.studies.working_copy.pixels.messages import PixelAnswer, PixelJob, PixelQuestion
from med3d_service.studies.working_copy.sandbox import limits_of, start_child

log = structlog.get_logger()
CHILD = "med3d_service.studies.working_copy.pixels.child"
JOBS_PER_CHILD = 100
"""Its processor time is bounded for all of its life."""
WAIT_S = 2.0


class _ChildLostError(Exception):
    """The child ended, or took too long."""


class PixelDecoder:
    """Keeps one child, started when first needed, which sees the images of one study alone. Safe among threads."""

    def __init__(self, limits: Limits, timeout_s: float) -> None:
        self._limits, self._timeout_s = limits, timeout_s
        self._lock = threading.Lock()
        self._child: subprocess.Popen[str] | None = None
        self._jobs = 0
        self._study: object = None
        self._folders: set[Path] = set()

    @classmethod
    def of(cls, settings: Settings) -> "PixelDecoder":
        """Decode with the limits of the child that makes working copies."""
        return cls(limits_of(settings), settings.courier_timeout_s)

    def show_the_same(self, study: object, containers: Sequence[Container], members: Sequence[Member]) -> bool:
        """Tell whether all images, of one study, show what the first one shows; False where that cannot be known."""
        job = PixelJob(wanted=PixelQuestion.LIKENESS, containers=tuple(containers), members=tuple(members))
        return self._ask(study, job, lambda: None).alike

    def digests(
        self, containers: Sequence[Container], members: Sequence[Member], while_waiting: Callable[[], object]
    ) -> set[str] | None:
        """Return digests of what the images of one study show, by a child of its own; None where one cannot be read."""
        job = PixelJob(wanted=PixelQuestion.DIGESTS, containers=tuple(containers), members=tuple(members))
        found = self._ask(object(), job, while_waiting).digests
        told = {one for one in found if one is not None}
        return None if not found or None in found else told - {""}

    def close(self) -> None:
        """End the child."""
        with self._lock:
            self._end()

    def _ask(self, study: object, job: PixelJob, while_waiting: Callable[[], object]) -> PixelAnswer:
        with self._lock:
            for _ in range(2):  # the first may have been ended long since, for what others did on the machine
                try:
                    return self._answer(self._started(study, _folders(job)), job, while_waiting)
                except (_ChildLostError, ValidationError, OSError):
                    self._end()
                except BaseException:
                    self._end()
                    raise
        log.warning("decoding_child_broke", images=len(job.members))
        return PixelAnswer()

    def _started(self, study: object, folders: set[Path]) -> subprocess.Popen[str]:
        """Return the child, or a new one: it is told of one study, and reads what its first job named alone."""
        is_spent = self._jobs >= JOBS_PER_CHILD or study != self._study or not folders <= self._folders
        if self._child is not None and (is_spent or self._child.poll() is not None):
            self._end()
        if self._child is None:
            self._jobs, self._study, self._folders = 0, study, folders
            self._child = start_child(CHILD, self._limits)
        self._jobs += 1
        return self._child

    def _answer(self, child: subprocess.Popen[str], job: PixelJob, while_waiting: Callable[[], object]) -> PixelAnswer:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(job.told() + "\n")
        child.stdin.flush()
        until_s = time.monotonic() + self._timeout_s
        with selectors.DefaultSelector() as selector:
            selector.register(child.stdout, selectors.EVENT_READ)
            while not selector.select(WAIT_S):
                if time.monotonic() > until_s:
                    raise _ChildLostError
                while_waiting()
        line = child.stdout.readline()
        if not line:
            raise _ChildLostError
        return PixelAnswer.model_validate_json(line)

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            with contextlib.suppress(BrokenPipeError):
                child.communicate()


def _folders(job: PixelJob) -> set[Path]:
    return {Path(container.path).parent for container in job.containers}
