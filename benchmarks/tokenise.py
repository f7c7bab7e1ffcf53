"""Conversations to token ids and labels: luthier's tokens stage beside TRL's preparation, same labels.

    python benchmarks/tokenise.py --tokenizer FOLDER [--data FILE] [--rows 30000] [--note "what else ran"]

Every run is pinned to one processor; contestants take turns. Time is processor time, children included, from
loaded tokenizer to all labels on disk (luthier) or in Arrow tables (TRL). Rows are repeated, with a number in each, to
reach `--rows`. Memory is what the process holds at its peak, above what it held before it began.
"""

import argparse
import datetime
import hashlib
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "RAYON_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_OFFLINE": "1",
}

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message.role + '\n' }}"
    "{% if message.role == 'assistant' %}{% generation %}{{ message.content + '<|im_end|>' }}{% endgeneration %}"
    "{% else %}{{ message.content + '<|im_end|>' }}{% endif %}{{ '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

HERE = Path(__file__).parent


class Meter:
    """Processor time with children, wall time and peak memory of what stands below `with`."""

    def __enter__(self) -> "Meter":
        self.held, self.began, self.start = _held(), time.perf_counter(), _processor()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = _processor() - self.start
        self.wall = time.perf_counter() - self.began
        self.memory = _peak() - self.held


def _processor() -> float:
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) * 1024


def _held() -> int:
    return _status("VmRSS:")


def _peak() -> int:
    return _status("VmHWM:")


def luthier(case: Path, tokenizer: Any, again: bool = False) -> tuple[Meter, str, int]:
    from luthier.core.progress import Silent
    from luthier.tokens.encode import Limits, encode
    from luthier.tokens.render import Renderer

    renderer = Renderer(tokenizer)
    with Meter() as meter:
        rows = encode(
            case / "rows.jsonl", case / "tokens", renderer, Limits(2048), key="bench", processes=1, progress=Silent()
        )
    if again:
        return meter, "", rows.total("tokens")
    return meter, _digest((row.input_ids, row.learned) for row in rows), rows.total("tokens")


def trl(case: Path, tokenizer: Any, again: bool = False) -> tuple[Meter, str, int]:  # noqa: ARG001
    """TRL's own preparation, with the assistant's tokens as labels."""
    import numpy as np
    from datasets import load_dataset
    from transformers import AutoConfig, AutoModelForCausalLM
    from trl import SFTConfig, SFTTrainer

    meters = []

    class Watched(SFTTrainer):
        def _prepare_dataset(self, *args: Any, **options: Any) -> Any:
            with Meter() as meter:
                prepared = super()._prepare_dataset(*args, **options)
            meters.append(meter)
            return prepared

    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1}
    config = AutoConfig.for_model(
        "llama", vocab_size=len(tokenizer) + 64, num_attention_heads=1, num_key_value_heads=1, **sizes
    )
    dataset = load_dataset("json", data_files=str(case / "rows.jsonl"), split="train", cache_dir=str(case / "cache"))
    options = {"max_length": 2048, "assistant_only_loss": True, "use_cpu": True, "bf16": False, "report_to": []}
    trainer = Watched(
        model=AutoModelForCausalLM.from_config(config),
        args=SFTConfig(str(case / "trl"), **options),
        train_dataset=dataset.select_columns(["messages"]),
        processing_class=tokenizer,
    )
    rows = trainer.train_dataset

    def learned(row: Any) -> Any:
        if "labels" in row:
            return np.array(row["labels"]) != -100
        return np.array(row["assistant_masks"], dtype=bool)

    pairs = ((np.array(row["input_ids"], dtype=np.int32), learned(row)) for row in rows)
    return meters[0], _digest(pairs), sum(len(ids) for ids in rows["input_ids"])


def _digest(rows: Any) -> str:
    found = hashlib.sha256()
    for ids, learned in rows:
        found.update(ids.astype("<i4").tobytes() + learned.astype("u1").tobytes())
    return found.hexdigest()[:16]


CONTESTANTS: dict[str, Callable[..., tuple[Meter, str, int]]] = {"luthier": luthier, "TRL": trl}


def one(name: str, case: Path, folder: Path, *, again: bool) -> None:
    # One processor for all of a contestant's processes: two that share a core would make each other's time longer.
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = CHATML
    if tokenizer.eos_token is None or "<|im_end|>" in tokenizer.get_vocab():
        tokenizer.eos_token = "<|im_end|>"
    meter, digest, tokens = CONTESTANTS[name](case, tokenizer, again)
    told = {"seconds": meter.seconds, "wall": meter.wall, "memory": meter.memory, "labels": digest, "tokens": tokens}
    print("RESULT" + json.dumps(told))


