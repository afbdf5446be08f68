"""Real processes in tests: waited for with a message, never slept for, and seen to be gone."""

import time

import psutil


def wait_until(condition, what, timeout_s=30.0, every_s=0.05):
    """The first true value of ``condition()``; fails with ``what`` when it takes too long."""
    until = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < until, f"{what} did not happen within {timeout_s:g} s"
        time.sleep(every_s)
    return found


def family(pid):
    """The process and everything below it, by (pid, start time), so that a reused pid is nobody."""
    try:
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def living(processes):
    """Those that still run; zombies that wait for a far parent do not."""
    return [one for one in processes if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


def wait_until_gone(processes, timeout_s=5.0):
    """Fails with the names of what is left."""
    wait_until(lambda: not living(processes), f"the end of {[name(one) for one in living(processes)]}", timeout_s)


def name(process):
    """What runs there."""
    try:
        return " ".join(process.cmdline())[-80:]
    except psutil.NoSuchProcess:
        return "gone"
