"""Multiple-choice tasks: luthier's scorer beside `HFLM` of lm-evaluation-harness, same requests, same model.

    python benchmarks/evaluation.py [--model bundled|random|FOLDER …] [--items 100] [--note "what else ran"]

Items are made by this script of words of the bundled data, in the shapes of three tasks: HellaSwag (a context, four
endings), alone and with five others before it that are drawn anew for each, TruthfulQA mc2 (the same six questions with
answers before every question, five to nine choices) and MMLU with five shots (the same five before every question, four
letters). `random` is a Llama of 25M random weights with a vocabulary of 32k, read with the bundled tokenizer.

Each contestant runs in a process of its own, pinned to one processor, one thread, float32, taking turns. Time is
processor time of `loglikelihood`, from strings to answers, encoding included. `HFLM` is measured at several sizes of
batches, and luthier's times are told beside the fastest. Memory is what the process held at its peak above what it held
before, with the model loaded; in later rounds some of what it needs is held already, so the largest is told.
"""

import argparse
import contextlib
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
from importlib import metadata
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "RAYON_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_OFFLINE": "1",
}
CONTESTANTS = ("luthier", "HFLM 1", "HFLM 16")
TARGETS = {"HellaSwag": 3, "HellaSwag, 5 shots": 3, "TruthfulQA mc2": 8, "MMLU, 5 shots": 2}
"""How many times as fast as the fastest `HFLM` luthier is to be."""

Items = list[tuple[str, list[str]]]
"""Contexts with the choices that may follow each."""

# --- the items -------------------------------------------------------------------------------------------------------


def words() -> list[str]:
    from luthier.bundled import sample_paths

    return re.findall(r"[A-Za-z]+", sample_paths()[0].read_text(encoding="utf-8"))


def items_of(shape: str, count: int) -> Items:
    """Return items of one shape; lengths vary by a third around those of the task they are named after."""
    draw, known = random.Random(0), words()

    def say(length: int) -> str:
        return " ".join(draw.choices(known, k=max(2, round(length * draw.uniform(0.67, 1.33)))))

    if shape.startswith("HellaSwag"):
        shots = 5 if shape.endswith("shots") else 0
        befores = ("".join(f"{say(2)}: {say(40)} {say(18)}.\n\n" for _ in range(shots)) for _ in range(count))
        return [(f"{before}{say(2)}: {say(40)}", [f" {say(18)}." for _ in range(4)]) for before in befores]
    if shape == "TruthfulQA mc2":
        before = "\n\n".join(f"Q: {say(9)}?\nA: {say(14)}." for _ in range(6))
        asked = (f"{before}\n\nQ: {say(10)}?\nA:" for _ in range(count))
        return [(context, [f" {say(9)}." for _ in range(draw.randint(5, 9))]) for context in asked]
    questions = [f"{say(24)}\nA. {say(5)}\nB. {say(5)}\nC. {say(5)}\nD. {say(5)}\nAnswer:" for _ in range(count + 5)]
    before = "".join(f"{question} {draw.choice('ABCD')}\n\n" for question in questions[:5])
    return [(before + question, [" A", " B", " C", " D"]) for question in questions[5:]]


# --- the contestants -------------------------------------------------------------------------------------------------


def scorer(name: str, folder: Path) -> Any:
    import torch

    if name == "luthier":
        from luthier.evaluate.benchmarks.harness import Scorer
        from luthier.model.load import load_model, load_tokenizer

        return Scorer(load_model(folder, dtype=torch.float32), load_tokenizer(folder), capacity=4096)
    from lm_eval.models.huggingface import HFLM
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return HFLM(model, tokenizer=AutoTokenizer.from_pretrained(folder), batch_size=int(name.split()[1]))


def requests_of(items: Items) -> list[Any]:
    from lm_eval.api.instance import Instance

    pairs = [(context, choice) for context, choices in items for choice in choices]
    return [Instance("loglikelihood", {}, pair, 0, ("task", 0, 1)) for pair in pairs]


def compete(name: str, folder: Path, count: int) -> None:
    """Run one contestant here over all shapes each time a line comes in, and print what came out."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    model = scorer(name, folder)
    requests = {shape: requests_of(items_of(shape, count)) for shape in TARGETS}
    model.loglikelihood(requests["HellaSwag"][:8], disable_tqdm=True)  # first calls
    for _ in sys.stdin:
        found = {}
        for shape, own in requests.items():
            before = held("VmRSS:")
            Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
            began = time.process_time()
            answers = model.loglikelihood(own, disable_tqdm=True)
            seconds = time.process_time() - began
            found[shape] = {"seconds": seconds, "memory": held("VmHWM:") - before, "answers": answers}
        print("RESULT" + json.dumps(found), flush=True)


def held(name: str) -> int:
    """Return how much memory this process holds, or held at its peak, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) * 1024


def random_llama(folder: Path) -> None:
    """Write a Llama of 25M random weights, half of them a vocabulary of 32k, with the bundled tokenizer."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from luthier.bundled import model_path
    from luthier.model.load import load_tokenizer

    load_tokenizer(model_path()).save_pretrained(folder)
    torch.manual_seed(0)
    wide = {"vocab_size": 32_000, "hidden_size": 384, "intermediate_size": 1024, "tie_word_embeddings": True}
    deep = {"num_hidden_layers": 8, "num_attention_heads": 6, "num_key_value_heads": 2}
    LlamaForCausalLM(LlamaConfig(**wide, **deep, initializer_range=0.06)).save_pretrained(folder)


# --- one run ---------------------------------------------------------------------------------------------------------


def main() -> None:
    """Run all contestants in turns and write the result."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--model", dest="models", nargs="+", default=["bundled", "random"])
    ask.add_argument("--items", type=int, default=100)
    ask.add_argument("--rounds", type=int, default=3)
    ask.add_argument("--note", default="")
    ask.add_argument("--only", choices=CONTESTANTS, help=argparse.SUPPRESS)
    asked = ask.parse_args()
    if asked.only:
        compete(asked.only, Path(asked.models[0]), asked.items)
        return
    from luthier.model.facts import resolve

    measured = {}
    with tempfile.TemporaryDirectory() as scratch:
        for model in asked.models:
            if model == "random":
                random_llama(folder := Path(scratch) / "random")
            else:
                folder = resolve(model)
            name = model if model in ("bundled", "random") else "/".join(folder.parts[-2:])
            measured[name] = rounds(folder, asked)
    write(asked, measured)


