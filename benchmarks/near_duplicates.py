"""Near duplicates of 100,000 rows: luthier beside datasketch and rensa, and all beside counting every pair.

    python benchmarks/near_duplicates.py [--rows 100000] [--peers PYTHON] [--from FILE.jsonl …] [--note "what else ran"]

Rows are made by this script, or taken from files that `luthier prepare` wrote (`--from`): 41 % originals, 9 % copies,
35 % copies with one word in twenty replaced, 15 % of half of one row and half of another, shuffled.
Every contestant goes through the rows in order and keeps each that is not near one it has kept, at a Jaccard
similarity of 0.8 of the pairs of neighbouring words; the peers get 128 permutations and believe their estimates,
luthier also counts, from hashes that it writes to disk. Each runs pinned to one processor in a process of its own,
taking turns. Time is processor time from texts to the rows that leave.

The truth is every pair of rows at 0.8 and above, found in plain Python by prefix filtering (Bayardo et al. 2007,
"Scaling up all pairs similarity search"), which misses none. A row is missed if it stays beside an earlier row that
stays and is near, and wrongly removed if no row that stays is near.
"""

import argparse
import datetime
import json
import os
import platform
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from importlib import metadata
from itertools import pairwise
from math import ceil
from pathlib import Path
from typing import Any

THRESHOLD = 0.8
PERMUTATIONS = 128
BATCH = 2000
HERE = Path(__file__).parent

WORD = re.compile(r"[0-9A-Za-z_\u00c0-\u0dff\u0f00-\u0fff\u1e00-\u1fff]+|[^\x00-\x20\x7f]")
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def shingles(text: str) -> set[str]:
    """Pairs of neighbouring words, by the same rule as luthier's."""
    words = WORD.findall(text.lower())
    return {f"{one} {other}" for one, other in pairwise(words)} or {*words}


# --- the contestants -------------------------------------------------------------------------------------------------


def luthier(texts: list[str]) -> tuple[list[int], dict[str, float]]:
    import numpy as np

    from luthier.core.example import Example, Message, Source
    from luthier.data.kept import Kept
    from luthier.data.near.compared import Compared
    from luthier.data.near.find import find
    from luthier.recipe.data import NearDuplicates

    examples = [Example((Message("text", text),), Source("rows", at)) for at, text in enumerate(texts, start=1)]
    compared = Compared(NearDuplicates(threshold=THRESHOLD), "text")
    began = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        kept = Kept(Path(folder) / "columns")
        for begin in range(0, len(examples), BATCH):
            batch = examples[begin : begin + BATCH]
            kept.add("rows", {"line": np.arange(begin, begin + len(batch)), **compared.sign(batch)})
        signed = time.process_time()
        near = find(compared, kept.__getitem__, kept.shingles, np.arange(len(texts), dtype="u8"))
        gone = np.flatnonzero(near.matched >= 0).tolist()
        done = time.process_time()
        kept.close()
    return gone, {"signatures": signed - began, "search": done - signed}


def datasketch(texts: list[str]) -> tuple[list[int], dict[str, float]]:
    from datasketch import MinHash, MinHashLSH

    began = time.process_time()
    sets = [[pair.encode() for pair in shingles(text)] for text in texts]
    cut = time.process_time()
    hashes = MinHash.bulk(sets, num_perm=PERMUTATIONS)
    signed = time.process_time()
    index, gone = MinHashLSH(threshold=THRESHOLD, num_perm=PERMUTATIONS), []
    for row, value in enumerate(hashes):
        if any(value.jaccard(hashes[other]) >= THRESHOLD for other in index.query(value)):
            gone.append(row)
        else:
            index.insert(row, value)
    return gone, {"shingles": cut - began, "signatures": signed - cut, "search": time.process_time() - signed}


def rensa(texts: list[str]) -> tuple[list[int], dict[str, float]]:
    from rensa import RMinHash, RMinHashLSH

    began = time.process_time()
    sets = [[*shingles(text)] for text in texts]
    cut = time.process_time()
    hashes = RMinHash.from_token_sets(sets, PERMUTATIONS, 42)
    signed = time.process_time()
    index, gone = RMinHashLSH(THRESHOLD, PERMUTATIONS, 16), []
    for row, value in enumerate(hashes):
        if any(value.jaccard(hashes[other]) >= THRESHOLD for other in index.query(value)):
            gone.append(row)
        else:
            index.insert(row, value)
    return gone, {"shingles": cut - began, "signatures": signed - cut, "search": time.process_time() - signed}


