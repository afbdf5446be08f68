"""Real processes in tests: waited for with a message, never slept for, and seen to be gone."""

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, TypeVar

import psutil

Found = TypeVar("Found")


def wait_until(
    condition: Callable[[], Found | Literal[False] | None], what: str, timeout_s: float = 120.0, every_s: float = 0.05
) -> Found:
    """The first true value of ``condition()``; fails with ``what`` when it takes too long."""
    until = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < until, f"{what} did not happen within {timeout_s:g} s"
        time.sleep(every_s)
    return found


def family(pid: int) -> list[psutil.Process]:
    """The process and everything below it, by (pid, start time), so that a reused pid is nobody."""
    try:
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def living(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    """Those that still run; zombies that wait for a far parent do not."""
    return [one for one in processes if _runs(one)]


def _runs(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:  # gone between the two questions
        return False


def children(pid: int) -> list[psutil.Process]:
    """The processes right below one; none where it has ended."""
    try:
        return living(psutil.Process(pid).children())
    except psutil.NoSuchProcess:
        return []


def words_of(process: psutil.Process) -> list[str]:
    """Its command line in words; none where it has ended."""
    try:
        return list(process.cmdline())
    except psutil.NoSuchProcess:
        return []


def wait_until_gone(processes: Sequence[psutil.Process], timeout_s: float = 120.0) -> None:
    """Fails with the names of what is left."""
    wait_until(lambda: not living(processes), f"the end of {[name(one) for one in living(processes)]}", timeout_s)


def name(process: psutil.Process) -> str:
    """What runs there."""
    return " ".join(words_of(process))[-80:] or "gone"
