"""Rows prepared in a second, and memory as rows grow: luthier beside `datasets` and beside a loop that only copies.

    python benchmarks/prepare.py [--cases 100000:1 100000:2 300000:2 1000000:2] [--note "what else ran"]

The rows are made: about 700 bytes of words, in JSONL of six shapes (half), CSV (three tenths) and a JSON array; one in
ten equals an earlier one but for case and spaces, some hold HTML, mojibake, zero-width characters, an empty answer or
are no JSON. `datasets`, where it is installed, gets the same questions and answers as clean JSONL of one shape (it
refuses the rest) and does the least of the same work by the usual `map` and `filter`: strip, build `messages`, drop
empty and equal rows, split, write. The loop parses every line with orjson and writes it again: below that nobody gets.

Every run is a process of its own. Time is processor time with children, and wall time. Memory is the largest sum over
the process and its children, looked at every 50 ms: proportional set size, which counts a shared page once, with and
without pages of files, which the system takes back when it needs room.
"""

import argparse
import csv
import datetime
import itertools
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
SYLLABLES = [first + last for first in "bcdfghjklmnp" for last in "aeiou"]
SHAPES = 6
OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}


def words() -> np.ndarray[Any, Any]:
    """Return a vocabulary; the frequent ones are short, as in any language."""
    chance = np.random.default_rng(0)
    return np.array(["".join(chance.choice(SYLLABLES, 1 + place // 3000)) for place in range(8000)])


def texts(count: int) -> Iterator[tuple[str, str]]:
    """Yield questions and answers of about 700 bytes together, one in ten said before."""
    chance, vocabulary = np.random.default_rng(1), words()
    share = 1 / np.arange(10, len(vocabulary) + 10)
    share = np.cumsum(share / share.sum())
    before: list[tuple[str, str]] = []
    for _ in range(0, count, 1000):
        lengths = chance.integers(80, 280, 1000)
        line = vocabulary[np.searchsorted(share, chance.random(lengths.sum()))]
        for taken in np.split(line, np.cumsum(lengths)[:-1]):
            text = " ".join(taken)
            pair = text[: len(text) // 3].capitalize() + "?", text[len(text) // 3 :] + "."
            if before and chance.random() < 0.1:
                question, answer = before[chance.integers(len(before))]
                pair = question.upper(), f"{answer} "
            elif len(before) < 5000:
                before.append(pair)
            else:
                before[chance.integers(5000)] = pair
            yield pair


def soil(number: int, question: str, answer: str) -> tuple[str, str]:
    """Return a pair with the fault its number has, if any."""
    if number % 97 == 0:
        return question, f"<p>{answer}</p><br>&amp; more"
    if number % 89 == 0:
        return question, answer.replace("a", "\u00c3\u00a9", 1)  # an é decoded twice
    if number % 83 == 0:
        return f"\u200b{question}", answer
    return (question, " ") if number % 101 == 0 else (question, answer)


def row(number: int, question: str, answer: str) -> dict[str, Any]:
    """Return a pair in one of six shapes."""
    shapes: list[dict[str, Any]] = [
        {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]},
        {"instruction": question, "input": "", "output": answer},
        {"conversations": [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]},
        {"prompt": question, "completion": answer, "topic": "made"},
        {"instruction": question[:40], "input": question[40:], "output": answer},
        {"question": question, "answer": answer, "id": number},
    ]
    return shapes[number % SHAPES]


def make_case(folder: Path, count: int) -> None:
    """Write `count` rows, for luthier and the loop in `rows.*`, for `datasets` in `clean/rows.jsonl`."""
    (folder / "clean").mkdir(parents=True)
    with (
        (folder / "rows.jsonl").open("w") as lines,
        (folder / "rows.csv").open("w", newline="") as table,
        (folder / "rows.json").open("w") as array,
        (folder / "clean" / "rows.jsonl").open("w") as clean,
    ):
        cells = csv.writer(table)
        cells.writerow(["question", "answer", "topic"])
        array.write("[")
        for number, (question, answer) in enumerate(texts(count)):
            question, answer = soil(number, question, answer)
            clean.write(json.dumps({"question": question, "answer": answer}) + "\n")
            place = number % 10
            if place < 5:
                text = json.dumps(row(number, question, answer), ensure_ascii=number % 2 == 0)
                lines.write((text[:-9] if number % 211 == 0 else text) + "\n")
            elif place < 8:
                cells.writerow([question, answer, "made"])
            else:
                array.write(("," if number > 8 else "") + json.dumps(row(number, question, answer)) + "\n")
        array.write("]")


# Contestants ---------------------------------------------------------------------------------------------------


def luthier(case: Path, processes: int) -> int:
    from luthier.data.prepare import prepare
    from luthier.recipe.data import Data

    sources = tuple(str(path) for path in sorted(case.glob("rows.*")))
    report = prepare(Data(sources=sources, processes=processes), case / f"luthier-{processes}" / "data")
    return int(report.data["rows"]["in"])


def datasets(case: Path, processes: int) -> int:
    from datasets import load_dataset

    spread = {"num_proc": processes} if processes > 1 else {}
    rows = load_dataset(
        "json", data_files=str(case / "clean" / "rows.jsonl"), split="train", cache_dir=str(case / f"cache-{processes}")
    )
    count = len(rows)

    def converted(old: dict[str, str]) -> dict[str, Any]:
        question, answer = old["question"].strip(), old["answer"].strip()
        turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        return {"messages": turns, "key": " ".join(f"{question} {answer}".lower().split()), "empty": not answer}

    rows = rows.map(converted, remove_columns=rows.column_names, **spread)
    rows = rows.filter(lambda new: not new["empty"], **spread)
    seen: set[int] = set()

    def first(key: str) -> bool:
        known = hash(key)
        new = known not in seen
        seen.add(known)
        return new

    rows = rows.filter(first, input_columns="key").remove_columns(["key", "empty"])
    split = rows.train_test_split(0.1, seed=0)
    for name, part in split.items():
        part.to_json(str(case / f"{name}-{processes}.jsonl"))
    return count


def copy(case: Path, processes: int) -> int:  # noqa: ARG001 - one is enough
    import orjson

    count = 0
    with (case / "clean" / "rows.jsonl").open("rb") as lines, (case / "copy.jsonl").open("wb") as out:
        for line in lines:
            out.write(orjson.dumps(orjson.loads(line), option=orjson.OPT_APPEND_NEWLINE))
            count += 1
    return count


CONTESTANTS: dict[str, Callable[[Path, int], int]] = {"luthier": luthier, "datasets": datasets, "copy": copy}


# Measuring -----------------------------------------------------------------------------------------------------


class Memory(threading.Thread):
    """Watches how much memory a process and its children hold together."""

    def __init__(self, process: int) -> None:
        super().__init__(daemon=True)
        self.process = process
        self.peak = self.own = 0
        self.done = threading.Event()

    def run(self) -> None:
        while not self.done.wait(0.05):
            held = [_held(process) for process in _tree(self.process)]
            self.peak = max(self.peak, sum(both for both, _ in held))
            self.own = max(self.own, sum(own for _, own in held))


def _tree(process: int) -> list[int]:
    try:
        tasks = list(Path(f"/proc/{process}/task").iterdir())
        children = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:
        return [process]
    return [process, *(below for child in children for below in _tree(child))]


def _held(process: int) -> tuple[int, int]:
    """Return proportional set size in bytes, and the part of it that belongs to no file."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()[1:]
    except OSError:
        return 0, 0
    sizes = {line.split()[0]: int(line.split()[1]) * 1024 for line in lines}
    return sizes.get("Pss:", 0), sizes.get("Pss_Anon:", 0)


def measure(name: str, case: Path, processes: int) -> dict[str, Any]:
    """Run a contestant in a process of its own."""
    command = [sys.executable, __file__, "--one", name, "--case", str(case), "--processes", str(processes)]
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, **OFFLINE})
    memory = Memory(process.pid)
    memory.start()
    told = process.communicate()[0]
    wall = time.perf_counter() - began
    memory.done.set()
    if process.returncode:
        raise SystemExit(f"{name} failed")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    found = json.loads(told.splitlines()[-1])
    return {**found, "seconds": seconds, "wall": wall, "memory": memory.peak, "own_memory": memory.own}


def main() -> None:
    parser = argparse.ArgumentParser()
    usual = ["100000:1", "100000:2", "300000:2", "1000000:2"]
    parser.add_argument("--cases", nargs="+", default=usual, help="rows:processes, one after the other")
    parser.add_argument("--note", default="", help="what else the machine did, for the record")
    parser.add_argument("--one", choices=CONTESTANTS)
    parser.add_argument("--case", type=Path)
    parser.add_argument("--processes", type=int)
    options = parser.parse_args()
    if options.one:
        rows = CONTESTANTS[options.one](options.case, options.processes)
        print(json.dumps({"rows": rows}))
        return
    runs = []
    cases = [tuple(map(int, case.split(":"))) for case in options.cases]
    for size, together in itertools.groupby(cases, key=lambda case: case[0]):
        with tempfile.TemporaryDirectory() as scratch:
            case = Path(scratch)
            make_case(case, size)
            for number, (_, processes) in enumerate(together):
                for name in CONTESTANTS:
                    if (name == "copy" and number) or (name == "datasets" and not find_spec("datasets")):
                        continue
                    found = measure(name, case, processes if name != "copy" else 1)
                    runs.append({"name": name, "size": size, "processes": processes if name != "copy" else 1, **found})
                    print(json.dumps(runs[-1]), flush=True)
    tell(options, runs)


def tell(options: argparse.Namespace, runs: list[dict[str, Any]]) -> None:
    from luthier.core.files import write_json, write_text

    lines = [
        "# Preparing rows: luthier, `datasets`, and a loop that copies",
        "",
        f"Made rows of about 700 bytes. {options.note}",
        "",
        "| | rows | processes | processor time, s | rows per processor second | wall time, s | rows/s |"
        " peak memory, MB | without pages of files, MB |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for run in runs:
        rows, seconds, wall = run["rows"], run["seconds"], run["wall"]
        lines.append(
            f"| {run['name']} | {rows:,} | {run['processes']} | {seconds:.1f} | {rows / seconds:,.0f} | {wall:.1f} "
            f"| {rows / wall:,.0f} | {run['memory'] / 1e6:.0f} | {run['own_memory'] / 1e6:.0f} |"
        )
    about = {
        "machine": platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in ("numpy", "orjson", "datasets") if find_spec(name)},
        "note": options.note,
    }
    (HERE / "results").mkdir(exist_ok=True)
    name = f"{datetime.datetime.now():%Y-%m-%d-%H%M}-prepare"
    write_json(HERE / "results" / f"{name}.json", {"about": about, "runs": runs})
    write_text(HERE / "results" / f"{name}.md", "\n".join([*lines, ""]))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
