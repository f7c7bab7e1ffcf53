"""Does luthier learn what TRL learns? Held-out loss beside TRL's, same rows, same settings, several seeds, one plot.

    OMP_NUM_THREADS=1 python benchmarks/learning.py --model FOLDER --data FILE [--technique full] [--seeds 3]

Both get the token ids and masks luthier made, and the same steps, rate and batch. Each draws its own order and adapter
weights, so curves agree within the spread of seeds and not to the digit. Held-out losses of both are taken by one
function outside of both: plain Transformers, padded, nats per learned token.
"""

import argparse
import contextlib
import datetime
import math
import os
import statistics
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

os.environ |= {"OMP_NUM_THREADS": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForCausalLM, TrainerCallback

from luthier import workflow
from luthier.core.files import write_json, write_text
from luthier.core.hardware import hardware
from luthier.core.html import to_html
from luthier.core.progress import Silent
from luthier.core.report import Curve, Report, Section, Table
from luthier.core.run import Run
from luthier.model.facts import facts
from luthier.model.load import load_model, load_tokenizer
from luthier.recipe.facts import RowFacts
from luthier.recipe.load import parse_recipe
from luthier.recipe.methods import Full, Lora
from luthier.recipe.options import locate
from luthier.recipe.plan import plan
from luthier.recipe.schema import Recipe
from luthier.tokens.render import Encoded
from luthier.tokens.stage import open_tokens
from luthier.train.loop import train
from luthier.train.work import HeldOut, Work

IGNORED = -100
HELD_OUT = 200
"""Rows the loss is taken on."""

Points = list[tuple[float, float]]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--fields", default="", help="columns luthier can't know: {prompt: text, answer: category}")
    parser.add_argument("--technique", choices=("lora", "full"), default="lora")
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--batch", type=int, default=8)
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        recipe, learned, held_out = rows(asked, Path(folder))
        curves = {
            name: [who(asked, recipe, learned, held_out, seed, Path(folder)) for seed in range(asked.seeds)]
            for name, who in CONTESTANTS.items()
        }
    write(asked, curves, len(learned), len(held_out))


def rows(asked: argparse.Namespace, folder: Path) -> tuple[Recipe, Sequence[Encoded], Sequence[Encoded]]:
    """Return the recipe and what both learn from and are measured on, as luthier prepares it."""
    fields = f", fields: {asked.fields}" if asked.fields else ""
    text = (
        f"model: {asked.model}\ndata: {{sources: ['{asked.data}']{fields}}}\n"
        f"train: {{technique: {asked.technique}, max_steps: {asked.steps}, batch_size: {asked.batch}, "
        f"learning_rate: {asked.rate}, max_length: 512, schedule: {{kind: constant, warmup_steps: 0}}, "
        "precision: fp32}\n"
    )
    recipe = parse_recipe(text, file="recipe.yaml")
    run = workflow.begin(recipe, text, folder / "rows")
    workflow.tokens(recipe, run)
    return recipe, open_tokens(run / "tokens", "train"), open_tokens(run / "tokens", "valid")[:HELD_OUT]


def luthier(
    asked: argparse.Namespace,
    recipe: Recipe,
    learned: Sequence[Encoded],
    held_out: Sequence[Encoded],
    seed: int,
    folder: Path,
) -> Points:
    """Train with luthier's own loop."""
    recipe = recipe.model_copy(update={"train": recipe.train.model_copy(update={"seed": seed})})
    technique = recipe.train.technique
    planned = plan(recipe, facts(asked.model), RowFacts(len(learned), 0, 0.0, 0, ""), hardware())
    planned = planned.__class__.from_dict(planned.as_dict() | {"evaluate_every": every(asked.steps)})
    base = Path(asked.model)
    adapted = locate(technique)(load_model(base, dtype=torch.float32), technique, base=asked.model, seed=seed)
    other = plain(asked.model)
    points: Points = []

    def measure(_: Any) -> HeldOut:
        merge_into(other, adapted, asked)
        points.append((len(points) * every(asked.steps)["value"], loss(other, held_out)))
        return HeldOut(points[-1][1], 1)

    objective = locate(recipe.train.objective)(recipe.train.objective)
    run = Run(folder / f"luthier-{seed}")
    train(Work(recipe, planned, run, "", adapted, objective, learned, measure), Silent())
    return points


def merge_into(model: Any, adapted: Any, asked: argparse.Namespace) -> None:
    """Put what luthier has learned so far into a model of Transformers, through the files it writes."""
    from peft import PeftModel

    from luthier.model.weights import save_tensors

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_tensors(adapted.trainable, folder / adapted.weight_file)
        adapted.describe(folder)
        if asked.technique == "full":
            model.load_state_dict(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).state_dict())
            return
        tuned = PeftModel.from_pretrained(plain(asked.model), folder).merge_and_unload()
        model.load_state_dict(tuned.state_dict())


