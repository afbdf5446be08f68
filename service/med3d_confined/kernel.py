"""System calls that Python has no words for."""

import ctypes
import os
from functools import cache

PR_SET_NO_NEW_PRIVS = 38


@cache
def libc() -> ctypes.CDLL:
    """Return the C library of this process, which keeps errno for us."""
    return ctypes.CDLL(None, use_errno=True)


def system_call(number: int, *arguments: object) -> int:
    """Call the kernel. Raises OSError."""
    answer = int(libc().syscall(ctypes.c_long(number), *arguments))
    if answer < 0:
        failed_with = ctypes.get_errno()
        raise OSError(failed_with, os.strerror(failed_with))
    return answer


def take_no_new_privileges() -> None:
    """Give up setuid programs and the like for good; the kernel asks that of whoever shuts itself in."""
    if libc().prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "no_new_privs")