CONTESTANTS: dict[str, Callable[[list[str]], tuple[list[int], dict[str, float]]]] = {
    "luthier": luthier,
    "datasketch": datasketch,
    "rensa": rensa,
}


def compete(name: str, case: Path) -> None:
    """Run one contestant here, and print what came out."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    texts = json.loads(case.read_text("utf-8"))
    run = CONTESTANTS[name]
    run(texts[:200])  # imports and first calls
    before = held("VmRSS:")
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    gone, seconds = run(texts)
    memory = held("VmHWM:") - before
    print(json.dumps({"gone": gone, "seconds": seconds, "memory": memory, "version": metadata.version(name)}))


def held(name: str) -> int:
    """Return how much memory this process holds, or held at its peak, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) * 1024


# --- the rows --------------------------------------------------------------------------------------------------------


def rows_of(files: list[Path], count: int) -> list[str]:
    """Return originals: from files that luthier wrote, or made of words as frequent as words are."""
    draw = random.Random(0)
    if files:
        lines = [json.loads(line) for file in files for line in file.read_text("utf-8").splitlines()]
        texts = ["\n".join(turn["content"] for turn in line["messages"]) for line in lines]
        draw.shuffle(texts)
        return texts[:count]
    words = ["".join(draw.choices(LETTERS, k=draw.choice((2, 3, 4, 4, 5, 6, 7, 8, 10)))) for _ in range(30_000)]
    chance = [1 / (rank + 3) for rank in range(len(words))]  # Zipf
    texts = []
    for _ in range(count):
        length = min(600, max(8, round(draw.lognormvariate(4.4, 0.8))))
        chosen = draw.choices(words, chance, k=length)
        texts.append(" ".join(word + draw.choice(("", "", "", "", "", "", "", ",", ".")) for word in chosen))
    return texts


