"""One training step of luthier beside plain Transformers + PEFT and TRL: speed, peak memory, loss.

    OMP_NUM_THREADS=1 python benchmarks/train_step.py [--model bundled] [--note "what else ran"]

Every contestant is a process of its own, on one thread; they take turns, one pass over the documents at a time. Time
is processor time, which other processes change little. TRL is measured where it can be imported.
"""

import argparse
import datetime
import multiprocessing
import os
import platform
import statistics
import sys
import tempfile
import warnings
from importlib import metadata
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

os.environ |= {"OMP_NUM_THREADS": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}

from case import BATCH, RANK, RATE, SEED, Case, make_case
from contestants import CONTESTANTS, MISSING, Meter, Pass
from luthier.core.files import write_json, write_text

HERE = Path(__file__).parent
FIRST = next(iter(CONTESTANTS))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="random", help="`random`, `bundled`, or a model folder")
    parser.add_argument("--documents", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--note", default="", help="what else the machine did, for the record")
    options = parser.parse_args()
    about, results, tables = _about(options), {}, []
    for technique in ("lora", "full"):
        with tempfile.TemporaryDirectory() as folder:
            chosen = {"model": options.model, "documents": options.documents, "rounds": options.rounds}
            case = make_case(Path(folder), technique=technique, **chosen)
            lengths = [[row.length for row in batch] for batch in case.batches()]
            results[technique] = measure(case)
        about["tokens"] = sum(map(sum, lengths))
        about["tokens learned"] = results[technique][FIRST][0].learned
        about["share of padding"] = round(1 - about["tokens"] / sum(len(step) * max(step) for step in lengths), 3)
        tables.append(table(technique, results[technique], about["tokens"]))
        print(tables[-1], flush=True)
    path = HERE / "results" / f"{about['date'].replace(' ', '-')}-train-step-{Path(options.model).name}"
    prediction = (HERE / "prediction.md").read_text(encoding="utf-8")
    facts = "\n".join(f"- {key}: {value}" for key, value in about.items())
    page = "\n".join([f"# Training step, {about['date']}\n", prediction, facts, *tables, ""])
    write_text(path.with_suffix(".md"), page)
    write_json(path.with_suffix(".json"), {**about, "columns": Pass._fields, "passes": results})
    print(f"\nwrote {path.relative_to(HERE.parent)}.md and .json")


def measure(case: Case) -> dict[str, list[Pass]]:
    """Return the passes of each contestant, all alive at once and taking turns; the first pass warms up."""
    context = multiprocessing.get_context("spawn")
    lines: dict[str, Connection] = {}
    for name in CONTESTANTS.keys() - MISSING:
        lines[name], theirs = context.Pipe()
        context.Process(target=take_part, args=(case, name, theirs), daemon=True).start()
        theirs.close()
    passes: dict[str, list[Pass]] = {name: [] for name in CONTESTANTS}
    for name in [*CONTESTANTS] * (case.rounds + 1):
        if name in lines:
            lines[name].send("go")
            passes[name].append(lines[name].recv())
    return passes


def take_part(case: Case, name: str, line: Connection) -> None:
    warnings.simplefilter("ignore")
    contestant, setting = CONTESTANTS[name]
    contestant(case, Meter(line), setting)


def table(technique: str, passes: dict[str, list[Pass]], tokens: int) -> str:
    """Return a Markdown table: medians over the timed passes, with the smallest and largest."""
    lines = [
        f"\n## {'LoRA r16 on all linear layers' if technique == 'lora' else 'Full fine-tuning'}\n",
        f"| | tokens per CPU-second | {FIRST} is x times as fast | peak memory | loss before | after |",
        "|---|---|---|---|---|---|",
    ]
    for name, rounds in passes.items():
        if not rounds:
            lines.append(f"| {name} | not installed | | | | |")
            continue
        speed = _spread([tokens / one.seconds for one in rounds[1:]], ",.0f")
        ratio = _spread(
            [one.seconds / ours.seconds for one, ours in zip(rounds, passes[FIRST], strict=True)][1:], ".2f"
        )
        memory, losses = f"{rounds[-1].peak_bytes / 1e6:,.0f} MB", f"{rounds[0].loss:.5f} | {rounds[-1].loss:.4f}"
        lines.append(f"| {name} | {speed} | {ratio} | {memory} | {losses} |")
    return "\n".join(lines)


def _spread(values: list[float], form: str) -> str:
    return f"{statistics.median(values):{form}} [{min(values):{form}}–{max(values):{form}}]"


def _about(options: argparse.Namespace) -> dict[str, Any]:
    processor = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    flags = [flag for flag in ("avx512_bf16", "amx_bf16") if flag in processor] or ["no bfloat16 unit"]
    packages = ["torch", "transformers", "peft", "numpy", *([] if MISSING else ["trl"])]
    return {
        "date": f"{datetime.datetime.now(tz=datetime.UTC):%Y-%m-%d %H%M}",
        "command": " ".join(["OMP_NUM_THREADS=1 python benchmarks/train_step.py", *map(repr, sys.argv[1:])]),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, one used, {', '.join(flags)}",
        "note": options.note or "nothing noted",
        "versions": ", ".join(f"{name} {metadata.version(name)}" for name in packages),
        "python": platform.python_version(),
        "case": f"model {options.model}, batch {BATCH}, rank {RANK}, rate {RATE}, seed {SEED}, {options.rounds} rounds",
    }


if __name__ == "__main__":
    main()
