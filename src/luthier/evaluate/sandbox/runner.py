"""Programs a model wrote, each beside the tests of its problem: which of them pass?"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

from luthier.core.errors import Failed
from luthier.evaluate.sandbox import walls
from luthier.evaluate.sandbox.server import LENGTH

MEMORY = 512 << 20
"""Bytes of address space a program has of its own."""


class Trial(NamedTuple):
    """A program and what it has to stand. Both are walled in; neither sees the other's code."""

    program: str
    """Python, of the standard library."""
    names: tuple[str, ...]
    """What the tests use of it: functions and classes."""
    tests: str
    """Python that raises unless all is well. A name of the program stands for it; arguments and results travel as
    copies where they are plain values (numbers, texts, collections of them), else as references."""
    given: str = ""
    """Python of the problem's own that the tests lean on."""


class Outcome(NamedTuple):
    """What came of a trial."""

    passed: bool
    why: str
    """Why it did not: an error as Python names it, or what ended the program."""


PROBES = {
    "computing": ("return [1, 2.5, ('a', {b'c': {4}})]", "assert probe() == [1, 2.5, ('a', {b'c': {4}})]"),
    "starting a process": ("import os; return os.fork() or os._exit(0)", "probe()"),
    "starting a thread": ("import threading; t = threading.Thread(); t.start(); t.join()", "probe()"),
    "sending a signal": ("import os; return os.kill(os.getppid(), 0)", "probe()"),
    "opening a connection": ("import socket; socket.socket().close()", "probe()"),
    "reading a file": (f"open({os.__file__!r}).close()", "probe()"),
    "writing a file": (f"open({os.devnull!r}, 'w').close()", "probe()"),
    "taking memory": (f"len(bytearray({2 * MEMORY}))", "probe()"),
    "ending with success": ("import os; os._exit(0)", "probe()"),
}
"""What is tried before anything is run: the first must work and no other."""


class Server:
    """A process that holds trials, one after the other. Not to be shared between threads."""

    def __init__(self) -> None:
        ours = str(Path(__file__).resolve().parents[3])
        self._process = subprocess.Popen(
            # Nothing of the user: no packages (-s, -S), no folder luthier is called from (-P), no environment.
            [sys.executable, "-P", "-s", "-S", "-B", "-W", "ignore", "-m", "luthier.evaluate.sandbox.server"],
            env={"PYTHONPATH": ours, "PYTHONHASHSEED": "0", "PYTHONUTF8": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
        )

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def hold(self, trial: Trial, *, seconds: int, memory_bytes: int) -> Outcome:
        """Return what comes of a trial.

        Raises:
            Failed: The server is gone.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        limits = {"seconds": seconds, "memory_bytes": memory_bytes}
        tests = {"names": trial.names, "tests": trial.tests, "given": trial.given}
        try:
            for piece in (
                # A lone surrogate is no program, and must not keep others from being run.
                trial.program.encode("utf-8", "backslashreplace") or b"\n",
                json.dumps(limits).encode(),
                json.dumps(tests).encode(),
            ):
                self._process.stdin.write(b"%0*d" % (LENGTH, len(piece)) + piece)
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = b""
        if not line:
            raise Failed(
                "the process that runs programs a model wrote is gone",
                hint="something ended it, as systems do when memory runs out: free some and type the command again",
            )
        found = json.loads(line)
        return Outcome(found["passed"], found["why"])


def run(
    trials: Sequence[Trial],
    *,
    seconds: int = 3,
    memory_bytes: int = MEMORY,
    on_done: Callable[[int], None] | None = None,
) -> list[Outcome]:
    """Return what comes of trials, in their order; as many run at a time as there are cores.

    Args:
        trials: Programs with their tests.
        seconds: Processor time of a program; on the clock four times as long.
        memory_bytes: Address space of a program.
        on_done: Called with how many are done, each time it grows, from any thread.

    Raises:
        Failed: Programs can't be contained on this machine, or a server was ended.
    """
    free: SimpleQueue[Server] = SimpleQueue()
    workers = max(1, min(len(trials), os.cpu_count() or 1))
    done = 0

    def hold(trial: Trial) -> Outcome:
        nonlocal done
        server = free.get()
        try:
            return server.hold(trial, seconds=seconds, memory_bytes=memory_bytes)
        finally:
            free.put(server)
            done += 1
            if on_done is not None:
                on_done(done)

    require()
    servers = [Server() for _ in range(workers)]
    try:
        for server in servers:
            free.put(server)
        with ThreadPoolExecutor(workers) as threads:
            return list(threads.map(hold, trials))
    finally:
        for server in servers:
            server.__exit__()


def require() -> None:
    """Refuse to run anything where programs can't be contained.

    Raises:
        Failed: This system has no walls, or one of `PROBES` got through.
    """
    problem = walls.missing() or _probed()
    if problem:
        raise Failed(
            f"programs a model wrote can't be contained here: {problem}",
            hint="run this on Linux with seccomp, such as in a container or a virtual machine, or leave out the "
            "benchmarks that run code",
        )


def _probed() -> str | None:
    with Server() as server:
        for name, (body, tests) in PROBES.items():
            trial = Trial(f"def probe():\n    {body}\n", ("probe",), tests)
            outcome = server.hold(trial, seconds=2, memory_bytes=MEMORY)
            if name == "computing" and not outcome.passed:
                return f"a harmless program fails ({outcome.why})"
            if name != "computing" and outcome.passed:
                return f"{name} is not refused"
    return None
