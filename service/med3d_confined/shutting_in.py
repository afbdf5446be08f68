"""Shuts this process in, as far as the kernel can, and says where it cannot."""

import sys
import sysconfig
from collections.abc import Callable, Iterable
from pathlib import Path

FILES, CALLS = "landlock", "seccomp"

ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""Environment of a process that shuts itself in: Landlock binds the thread that asks for it."""
_OF_THE_SYSTEM = ("/lib", "/lib64", "/usr/lib", "/usr/local/lib", "/etc/ld.so.cache", "/dev/urandom", "/dev/null")


def refuse_calls() -> tuple[str, ...]:
    """Give up network, programs and other processes. Returns what of it the kernel did not take."""
    return _tried(CALLS, _refuse)


def shut_in(readable: Iterable[Path], writable: Iterable[Path]) -> tuple[str, ...]:
    """Give up all files but these and Python's own, too. Returns what of it the kernel did not take."""

    def allow() -> None:
        from med3d_confined.files import allow_files

        if len(list(Path("/proc/self/task").iterdir())) > 1:
            raise OSError("another thread would stay outside")
        allow_files((*readable, *_of_python()), writable)

    return _tried(FILES, allow)


def _refuse() -> None:
    from med3d_confined.calls import refuse_dangerous_calls

    refuse_dangerous_calls()


def leave_no_core() -> None:
    """Have the kernel write no core file of this process, nor of those that it starts: memory holds keys and patients.

    The limit is one byte: too few for a file, and unlike none at all it keeps the kernel from giving the core to a
    program (core(5)), as systemd and Ubuntu have it.
    """
    if sys.platform != "win32":
        import resource

        highest = resource.getrlimit(resource.RLIMIT_CORE)[1]
        most = 0 if highest == 0 else 1
        resource.setrlimit(resource.RLIMIT_CORE, (most, most))


def _tried(what: str, confine: Callable[[], None]) -> tuple[str, ...]:
    if sys.platform != "linux":
        return (what,)
    try:
        confine()
    except OSError:
        return (what,)
    return ()


def _of_python() -> set[Path]:
    """Tell where modules and libraries are that may be loaded later."""
    paths = sysconfig.get_paths()
    places = {*sys.path, paths["stdlib"], paths["platstdlib"], paths["purelib"], paths["platlib"], *_OF_THE_SYSTEM}
    return {Path(place) for place in places if place}
