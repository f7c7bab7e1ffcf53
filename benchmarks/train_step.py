"""One training step of luthier beside plain Transformers + PEFT and TRL: speed, peak memory, loss.

    OMP_NUM_THREADS=1 python benchmarks/train_step.py [--model bundled] [--note "what else ran"]

Every contestant is a process of its own, on one thread; they take turns, one pass over the documents at a time. Time
is processor time, which other processes change little. TRL is measured where it can be imported.
"""

import argparse
import datetime
import json
import multiprocessing
import os
import platform
import statistics
import sys
import tempfile
import warnings
from collections.abc import Sequence
from importlib import metadata, util
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

os.environ["OMP_NUM_THREADS"] = "1"

from case import BATCH, RANK, RATE, SEED, Case, make_case
from contestants import CONTESTANTS, MISSING, Meter

HERE = Path(__file__).parent
FIRST = next(iter(CONTESTANTS))


class Measured(NamedTuple):
    seconds: list[float]
    """Of each timed pass."""
    losses: list[float]
    """Nats per learned token of each pass; the first pass is untimed, at learning rate 0."""
    supervised_tokens: int
    peak_memory_bytes: int


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="random", help="`random`, `bundled`, or a model folder")
    parser.add_argument("--documents", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--note", default="nothing noted", help="what else the machine did, for the record")
    options = parser.parse_args()
    data, results, tables = {}, {}, []
    for technique in ("lora", "full"):
        with tempfile.TemporaryDirectory() as folder:
            chosen = {"model": options.model, "documents": options.documents, "rounds": options.rounds}
            case = make_case(Path(folder), technique=technique, **chosen)
            lengths = [[row.length for row in batch] for batch in case.batches()]
            results[technique] = measure(case)
        tokens = sum(map(sum, lengths))
        padding = 1 - tokens / sum(len(step) * max(step) for step in lengths)
        learned = results[technique][FIRST].supervised_tokens
        data = {"documents": options.documents, "tokens": tokens, "learned": learned, "padding": round(padding, 3)}
        tables.append(table(technique, results[technique], tokens))
        print(tables[-1], flush=True)
    write(options, data, results, tables)


def measure(case: Case) -> dict[str, Measured]:
    """Return what each contestant gave, all alive at once and taking turns."""
    context = multiprocessing.get_context("spawn")
    lines: dict[str, Connection] = {}
    for name in CONTESTANTS.keys() - MISSING:
        lines[name], theirs = context.Pipe()
        context.Process(target=take_part, args=(case, name, theirs), daemon=True).start()
        theirs.close()
    passes: dict[str, list[Any]] = {name: [] for name in lines}
    for _ in range(case.rounds + 1):
        for name, line in lines.items():
            line.send("go")
            passes[name].append(line.recv())
    return {
        name: Measured([one[0] for one in passes[name][1:]], [one[1] for one in passes[name]], *passes[name][-1][2:])
        for name in passes
    }


def take_part(case: Case, name: str, line: Connection) -> None:
    warnings.simplefilter("ignore")
    contestant, setting = CONTESTANTS[name]
    contestant(case, Meter(line), setting)


def table(technique: str, measured: dict[str, Measured], tokens: int) -> str:
    """Return a Markdown table: medians over rounds, with the smallest and largest."""
    first = measured[FIRST]
    lines = [
        f"\n## {'LoRA r16 on all linear layers' if technique == 'lora' else 'Full fine-tuning'}\n",
        f"| | tokens per CPU-second | {FIRST} is x times as fast | peak memory | loss before | after |",
        "|---|---|---|---|---|---|",
    ]
    for name in CONTESTANTS:
        if name in MISSING:
            lines.append(f"| {name} | not installed | | | | |")
            continue
        one = measured[name]
        speeds = spread([tokens / seconds for seconds in one.seconds], ",.0f")
        ratios = spread([mine / best for mine, best in zip(one.seconds, first.seconds, strict=True)], ".2f")
        losses = f"{one.losses[0]:.5f} | {one.losses[-1]:.4f}"
        lines.append(f"| {name} | {speeds} | {ratios} | {one.peak_memory_bytes / 1e6:,.0f} MB | {losses} |")
    return "\n".join(lines)


def spread(values: Sequence[float], form: str) -> str:
    return f"{statistics.median(values):{form}} [{min(values):{form}}–{max(values):{form}}]"


def write(options: argparse.Namespace, data: dict[str, Any], results: dict[str, Any], tables: list[str]) -> None:
    """Write the numbers as JSON, and as a dated page that begins with the prediction."""
    now = datetime.datetime.now(tz=datetime.UTC)
    processor = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    flags = [flag for flag in ("avx512_bf16", "amx_bf16") if flag in processor] or ["no bfloat16 unit"]
    packages = ["torch", "transformers", "peft", "numpy", *(["trl"] if util.find_spec("trl") else [])]
    about = {
        "date": f"{now:%Y-%m-%d %H:%M} UTC",
        "command": " ".join(["OMP_NUM_THREADS=1 python benchmarks/train_step.py", *map(repr, sys.argv[1:])]),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, one used, {', '.join(flags)}",
        "note": options.note,
        "versions": {"python": platform.python_version(), **{name: metadata.version(name) for name in packages}},
        "case": {"model": options.model, **data, "batch": BATCH, "rank": RANK, "rate": RATE, "seed": SEED},
    }
    facts = [
        f"- {key}: {', '.join(f'{k} {v}' for k, v in value.items()) if isinstance(value, dict) else value}"
        for key, value in about.items()
    ]
    numbers = {kind: {name: one._asdict() for name, one in rows.items()} for kind, rows in results.items()}
    prediction = (HERE / "prediction.md").read_text(encoding="utf-8")
    page = "\n".join([f"# Training step, {about['date']}\n", prediction, *facts, *tables, ""])
    path = HERE / "results" / f"{now:%Y-%m-%d-%H%M}-train-step-{Path(options.model).name}"
    path.parent.mkdir(exist_ok=True)
    path.with_suffix(".json").write_text(json.dumps({**about, "results": numbers}, indent=1) + "\n", encoding="utf-8")
    path.with_suffix(".md").write_text(page, encoding="utf-8")
    print(f"\nwrote {path.relative_to(HERE.parent)}.md and .json")


if __name__ == "__main__":
    main()
