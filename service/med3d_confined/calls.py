"""Seccomp: from now on the kernel refuses this process sockets, programs, other processes and what changes the system.

A filter in the kernel's own small language (BPF), as seccomp(2) describes it. What decodes images needs none of these
calls; each ends in EPERM, which its caller meets as an ordinary error.
"""

import ctypes
import errno
import platform
from collections.abc import Iterator
from dataclasses import dataclass

from med3d_confined.kernel import system_call, take_no_new_privileges

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER_AT, _ARCHITECTURE_AT, _FIRST_ARGUMENT_AT, _SECOND_ARGUMENT_AT = 0, 4, 16, 24
_ALLOW, _REFUSE, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_NEW_FILTER, _ALL_THREADS = 1, 1
_CLONE_THREAD = 0x10000
_FIRST_OF_X32 = 0x40000000
_CLONE3 = 435
_NAMES_WHO_IS_TOLD = (8, 10, 15)
"""Commands of fcntl: F_SETOWN, F_SETSIG and F_SETOWN_EX have the kernel send any signal to any process of the user."""

_EVERYWHERE = (
    *range(424, 428),  # pidfd_send_signal, io_uring
    *range(428, 435),  # open_tree, move_mount, fsopen, fsconfig, fsmount, fspick, pidfd_open
    438, 440, 442, 447, 448,  # pidfd_getfd, process_madvise, mount_setattr, memfd_secret, process_mrelease
)  # fmt: skip


@dataclass(frozen=True)
class _Machine:
    """What the kernel calls an architecture, and the numbers of its calls."""

    audited_as: int
    seccomp: int
    clone: int
    prlimit: int
    fcntl: int
    refused: tuple[int, ...]


_MACHINES = {
    "x86_64": _Machine(0xC000003E, 317, 56, 302, 72, (
        *range(41, 51), 53, 288, 299, 307,  # sockets
        57, 58, 59, 322,  # fork, vfork, execve, execveat
        62, 200, 234, 129, 297, 101, 310, 311, 312,  # kill, tkill, tgkill, rt_sigqueueinfo, rt_tgsigqueueinfo, ptrace,
        # process_vm_readv and _writev, kcmp
        135, 155, 161, 165, 166, 272, 308,  # personality, pivot_root, chroot, mount, umount2, unshare, setns
        175, 176, 313, 246, 320, 321, 298, 323,  # modules, kexec, bpf, perf_event_open, userfaultfd
        248, 249, 250, 304,  # keys of the kernel, open_by_handle_at
        *range(29, 32), *range(64, 72), 220, 240,  # shared memory, semaphores and messages of System V, mq_open
        141, 144, 203, 251, 314,  # priorities of others
    )),
    "aarch64": _Machine(0xC00000B7, 277, 220, 261, 25, (
        *range(198, 208), 211, 212, 242, 243, 269,
        221, 281,
        129, 130, 131, 138, 240, 117, 270, 271, 272,
        92, 41, 51, 40, 39, 97, 268,
        105, 106, 273, 104, 294, 280, 241, 282,
        217, 218, 219, 265,
        *range(186, 198), 180,
        140, 119, 122, 30, 274,
    )),
}  # fmt: skip


class _Instruction(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint16), ("yes", ctypes.c_uint8), ("no", ctypes.c_uint8), ("value", ctypes.c_uint32))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint16), ("instructions", ctypes.POINTER(_Instruction)))


def refuse_dangerous_calls() -> None:
    """Refuse them to all threads of this process, for good. Raises OSError where the kernel or its machine cannot."""
    machine = _MACHINES.get(platform.machine())
    if machine is None:
        raise OSError(errno.ENOSYS, "no filter for this architecture")
    lines = tuple(_lines(machine))
    program = _Program(len(lines), (_Instruction * len(lines))(*(_Instruction(*line) for line in lines)))
    take_no_new_privileges()
    system_call(machine.seccomp, ctypes.c_uint(_NEW_FILTER), ctypes.c_uint(_ALL_THREADS), ctypes.byref(program))


def _lines(machine: _Machine) -> Iterator[tuple[int, int, int, int]]:
    """Return code, how many lines to skip where true and where not, value."""
    yield _LOAD, 0, 0, _ARCHITECTURE_AT
    yield _EQUAL, 1, 0, machine.audited_as
    yield _RETURN, 0, 0, _KILL
    yield _LOAD, 0, 0, _NUMBER_AT
    yield _AT_LEAST, 0, 1, _FIRST_OF_X32
    yield _RETURN, 0, 0, _KILL
    for number in (*machine.refused, *_EVERYWHERE):
        yield _EQUAL, 0, 1, number
        yield _RETURN, 0, 0, _REFUSE | errno.EPERM
    yield _EQUAL, 0, 1, _CLONE3
    yield (
        _RETURN,
        0,
        0,
        _REFUSE | errno.ENOSYS,
    )  # its flags lie in memory, where no filter looks; the library takes clone
    yield from _only_where(machine.clone, (_ANY_BIT, 1, 0, _CLONE_THREAD))  # threads, and no other processes
    yield from _only_where(machine.prlimit, (_EQUAL, 1, 0, 0))  # its own limits
    yield from _never_with(machine.fcntl, _NAMES_WHO_IS_TOLD)
    yield _RETURN, 0, 0, _ALLOW


def _only_where(call: int, holds: tuple[int, int, int, int]) -> Iterator[tuple[int, int, int, int]]:
    yield _EQUAL, 0, 4, call
    yield _LOAD, 0, 0, _FIRST_ARGUMENT_AT
    yield holds
    yield _RETURN, 0, 0, _REFUSE | errno.EPERM
    yield _RETURN, 0, 0, _ALLOW


def _never_with(call: int, refused: tuple[int, ...]) -> Iterator[tuple[int, int, int, int]]:
    yield _EQUAL, 0, 2 + 2 * len(refused), call
    yield _LOAD, 0, 0, _SECOND_ARGUMENT_AT
    for value in refused:
        yield _EQUAL, 0, 1, value
        yield _RETURN, 0, 0, _REFUSE | errno.EPERM
    yield _RETURN, 0, 0, _ALLOW
