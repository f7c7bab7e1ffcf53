"""A process that knows the standard library and nothing of the user, and forks what a trial needs.

Starting from it takes milliseconds, and leaves a program nothing to read: what it may import is loaded. The process
that serves a trial hears the program, forks it, and only then hears the tests: they are in no memory the program could
look through. Pieces come over the standard input, each after its length; an outcome goes out as a line of JSON.
"""

import fcntl
import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from resource import struct_rusage
from typing import Any

from luthier.evaluate.sandbox import sides, walls

APART = (
    *("antigravity", "this", "test", "idlelib", "lib2to3", "tkinter", "_tkinter", "turtle", "turtledemo"),
    *("ensurepip", "venv", "msilib", "distutils", "__main__"),
)
"""Modules that open windows or print when they are imported, or install things."""

PATIENCE = 4
"""How many times its processor time a trial may take on the clock: it may sleep, and the machine may be busy."""

HIGH = 100
"""Where file descriptors are out of the way."""

LENGTH = 8
"""Digits of a piece's length."""


def load_library() -> None:
    """Import what a program may import."""
    for name in sorted(sys.stdlib_module_names - {*APART}):
        load(name)
    time.localtime()  # reads the time zone
    sys.set_int_max_str_digits(0)  # numbers travel as text, of any length
    gc.freeze()


def load(name: str) -> None:
    """Import a module and those within it."""
    with suppress(ImportError):  # of another system
        module = importlib.import_module(name)
        for inner in pkgutil.iter_modules(getattr(module, "__path__", [])):
            if inner.name not in APART:
                load(f"{name}.{inner.name}")


def hear() -> bytes:
    """Return the next piece of the standard input, and not a byte beyond; nothing when it has ended."""
    head = _exactly(LENGTH)
    return _exactly(int(head)) if head else b""


def _exactly(size: int) -> bytes:
    found = b""
    while len(found) < size and (more := os.read(0, size - len(found))):
        found += more
    return found if len(found) == size else b""


def fork(work: Callable[[], None], descriptors: Sequence[int], *, seconds: int, memory_bytes: int) -> int:
    """Return a new process, walled in, that has `descriptors` as 3, 4, … and no others that lead anywhere."""
    parent = os.getpid()
    child = os.fork()
    if child:
        return child
    try:
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDWR)
        away = [fcntl.fcntl(each, fcntl.F_DUPFD, HIGH) for each in (nothing, nothing, nothing, *descriptors)]
        for place, each in enumerate(away):
            os.dup2(each, place)
        os.closerange(len(away), os.sysconf("SC_OPEN_MAX"))
        walls.shut(parent=parent, seconds=seconds, memory_bytes=memory_bytes)
        work()
    finally:
        os._exit(0)


def serve() -> None:
    """Hear one trial, hold it, and tell what came of it.

    Raises:
        EOFError: There is none any more.
    """
    program = hear()
    if not program:
        raise EOFError
    call, calls = os.pipe()
    replies, reply = os.pipe()
    report, verdict = os.pipe()
    limits = json.loads(hear())

    def answer() -> None:
        with os.fdopen(3) as from_checker, os.fdopen(4, "w") as to_checker:
            sides.answer_calls(program.decode(), from_checker, to_checker)

    def judge() -> None:
        with os.fdopen(3) as from_program, os.fdopen(4, "w") as to_program:
            sides.judge(json.loads(tests), to_program, from_program, 5)

    processes = [fork(answer, (call, reply), **limits)]
    tests = hear()
    processes.append(fork(judge, (replies, calls, verdict), **limits))
    for each in (call, calls, replies, reply, verdict):
        os.close(each)
    ready, _, _ = select.select([report], [], [], PATIENCE * limits["seconds"])
    told = os.read(report, 1 << 16) if ready else b""
    for process in processes:
        os.kill(process, signal.SIGKILL)
    ends = [os.wait4(process, 0)[1:] for process in processes]
    found: dict[str, Any] = json.loads(told) if told else {"passed": False, "ended": True}
    if found.pop("ended", False):
        found["why"] = why(ends, limits["seconds"]) if ready else "out of time"
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()


def why(ends: Sequence[tuple[int, struct_rusage]], seconds: int) -> str:
    """Say what ended a program that no longer answered, or else its checker, from their exit statuses."""
    for status, used in ends:
        number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        if number == signal.SIGSYS:
            return "it asked the system for what it may not have"
        # The limit counts ticks, and on a busy machine it counts more of them than there were.
        if number == signal.SIGKILL and used.ru_utime + used.ru_stime >= seconds / 2:
            return "out of time"
        if number not in (0, signal.SIGKILL):  # ours
            return f"it crashed ({signal.Signals(number).name})"
    return "it ended before it answered"


def main() -> None:
    """Fork a server for each trial until there are no more."""
    os.environ.clear()
    load_library()
    me = os.getpid()
    while select.select([0], [], [])[0]:
        child = os.fork()
        if not child:
            status = 1
            try:
                walls.end_with(me)
                serve()
                status = 0
            finally:
                os._exit(status)
        if os.waitpid(child, 0)[1]:
            return


if __name__ == "__main__":
    main()