def made(originals: list[str], count: int) -> list[str]:
    """Return as many rows, the originals among them; kinds are as likely as the first lines above say."""
    draw = random.Random(1)
    vocabulary = [word for text in originals[:2000] for word in text.split()]
    texts = [*originals]
    while len(texts) < count:
        text, kind = draw.choice(originals), draw.random()
        words = text.split(" ")
        if kind < 0.6:
            for place in draw.sample(range(len(words)), max(1, round(len(words) / 20))):
                words[place] = draw.choice(vocabulary)
            texts.append(" ".join(words))
        elif kind < 0.75:
            texts.append(text)
        else:
            other = draw.choice(originals).split(" ")
            texts.append(" ".join(words[: len(words) // 2] + other[len(other) // 2 :]))
    draw.shuffle(texts)
    return texts


# --- the truth -------------------------------------------------------------------------------------------------------


def truth(texts: list[str]) -> dict[int, dict[int, float]]:
    """Return for each row the earlier rows that are near, with the similarity. No pair is missed."""
    sets = [shingles(text) for text in texts]
    frequency = Counter(pair for some in sets for pair in some)
    rank = {pair: place for place, pair in enumerate(sorted(frequency, key=lambda pair: (frequency[pair], pair)))}
    numbers = [sorted(rank[pair] for pair in some) for some in sets]
    as_sets = [{*some} for some in numbers]
    index: dict[int, list[int]] = defaultdict(list)
    near: dict[int, dict[int, float]] = defaultdict(dict)
    for row, mine in enumerate(numbers):
        rarest = mine[: len(mine) - ceil(THRESHOLD * len(mine)) + 1]
        for other in {other for pair in rarest for other in index[pair]}:
            small, large = sorted((len(mine), len(numbers[other])))
            if small >= THRESHOLD * large:
                both = len(as_sets[row] & as_sets[other])
                similarity = both / (small + large - both)
                if similarity >= THRESHOLD:
                    near[row][other] = similarity
        for pair in rarest:
            index[pair].append(row)
    return near


def judged(gone: list[int], near: dict[int, dict[int, float]]) -> dict[str, float]:
    """Return how right the rows are that left."""
    left = {*gone}
    later: dict[int, list[int]] = defaultdict(list)
    for row, others in near.items():
        for other in others:
            later[other].append(row)
    missed = sum(1 for row, others in near.items() if row not in left and any(o not in left for o in others))
    wrong = sum(1 for row in left if all(other in left for other in (*near.get(row, ()), *later[row])))
    right = len(left) - wrong
    return {"removed": len(left), "missed": missed, "recall": right / (right + missed), "below_threshold": wrong}


# --- one run ---------------------------------------------------------------------------------------------------------


def main() -> None:
    """Run all contestants in turns and write the result."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--rows", type=int, default=100_000)
    ask.add_argument("--rounds", type=int, default=3)
    ask.add_argument("--peers", default=sys.executable, help="a Python that has datasketch and rensa")
    ask.add_argument("--from", dest="files", type=Path, nargs="*", default=[])
    ask.add_argument("--note", default="")
    ask.add_argument("--only", choices=CONTESTANTS, help=argparse.SUPPRESS)
    ask.add_argument("--case", type=Path, help=argparse.SUPPRESS)
    asked = ask.parse_args()
    if asked.only:
        compete(asked.only, asked.case)
        return
    texts = made(rows_of(asked.files, round(asked.rows * 0.41)), asked.rows)
    size = sum(len(text.encode()) for text in texts)
    with tempfile.TemporaryDirectory() as folder:
        case = Path(folder) / "rows.json"
        case.write_text(json.dumps(texts), "utf-8")
        runs: dict[str, list[dict[str, Any]]] = {name: [] for name in CONTESTANTS}
        for number in range(asked.rounds):
            for name in CONTESTANTS:
                python = sys.executable if name == "luthier" else asked.peers
                command = [python, __file__, "--only", name, "--case", str(case)]
                out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
                runs[name].append(json.loads(out))
                spent = sum(runs[name][-1]["seconds"].values())
                print(f"round {number + 1}: {name} {len(texts) / spent:,.0f} rows/s", file=sys.stderr)
    write(asked, runs, truth(texts), size)


def write(asked: argparse.Namespace, runs: dict[str, list[dict[str, Any]]], near: Any, size: int) -> None:
    """Write what was measured as JSON and Markdown, and stop where a row left that is near to none."""
    found = {}
    for name, own in runs.items():
        speeds = sorted(asked.rows / sum(run["seconds"].values()) for run in own)
        found[name] = {
            "version": own[0]["version"],
            "rows_per_second": statistics.median(speeds),
            "slowest": speeds[0],
            "fastest": speeds[-1],
            "seconds": {part: statistics.median(run["seconds"][part] for run in own) for part in own[0]["seconds"]},
            "memory_bytes": max(run["memory"] for run in own),
            **judged(own[0]["gone"], near),
        }
    mine = found["luthier"]
    about = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="minutes"),
        "command": " ".join(["python", "benchmarks/near_duplicates.py", *sys.argv[1:]]),
        "machine": f"{platform.machine()}, {os.cpu_count()} processors, one used; Python {platform.python_version()}",
        "rows": asked.rows,
        "bytes": size,
        "near_pairs": sum(map(len, near.values())),
        "note": asked.note,
    }
    stem = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d-%H%M-near-duplicates")
    stem += "-real" if asked.files else ""
    result = {**about, "contestants": found}
    (HERE / "results" / f"{stem}.json").write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    lines = [
        f"# Near duplicates of {asked.rows:,} rows",
        "",
        *(f"- {name}: {value}" for name, value in about.items() if value),
        "",
        "| | rows a CPU second (lowest, highest) | luthier is | CPU seconds | memory | removed | recall | below 0.8 |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, own in found.items():
        parts = ", ".join(f"{part} {seconds:.2f}" for part, seconds in own["seconds"].items())
        ratio, memory = mine["rows_per_second"] / own["rows_per_second"], own["memory_bytes"] / 1e6
        lines.append(
            f"| {name} {own['version']} | {own['rows_per_second']:,.0f} ({own['slowest']:,.0f}, {own['fastest']:,.0f}) "
            f"| {ratio:.1f}x | {parts} | {memory:,.0f} MB "
            f"| {own['removed']:,} | {own['recall']:.4f} | {own['below_threshold']:,} |"
        )
    (HERE / "results" / f"{stem}.md").write_text("\n".join(lines) + "\n", "utf-8")
    print("\n".join(lines))
    assert mine["below_threshold"] == 0, "a row left that is near to none that stays"


if __name__ == "__main__":
    main()