def run(name: str, case: Path, folder: Path, *, again: bool = False) -> dict[str, Any]:
    command = [sys.executable, __file__, "--one", name, "--case", str(case), "--tokenizer", str(folder)]
    done = subprocess.run(
        command + ["--again"] * again, capture_output=True, text=True, check=False, env=os.environ | ONE_THREAD
    )
    if "RESULT" not in done.stdout:
        sys.exit(done.stderr[-3000:])
    return dict(json.loads(done.stdout.rpartition("RESULT")[2]))


def make_case(folder: Path, data: str | None, rows: int) -> None:
    from luthier.bundled import sample_paths
    from luthier.data.prepare import prepare
    from luthier.recipe.data import Data, Split

    sources = (data,) if data else tuple(map(str, sample_paths()))
    prepare(Data(sources=sources, split=Split(valid=0.0)), folder / "data")
    lines = [json.loads(line) for line in (folder / "data" / "train.jsonl").read_text().splitlines()]
    with (folder / "rows.jsonl").open("w") as out:
        for number in range(rows):
            row = json.loads(json.dumps(lines[number % len(lines)]))
            if number >= len(lines):
                row["messages"][0]["content"] += f" ({number})"
            out.write(json.dumps({"messages": row["messages"], "source": row["source"]}) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--data")
    parser.add_argument("--rows", type=int, default=30_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--note", default="", help="what else the machine did, for the record")
    parser.add_argument("--one", choices=CONTESTANTS)
    parser.add_argument("--case", type=Path)
    parser.add_argument("--again", action="store_true")
    options = parser.parse_args()
    if options.one:
        one(options.one, options.case, options.tokenizer, again=options.again)
        return
    names = [name for name in CONTESTANTS if name != "TRL" or find_spec("trl")]
    with tempfile.TemporaryDirectory() as scratch:
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
        for number in range(options.rounds):
            for name in names:
                case = Path(scratch) / f"{name}-{number}"
                make_case(case, options.data, options.rows)
                found[name].append(run(name, case, options.tokenizer))
        again = run("luthier", Path(scratch) / "luthier-0", options.tokenizer, again=True)
        large = Path(scratch) / "large"
        make_case(large, options.data, 4 * options.rows)
        memory = run("luthier", large, options.tokenizer)["memory"]
    tell(options, found, again, memory)


def tell(options: argparse.Namespace, found: dict[str, Any], again: dict[str, Any], memory: int) -> None:
    from luthier.core.files import write_json, write_text

    median = {name: statistics.median(run["seconds"] for run in runs) for name, runs in found.items()}
    lines = [
        "# Tokenising: luthier beside TRL",
        "",
        f"{options.rows:,} conversations, {found['luthier'][0]['tokens']:,} tokens, one processor, medians of "
        f"{options.rounds} interleaved runs. {options.note}",
        "",
        "| | processor time, s | rows/s | times luthier's | labels | peak memory above start, MB |",
        "| --- | ---: | ---: | ---: | --- | ---: |",
    ]
    for name, runs in found.items():
        held = statistics.median(run["memory"] for run in runs) / 1e6
        ratio = median[name] / median["luthier"]
        labels = {run["labels"] for run in runs}
        lines.append(
            f"| {name} | {median[name]:.2f} | {options.rows / median[name]:,.0f} | {ratio:.2f} | "
            f"{', '.join(sorted(labels))} | {held:.0f} |"
        )
    lines += [
        "",
        f"Four times the rows: {memory / 1e6:.0f} MB above start in luthier.",
        f"Second start, everything in the cache: {again['wall']:.3f} s.",
        "",
    ]
    stamp = f"{datetime.datetime.now():%Y-%m-%d-%H%M}"
    packages = ("tokenizers", "transformers", "tiktoken", "trl", "datasets")
    about = {
        "machine": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in packages if find_spec(name)},
        "note": options.note,
    }
    (HERE / "results").mkdir(exist_ok=True)
    name = f"{stamp}-tokenise-{options.tokenizer.name}"
    record = {"about": about, "runs": found, "again": again, "memory_4x": memory}
    write_json(HERE / "results" / f"{name}.json", record)
    write_text(HERE / "results" / f"{name}.md", "\n".join(lines))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
