import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from luthier.core.errors import DataError, Failed
from luthier.data.batches import Batch
from luthier.data.refine import Refined, Refiner
from luthier.data.rows import Unparsed
from luthier.data.worker import serve
from luthier.data.workers import WORTHWHILE, Crew, MakeRefiner, Worker, how_many
from luthier.recipe.data import Data

MAKE = partial(Refiner, Data(sources=("x",)), "conversation")


def batches(count: int) -> Iterator[Batch]:
    for number in range(count):
        yield Batch("x", "utf-8", [Unparsed(b'{"question": "Q%d", "answer": "A"}' % number, number + 1)], number)


def refined(make: MakeRefiner, count: int, processes: int) -> list[tuple[Batch, Refined]]:
    with Crew(make, processes) as crew:
        return list(crew.refine(batches(count)))


def children_of(process: int) -> set[int]:
    tasks = Path(f"/proc/{process}/task").iterdir()
    return {int(child) for task in tasks for child in (task / "children").read_text().split()}


def children() -> set[int]:
    """Return the processes that this one started and that are still there."""
    return children_of(os.getpid())


def refuses() -> Refiner:
    raise DataError("this can't be", hint="do otherwise", place="there")


def breaks() -> Refiner:
    raise ZeroDivisionError("ours")


def half_a_message() -> Connection:
    ours, theirs = Pipe()
    with ours:
        os.write(ours.fileno(), struct.pack("!i", 100) + b"half")
    return theirs


@pytest.mark.parametrize("processes", [1, 3])
def test_batches_come_back_in_order_with_what_became_of_them(processes: int) -> None:
    before = children()
    done = refined(MAKE, 40, processes)
    assert [batch.position for batch, _ in done] == list(range(40))
    assert [result.columns["line"].tolist() for _, result in done] == [[number] for number in range(1, 41)]
    assert children() == before


def test_a_process_that_is_killed_is_told_and_the_others_end() -> None:
    before = children()
    with Crew(MAKE, 2) as crew:
        coming = crew.refine(batches(1000))
        next(coming)
        os.kill(max(children() - before), signal.SIGKILL)
        with pytest.raises(Failed, match="SIGKILL"):
            list(coming)
    assert children() == before


def test_half_a_message_of_a_killed_process_is_told_as_its_end() -> None:
    worker = Worker(MAKE)
    worker._process.kill()
    worker._connection.close()
    worker._connection = half_a_message()
    with pytest.raises(Failed, match="SIGKILL"):
        worker.answer()
    worker.end()
    serve(half_a_message())  # the other way round: nobody is left to tell


def test_who_stops_listening_leaves_no_process_behind() -> None:
    before = children()
    with Crew(MAKE, 2) as crew:
        next(crew.refine(batches(1000)))
        assert len(children() - before) == 2
    assert children() == before


def test_a_problem_in_another_process_is_told_as_if_it_were_here(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RuntimeError, match="ModuleNotFoundError"):  # what makes the refiner can't be found there
        refined(refuses, 9, 2)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    with pytest.raises(DataError) as told:
        refined(refuses, 9, 2)
    assert told.value.lines() == ["error: there: this can't be", "  hint: do otherwise"]
    with pytest.raises(RuntimeError, match="ZeroDivisionError: ours"):
        refined(breaks, 9, 2)


def test_the_memory_of_the_others_is_known_in_the_end() -> None:
    with Crew(MAKE, 2) as crew:
        list(crew.refine(batches(4)))
    assert 40_000_000 < crew.memory < 2_000_000_000
    with Crew(MAKE, 1) as alone:
        list(alone.refine(batches(4)))
    assert alone.memory == 0


def test_the_processes_end_when_the_one_that_started_them_is_killed() -> None:
    code = (
        "from test_workers import MAKE, Crew, batches, children\n"
        "with Crew(MAKE, 2) as crew:\n"
        "    for batch, _ in crew.refine(batches(10**9)):\n"
        "        if batch.position == 3: print(*children(), flush=True)\n"
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


@pytest.mark.parametrize("when", ["while they start", "while they work"])
def test_ctrl_c_ends_all_processes_and_leaves_nothing_half_done(when: str, tmp_path: Path) -> None:
    row = b'{"question": "How about %d?", "answer": "' + b"Like this. " * 60 + b'"}\n'
    (tmp_path / "rows.jsonl").write_bytes(b"".join(row % number for number in range(20_000)))
    arguments = ["--data", "rows.jsonl", "--set", "data.processes=2", "--out", "run", "-q"]
    command = [sys.executable, "-m", "luthier", "prepare", *arguments]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, start_new_session=True) as process:
        until = time.monotonic() + 60
        while (
            len(children_of(process.pid)) < 2
            if when == "while they start"
            else not (waiting := [*tmp_path.glob("run/.data.*/.kept.jsonl")]) or not waiting[0].stat().st_size
        ):
            assert time.monotonic() < until
            assert process.poll() is None, process.stderr and process.stderr.read()
            time.sleep(0.02)
        time.sleep(0.3)  # in which those that start import what they need
        workers = children_of(process.pid)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(timeout=30) == 130
        assert process.stderr is not None
        assert b"Traceback" not in process.stderr.read()
    assert len(workers) == 2
    assert not any(map(running, workers))
    assert not [*tmp_path.glob("run/.data.*")]
    assert not (tmp_path / "run" / "data").exists()