def rounds(folder: Path, asked: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """Return what each contestant did with one model, round by round."""
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in CONTESTANTS}
    with contextlib.ExitStack() as open_ones:
        waiting = {}
        for name in CONTESTANTS:
            command = [sys.executable, __file__, "--only", name, "--model", str(folder), "--items", str(asked.items)]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
            process = subprocess.Popen(command, text=True, env=os.environ | ONE_THREAD, **pipes)
            waiting[name] = open_ones.enter_context(process)
        for number in range(asked.rounds):
            for name, process in waiting.items():
                process.stdin.write("your turn\n")
                process.stdin.flush()
                told = next((line for line in process.stdout if line.startswith("RESULT")), None)
                assert told, f"{name} ended"
                runs[name].append(json.loads(told.removeprefix("RESULT")))
                spent = ", ".join(f"{shape} {own['seconds']:.2f}" for shape, own in runs[name][-1].items())
                print(f"round {number + 1}: {name}: {spent}", file=sys.stderr, flush=True)
        for process in waiting.values():
            process.stdin.close()
    return runs


def right(answers: list[Any], items: Items) -> list[int]:
    """Return which choice of each item is the likeliest."""
    each = iter(answers)
    likely = [[next(each)[0] for _ in choices] for _, choices in items]
    return [max(range(len(own)), key=own.__getitem__) for own in likely]


def summed_up(runs: dict[str, list[dict[str, Any]]], shape: str, count: int) -> dict[str, Any]:
    """Return the medians of one shape, and how far answers are from those of `HFLM` an item at a time."""
    items = items_of(shape, count)
    wanted = runs["HFLM 1"][0][shape]["answers"]
    mine = runs["luthier"][0][shape]["answers"]
    seconds = {name: [run[shape]["seconds"] for run in own] for name, own in runs.items()}
    median = {name: statistics.median(own) for name, own in seconds.items()}
    fastest = min((name for name in median if name != "luthier"), key=median.__getitem__)
    return {
        "items": count,
        "continuations": len(wanted),
        "contestants": {
            name: {
                "seconds": median[name],
                "lowest": min(seconds[name]),
                "highest": max(seconds[name]),
                "memory_bytes": max(run[shape]["memory"] for run in own),
            }
            for name, own in runs.items()
        },
        "fastest_hflm": fastest,
        "times_as_fast": median[fastest] / median["luthier"],
        "target": TARGETS[shape],
        "largest_difference": max(abs(one[0] - other[0]) for one, other in zip(mine, wanted, strict=True)),
        "other_greedy_flags": sum(one[1] != other[1] for one, other in zip(mine, wanted, strict=True)),
        "other_choices": sum(one != other for one, other in zip(right(mine, items), right(wanted, items), strict=True)),
    }


def write(asked: argparse.Namespace, measured: dict[str, dict[str, list[dict[str, Any]]]]) -> None:
    """Write what was measured as JSON and Markdown, and stop where an answer differs."""
    now = datetime.datetime.now(datetime.UTC)
    about = {
        "date": now.isoformat(timespec="minutes"),
        "machine": f"{platform.machine()}, {os.cpu_count()} processors, one used; Python {platform.python_version()}",
        "versions": {name: metadata.version(name) for name in ("luthier", "lm_eval", "torch", "transformers")},
        "items": asked.items,
        "rounds": asked.rounds,
        "note": asked.note,
    }
    found = {
        model: {shape: summed_up(runs, shape, asked.items) for shape in TARGETS} for model, runs in measured.items()
    }
    stem = HERE / "results" / now.strftime("%Y-%m-%d-%H%M-evaluation")
    stem.with_suffix(".json").write_text(json.dumps(about | {"models": found}, indent=1) + "\n", "utf-8")
    lines = ["# Multiple-choice tasks: luthier beside lm-evaluation-harness", ""]
    lines += [f"- {name}: {value}" for name, value in about.items() if value]
    for model, shapes in found.items():
        lines += [
            "",
            f"## {model}",
            "",
            "| | continuations | CPU seconds (lowest, highest), peak memory | luthier is | target | largest difference "
            "| other choices |",
            "| --- | ---: | --- | ---: | ---: | ---: | ---: |",
        ]
        for shape, own in shapes.items():
            each = "<br>".join(
                f"{name}: {one['seconds']:.2f} ({one['lowest']:.2f}, {one['highest']:.2f}), "
                f"{one['memory_bytes'] / 1e6:,.0f} MB"
                for name, one in own["contestants"].items()
            )
            lines.append(
                f"| {shape} | {own['continuations']:,} | {each} | {own['times_as_fast']:.1f}x {own['fastest_hflm']} "
                f"| {own['target']}x | {own['largest_difference']:.1e} | {own['other_choices']} |"
            )
    stem.with_suffix(".md").write_text("\n".join(lines) + "\n", "utf-8")
    print("\n".join(lines))
    for shapes in found.values():
        assert all(own["other_choices"] == 0 for own in shapes.values()), "another choice is the likeliest"


if __name__ == "__main__":
    main()
