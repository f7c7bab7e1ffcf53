"""What a process that runs a stranger's program may ask of the system: memory, time, randomness, its pipes.

A filter of system calls (seccomp, Linux 3.17; `Documentation/userspace-api/seccomp_filter.rst` of the kernel) lets
through the calls that computing needs and no other. It needs no privilege, holds for root too, is inherited, and can't
be taken off. As nothing can be opened, started or sent, there is no file, network, process or environment of the user
to protect by further means. Numbers are those of the kernel's tables for each architecture.
"""

import ctypes
import os
import platform
import resource
import signal
import struct
import sys
from typing import Any, NamedTuple

ALLOWED = (
    *("read", "write", "close", "lseek", "fstat", "mmap", "munmap", "mremap", "mprotect", "madvise", "brk", "futex"),
    *("rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "restart_syscall", "sched_yield", "getrandom"),
    *("clock_gettime", "clock_getres", "clock_nanosleep", "nanosleep", "gettimeofday", "getpid", "exit", "exit_group"),
)
"""All else is refused with `EPERM`, which Python tells as a `PermissionError`."""

DEADLY = ("clone", "clone3", "execve", "kill", "tkill", "tgkill", "socket", "ptrace", "openat2")
"""No program that solves a problem asks for these: whoever does is ended (`SIGSYS`). `fork` is among them."""

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
"""`openat` to write is deadly, too; to read it is refused, as an import of what isn't there."""


class Architecture(NamedTuple):
    """Numbers of a processor's calls, and of itself (`AUDIT_ARCH_…`)."""

    audit: int
    openat: int
    allowed: tuple[int, ...]
    deadly: tuple[int, ...]


ARCHITECTURES = {
    "x86_64": Architecture(
        0xC000003E,
        257,
        (0, 1, 3, 8, 5, 9, 11, 25, 10, 28, 12, 202, 13, 14, 15, 131, 219, 24, 318, 228, 229, 230, 35, 96, 39, 60, 231),
        # The last three are fork, vfork and creat, which newer architectures don't have.
        (56, 435, 59, 62, 200, 234, 41, 101, 437, 57, 58, 85),
    ),
    "aarch64": Architecture(
        0xC00000B7,
        56,
        (
            *(63, 64, 57, 62, 80, 222, 215, 216, 226, 233, 214, 98, 134, 135, 139, 132, 128, 124, 278, 113, 114, 115),
            *(101, 169, 172, 93, 94),
        ),
        (220, 435, 221, 129, 130, 131, 198, 117, 437),
    ),
}

PR_SET_PDEATHSIG, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 1, 22, 38
SECCOMP_MODE_FILTER = 2
ALLOW, REFUSE, END = 0x7FFF0000, 0x00050001, 0x80000000
"""What a filter answers: go on, fail with error number 1 (EPERM), end the process."""


class _Filter(ctypes.Structure):
    _fields_ = (("len", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def program(machine: Architecture) -> bytes:
    """Return the filter as instructions of classic BPF, eight bytes each: code, jump if true, if false, operand."""
    load, equal, at_least, any_bit, answer = 0x20, 0x15, 0x35, 0x45, 0x06
    number, architecture, third = 0, 4, 32  # where they stand in `struct seccomp_data`
    lines = [
        (load, 0, 0, architecture),
        (equal, 1, 0, machine.audit),
        (answer, 0, 0, END),
        (load, 0, 0, number),
        (at_least, 0, 1, 0x40000000),  # x32, a second table of the same calls
        (answer, 0, 0, END),
        (equal, 0, 4, machine.openat),
        (load, 0, 0, third),
        (any_bit, 0, 1, WRITES),
        (answer, 0, 0, END),
        (answer, 0, 0, REFUSE),
    ]
    for calls, verdict in ((machine.allowed, ALLOW), (machine.deadly, END)):
        lines += [line for call in calls for line in ((equal, 0, 1, call), (answer, 0, 0, verdict))]
    return b"".join(struct.pack("=HBBI", *line) for line in (*lines, (answer, 0, 0, REFUSE)))


def missing() -> str | None:
    """Return why there can be no walls here, or None."""
    if sys.platform != "linux":
        return f"programs a model wrote are run only on Linux: {sys.platform} has no filter of system calls"
    if platform.machine() not in ARCHITECTURES or sys.maxsize < 1 << 32:
        return f"system calls are not known for {platform.machine()}"
    return None


def end_with(parent: int) -> None:
    """Be killed when the parent ends.

    Raises:
        OSError: The system refuses.
    """
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)  # it was gone before we asked


def shut(*, parent: int, seconds: int, memory_bytes: int) -> None:
    """Wall this process in for good, and all it might become.

    Args:
        parent: Its parent, with which it ends.
        seconds: Of processor time; then it is killed.
        memory_bytes: Of address space, beside what it has now.

    Raises:
        OSError: The system refuses.
    """
    content = program(ARCHITECTURES[platform.machine()])
    with open("/proc/self/statm", encoding="ascii") as handle:  # noqa: PTH123 - nothing of pathlib is needed here
        memory_bytes += int(handle.read().split()[0]) * resource.getpagesize()
    for kind, limit in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
    ):
        resource.setrlimit(kind, (limit, limit))
    end_with(parent)
    _prctl(PR_SET_NO_NEW_PRIVS, 1)
    _prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(_Filter(len(content) // 8, content)))


def _prctl(name: int, first: int, second: Any = None) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(name, ctypes.c_ulong(first), second, None, None):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