def trl(
    asked: argparse.Namespace,
    _recipe: Recipe,
    learned: Sequence[Encoded],
    held_out: Sequence[Encoded],
    seed: int,
    folder: Path,
) -> Points:
    """Train with TRL's SFTTrainer on the same ids and masks."""
    from datasets import Dataset
    from peft import LoraConfig, get_peft_model
    from trl import SFTConfig, SFTTrainer

    points: Points = []
    model = plain(asked.model)
    torch.manual_seed(seed)
    if asked.technique == "lora":
        defaults = Lora()
        config = LoraConfig(
            task_type="CAUSAL_LM", r=defaults.rank, lora_alpha=2 * defaults.rank, target_modules="all-linear"
        )
        model = get_peft_model(model, config)

    class Measured(TrainerCallback):  # type: ignore[misc]
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            points.append((0, loss(model, held_out)))

        def on_step_end(self, _args: Any, state: Any, *_: Any, **__: Any) -> None:
            if state.global_step % every(asked.steps)["value"] == 0:
                points.append((state.global_step, loss(model, held_out)))
                model.train()

    settings = SFTConfig(
        str(folder / f"trl-{seed}"),
        max_steps=asked.steps,
        per_device_train_batch_size=asked.batch,
        learning_rate=asked.rate,
        lr_scheduler_type="constant",
        weight_decay=0.0,
        max_grad_norm=1.0,
        bf16=False,
        max_length=None,
        seed=seed,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
        gradient_checkpointing=False,
    )
    data = Dataset.from_list([{"input_ids": row.input_ids.tolist(), "labels": labels(row).tolist()} for row in learned])
    with contextlib.redirect_stdout(None):
        trainer = SFTTrainer(
            model, args=settings, train_dataset=data, processing_class=load_tokenizer(Path(asked.model))
        )
        trainer.add_callback(Measured())
        trainer.train()
    return points


CONTESTANTS: dict[str, Callable[..., Points]] = {"luthier": luthier, "TRL": trl}


def every(steps: int) -> dict[str, Any]:
    """Return how often the loss is taken, as an entry of a plan."""
    return {"value": max(1, steps // 10), "reason": "ten times a run"}


def plain(path: str) -> Any:
    return AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, attn_implementation="sdpa")


def labels(row: Encoded) -> torch.Tensor:
    return torch.from_numpy(row.input_ids).long().masked_fill(~torch.from_numpy(row.learned), IGNORED)


@torch.inference_mode()
def loss(model: Any, held_out: Sequence[Encoded]) -> float:
    """Return nats per learned token, by a padded forward pass of Transformers."""
    model.eval()
    nll, count = 0.0, 0
    for start in range(0, len(held_out), 16):
        batch = held_out[start : start + 16]
        ids = pad_sequence([torch.from_numpy(row.input_ids).long() for row in batch], batch_first=True)
        wanted = pad_sequence([labels(row) for row in batch], batch_first=True, padding_value=IGNORED)
        mask = pad_sequence([torch.ones(row.length, dtype=torch.long) for row in batch], batch_first=True)
        logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, :-1]
        nll += torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), wanted[:, 1:].flatten(), ignore_index=IGNORED, reduction="sum"
        ).item()
        count += int((wanted[:, 1:] != IGNORED).sum())
    return nll / count


def write(asked: argparse.Namespace, curves: dict[str, list[Points]], learned: int, held_out: int) -> None:
    """Write figures, table and plot."""
    date = f"{datetime.datetime.now(tz=datetime.UTC):%Y-%m-%d %H%M}"
    data = Path(asked.data)
    title = f"{Path(asked.model).name}-{data.parent.name}-{asked.technique}"
    lines, seeds = [], range(asked.seeds)
    for step, _ in curves["luthier"][0]:
        values = {name: [dict(runs[seed])[step] for seed in seeds] for name, runs in curves.items()}
        means = {name: statistics.mean(found) for name, found in values.items()}
        spread = max(statistics.stdev(found) if asked.seeds > 1 else math.nan for found in values.values())
        apart = means["luthier"] - means["TRL"]
        shown = (f"{means['luthier']:.4f}", f"{means['TRL']:.4f}", f"{apart:+.4f}", f"{spread:.4f}")
        lines.append((f"{step:.0f}", *shown))
    drawn = tuple((f"{name} {seed}", tuple(runs[seed])) for name, runs in curves.items() for seed in seeds)
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("torch", "transformers", "peft", "trl"))
    technique = Full() if asked.technique == "full" else Lora()
    about = (
        f"{learned:,} rows of {data.parent.name}, {held_out} held out; {type(technique).__name__}, "
        f"batch {asked.batch}, AdamW, constant rate {asked.rate:g}, fp32; {versions}"
    )
    columns = ("step", "luthier, mean", "TRL, mean", "difference", "larger deviation of seeds")
    report = Report(
        title=f"Learning beside TRL, {date}",
        summary=about,
        data={},
        sections=(
            Section(
                "Held-out loss",
                (Curve("Held-out loss", "step", "nats per learned token", drawn), Table("", columns, tuple(lines))),
            ),
        ),
    )
    path = Path(__file__).parent / "results" / f"{date.replace(' ', '-')}-learning-{title}"
    write_text(path.with_suffix(".html"), to_html(report))
    command = " ".join(
        [
            "OMP_NUM_THREADS=1 python benchmarks/learning.py",
            *(Path(word).name if "/" in word else word for word in sys.argv[1:]),
        ]
    )
    write_json(path.with_suffix(".json"), {"date": date, "about": about, "command": command, "curves": curves})
    table = "\n".join(f"| {' | '.join(line)} |" for line in (columns, ("---",) * len(columns), *lines))
    write_text(path.with_suffix(".md"), f"# Learning beside TRL, {date}\n\n{about}\n\n`{command}`\n\n{table}\n")
    print(table)


if __name__ == "__main__":
    main()
