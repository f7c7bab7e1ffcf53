"""Batches refined in this process or in several, with the same result in the same order."""

import os
import signal
import subprocess
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from multiprocessing import Pipe
from typing import Any, Literal, NamedTuple

from luthier.core.errors import Failed, LuthierError
from luthier.core.hardware import peak_memory
from luthier.core.helper import helper
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


class Crew:
    """Who refines: this process, or several others, which leaving it ends.

    Args:
        make: Makes the refiner; of several processes, in each.
        processes: How many refine. One is this process.
    """

    def __init__(self, make: MakeRefiner, processes: int) -> None:
        self.processes = processes
        self.memory = 0
        """The most memory that each of the others held, added up, in bytes. Known in the end."""
        self._make = make
        self._workers: list[Worker] = []

    def __enter__(self) -> "Crew":
        if self.processes > 1:
            try:
                for _ in range(self.processes):
                    self._workers.append(Worker(self._make))
            except BaseException:
                self.__exit__()
                raise
        return self

    def __exit__(self, *_: object) -> None:
        self.memory = sum(worker.end() for worker in self._workers)

    def refine(self, batches: Iterable[Batch]) -> Iterator[tuple[Batch, Refined]]:
        """Yield each batch with what becomes of it, in order. They are read as they are needed: only a few are held.

        Raises:
            Failed: A process was ended from outside.
        """
        waiting: deque[tuple[Batch, Worker | None]] = deque()
        for number, batch in enumerate(batches):
            worker = self._workers[number % self.processes] if self._workers else None
            waiting.append((batch, worker if worker and worker.send(batch) else None))
            if len(waiting) > AHEAD * len(self._workers):
                yield self._refined(*waiting.popleft())
        for batch, worker in waiting:
            yield self._refined(batch, worker)

    def _refined(self, batch: Batch, worker: "Worker | None") -> tuple[Batch, Refined]:
        return batch, worker.answer() if worker else self._refiner.refine(batch)

    @cached_property
    def _refiner(self) -> Refiner:
        """Refines in this process."""
        return self._make()


class Worker:
    """A process that refines batches, one after the other."""

    def __init__(self, make: MakeRefiner) -> None:
        self._connection, theirs = Pipe()
        with theirs:
            worker = helper("luthier.data.worker", str(theirs.fileno()))
            self._process = subprocess.Popen(
                worker.command,
                env=worker.env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                process_group=0,  # Ctrl-C doesn't reach it, not while it starts either: whoever started it ends it
            )
        self.send(make)

    def send(self, work: Any) -> bool:
        """Hand over a batch. Return False where a row is nested too deep to travel; nothing is handed over then."""
        try:
            self._connection.send(work)
        except RecursionError:
            return False
        except (BrokenPipeError, ConnectionResetError):
            pass  # it ended: the answer that is missing says why
        return True

    def answer(self) -> Refined:
        """Return what became of the oldest batch that was handed over and not answered.

        Raises:
            Failed: The process is gone.
            LuthierError: What went wrong there, if the user can change it.
        """
        try:
            answer: Refined | Fault = self._connection.recv()
        except (EOFError, OSError):
            raise self._gone() from None
        if not isinstance(answer, Fault):
            return answer
        if answer.problem:
            raise answer.problem
        raise RuntimeError(f"while a batch was refined in another process:\n{answer.trace}")

    def end(self) -> int:
        """End the process. Return the most memory it has held, in bytes."""
        memory = peak_memory(self._process.pid) if self._process.poll() is None else 0
        self._connection.close()
        self._process.kill()
        self._process.wait()
        return memory

    def _gone(self) -> Failed:
        code = self._process.wait()
        told = signal.Signals(-code).name if code < 0 else f"exit status {code}"
        return Failed(
            f"a process that prepares rows ended before its work was done ({told})",
            hint="if the machine ran out of memory, prepare with fewer processes: `--set data.processes=1`",
        )
