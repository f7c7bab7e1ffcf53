import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from luthier.core.errors import DataError, Failed
from luthier.data.batches import Batch
from luthier.data.refine import Refiner
from luthier.data.rows import Unparsed
from luthier.data.workers import WORTHWHILE, how_many, refine_all
from luthier.recipe.data import Data

MAKE = partial(Refiner, Data(sources=("x",)), "conversation")


def batches(count: int) -> Iterator[Batch]:
    for number in range(count):
        yield Batch("x", "utf-8", [Unparsed(b'{"question": "Q%d", "answer": "A"}' % number, number + 1)], number)


def children() -> set[int]:
    """Return the processes that this one started and that are still there."""
    tasks = Path(f"/proc/{os.getpid()}/task").iterdir()
    return {int(child) for task in tasks for child in (task / "children").read_text().split()}


def refuses() -> Refiner:
    raise DataError("this can't be", hint="do otherwise", place="there")


def breaks() -> Refiner:
    raise ZeroDivisionError("ours")


@pytest.mark.parametrize("processes", [1, 3])
def test_batches_come_back_in_order_with_what_became_of_them(processes: int) -> None:
    before = children()
    done = list(refine_all(MAKE, batches(40), processes=processes))
    assert [batch.position for batch, _ in done] == list(range(40))
    assert [refined.columns["line"].tolist() for _, refined in done] == [[number] for number in range(1, 41)]
    assert children() == before


def test_a_process_that_is_killed_is_told_and_the_others_end() -> None:
    before = children()
    with closing(refine_all(MAKE, batches(1000), processes=2)) as refined:
        next(refined)
        os.kill(max(children() - before), signal.SIGKILL)
        with pytest.raises(Failed, match="SIGKILL"):
            list(refined)
    assert children() == before


def test_who_stops_listening_leaves_no_process_behind() -> None:
    before = children()
    with closing(refine_all(MAKE, batches(1000), processes=2)) as refined:
        next(refined)
        assert len(children() - before) == 2
    assert children() == before


def test_a_problem_in_another_process_is_told_as_if_it_were_here(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RuntimeError, match="ModuleNotFoundError"):  # what makes the refiner can't be found there
        list(refine_all(refuses, batches(9), processes=2))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    with pytest.raises(DataError) as told, closing(refine_all(refuses, batches(9), processes=2)) as refined:
        next(refined)
    assert told.value.lines() == ["error: there: this can't be", "  hint: do otherwise"]
    with pytest.raises(RuntimeError, match="ZeroDivisionError: ours"):
        list(refine_all(breaks, batches(9), processes=2))


def test_the_processes_end_when_the_one_that_started_them_is_killed() -> None:
    code = (
        "import sys; from test_workers import MAKE, batches, children, refine_all\n"
        "for batch, _ in refine_all(MAKE, batches(10**9), processes=2):\n"
        "    if batch.position == 3: print(*children(), flush=True)\n"
    )
    here = [str(Path(__file__).parent), *sys.path]
    parent = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(here)},
    )
    with parent:
        assert parent.stdout is not None
        workers = [int(worker) for worker in parent.stdout.readline().split()]
        parent.kill()
    assert len(workers) == 2
    until = time.monotonic() + 20
    while any(running(worker) for worker in workers):
        assert time.monotonic() < until, "they run on"
        time.sleep(0.05)


def running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_the_number_of_processes_follows_the_cores_and_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2})
    assert how_many("auto", WORTHWHILE)[0] == 3
    assert how_many("auto", WORTHWHILE - 1)[0] == 1
    assert how_many(2, 10)[0] == 2
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    assert how_many("auto", 10 * WORTHWHILE) == (1, "one core")
