"""Linux: a child process that cannot outlive its parent."""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # prctl(2)


def die_with_parent(parent_pid: int, number: int = signal.SIGKILL) -> None:
    """Ask, in the child, that the kernel sends signal ``number`` as soon as the process ``parent_pid`` is gone.

    It survives exec but not a fork: every generation calls it anew. "Gone" means the thread that started the child
    (prctl(2)), so parents start children from their main thread. Elsewhere than on Linux nothing happens.
    """
    if sys.platform != "linux":
        return
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, number, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent_pid:  # it went before the call took effect
        os.kill(os.getpid(), number)
