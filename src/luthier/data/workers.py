"""Batches refined in this process or in several, with the same result in the same order."""

import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable
from contextlib import ExitStack, suppress
from multiprocessing import Pipe
from pathlib import Path
from typing import Any, Literal, NamedTuple

from luthier.core.errors import Failed, LuthierError
from luthier.data.batches import Batch
from luthier.data.refine import Refined, Refiner

AHEAD = 3
"""Batches a process may have been given and not answered: one in work, one to go on with, one answered."""

WORTHWHILE = 16_000_000
"""Bytes of sources from which on starting processes, half a second each, pays."""


MakeRefiner = Callable[[], Refiner]
"""Picklable, for it is called in every process."""


class Fault(NamedTuple):
    """What went wrong in another process: a problem of the user's, or the traceback of one of ours."""

    problem: LuthierError | None
    trace: str


def how_many(asked: int | Literal["auto"], size: int) -> tuple[int, str]:
    """Return how many processes refine, and why.

    Args:
        asked: The recipe's `data.processes`.
        size: Bytes of all sources.
    """
    if asked != "auto":
        return asked, "asked for"
    cores = len(os.sched_getaffinity(0))
    if cores == 1:
        return 1, "one core"
    if size < WORTHWHILE:
        return 1, f"starting more pays from {WORTHWHILE // 1_000_000} MB of sources on"
    return cores, "one a core"


def refine_all(
    make: MakeRefiner, batches: Iterable[Batch], *, processes: int
) -> Generator[tuple[Batch, Refined], None, None]:
    """Yield each batch with what becomes of it, in order.

    Args:
        make: Makes the refiner; of several processes, in each.
        batches: Read as they are needed: only a few are held.
        processes: How many refine. One is this process.

    Raises:
        Failed: A process was ended from outside.
    """
    if processes == 1:
        refiner = make()
        for batch in batches:
            yield batch, refiner.refine(batch)
        return
    with ExitStack() as stack:
        workers = [stack.enter_context(Worker(make)) for _ in range(processes)]
        waiting: deque[tuple[Batch, Worker]] = deque()
        for number, batch in enumerate(batches):
            if len(waiting) == AHEAD * processes:
                first, worker = waiting.popleft()
                yield first, worker.answer()
            workers[number % processes].send(batch)
            waiting.append((batch, workers[number % processes]))
        for first, worker in waiting:
            yield first, worker.answer()


class Worker:
    """A process that refines batches, one after the other. Leaving it ends the process."""

    def __init__(self, make: MakeRefiner) -> None:
        self._connection, theirs = Pipe()
        ours = str(Path(__file__).resolve().parents[2])  # also where luthier runs from its source tree
        path = os.pathsep.join(filter(None, [ours, os.environ.get("PYTHONPATH")]))
        with theirs:
            self._process = subprocess.Popen(
                # -P: a file in the folder luthier is called from must not stand in for a module.
                [sys.executable, "-P", "-m", "luthier.data.worker", str(theirs.fileno())],
                env={**os.environ, "PYTHONPATH": path},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        self.send(make)

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()
        self._process.kill()
        self._process.wait()

    def send(self, work: Any) -> None:
        """Hand over a batch."""
        with suppress(BrokenPipeError, ConnectionResetError):  # it ended: the answer that is missing says why
            self._connection.send(work)

    def answer(self) -> Refined:
        """Return what became of the oldest batch that was handed over and not answered.

        Raises:
            Failed: The process is gone.
            LuthierError: What went wrong there, if the user can change it.
        """
        try:
            answer: Refined | Fault = self._connection.recv()
        except (EOFError, ConnectionResetError):
            raise self._gone() from None
        if not isinstance(answer, Fault):
            return answer
        if answer.problem:
            raise answer.problem
        raise RuntimeError(f"while a batch was refined in another process:\n{answer.trace}")

    def _gone(self) -> Failed:
        code = self._process.wait()
        told = signal.Signals(-code).name if code < 0 else f"exit status {code}"
        return Failed(
            f"a process that prepares rows ended before its work was done ({told})",
            hint="if the machine ran out of memory, prepare with fewer processes: `--set data.processes=1`",
        )
