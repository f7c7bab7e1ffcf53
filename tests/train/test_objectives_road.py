"""Every objective goes the whole road: train, stop, resume to the same bits, evaluate, merge."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from luthier import workflow
from luthier.core.errors import DataError, Interrupted
from luthier.core.progress import Silent
from luthier.core.run import Run
from luthier.recipe.load import parse_recipe
from luthier.recipe.schema import Recipe

pytestmark = pytest.mark.slow

STEPS = 8
PLACES = ["the hall", "the shop", "the cellar", "the loft", "the yard"]

WAYS = {
    "dpo": "objective: dpo",
    "dpo-full": "objective: {kind: dpo, loss: ipo, beta: 0.5}, technique: full, learning_rate: 0.001",
    "orpo": "objective: orpo",
    "simpo": "objective: simpo, precision: bf16",
    "cpo": "objective: {kind: cpo, label_smoothing: 0.1}",
    "kto": "objective: kto, technique: {kind: lora, dropout: 0.1}",
    "kto-apo": "objective: {kind: kto, loss: apo_zero_unpaired}, learning_rate: 0.003",
    "pretrain": "objective: {kind: pretrain, label_smoothing: 0.1}",
}


def rows(way: str) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    for i in range(40):
        prompt, better, worse = f"Where is peg {i}?", f"Peg {i} is in {PLACES[i % 5]}.", f"I lost it {i * 7} days ago."
        if way == "pretrain":
            made.append({"text": f"{prompt} {better} " * 3})
        elif way.startswith("kto"):
            made.append({"prompt": prompt, "completion": better if i % 2 else worse, "label": bool(i % 2)})
        else:
            made.append({"prompt": prompt, "chosen": better, "rejected": worse})
    return made


class StopsAt(Silent):
    """Somebody who watches, and asks the process to end after a step."""

    def __init__(self, step: int) -> None:
        self.step = step
        self.stage = ""

    def start(self, stage: str, total: int, unit: str) -> None:
        self.stage = stage

    def update(self, done: int, note: str = "") -> None:
        if self.stage == "train" and done == self.step:
            os.kill(os.getpid(), signal.SIGTERM)


def recipe(way: str, folder: Path, model: Path) -> tuple[Recipe, str]:
    data = folder / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows(way)), encoding="utf-8")
    options = {"learning_rate": "0.01", "precision": "fp32"}
    told = "".join(f"{key}: {value}, " for key, value in options.items() if f"{key}:" not in WAYS[way])
    text = (
        f"model: {model}\ndata: {{sources: ['{data}'], split: {{valid: 0.3}}}}\nevaluate: {{samples: 1, answers: 2}}\n"
        f"train: {{max_steps: {STEPS}, batch_size: 8, max_length: 128, {told}{WAYS[way]}}}\n"
    )
    return parse_recipe(text, file="recipe.yaml"), text


def trained(asked: tuple[Recipe, str], out: Path, progress: Silent | None = None) -> Run:
    run = workflow.begin(*asked, out)
    workflow.train(asked[0], run, progress)
    return run


def told(run: Run) -> list[dict[str, Any]]:
    """Return what must repeat of a training: losses and figures of its steps and measurements."""
    differ = {"time", "seconds", "waited", "memory_bytes", "cores"}
    events = [*run.events("step"), *run.events("eval")]
    return [{key: value for key, value in event.items() if key not in differ} for event in events]


def weights(run: Run) -> bytes:
    (file,) = (run / "model").glob("*.safetensors")
    return file.read_bytes()


@pytest.mark.parametrize("way", WAYS)
def test_it_learns_resumes_to_the_same_bits_is_evaluated_and_merged(way: str, tiny_llama: Path, tmp_path: Path) -> None:
    asked = recipe(way, tmp_path, tiny_llama)
    run = trained(asked, tmp_path / "whole")
    measured = run.events("eval")
    assert measured[-1]["loss"] < measured[0]["loss"]
    if way != "pretrain":
        assert measured[-1]["margin"] > measured[0]["margin"]
    if way.startswith(("dpo", "kto")):
        assert measured[0]["margin"] == pytest.approx(0, abs=1e-4)  # it is what it was before training
    with pytest.raises(Interrupted):
        trained(asked, tmp_path / "broken", StopsAt(3))
    broken = trained(asked, tmp_path / "broken")
    assert weights(broken) == weights(run)
    assert told(broken) == told(run)
    assert not broken.events("warning")

    report = workflow.evaluate(asked[0], run).data
    assert report["nll"]["tuned"]["value"] < report["nll"]["base"]["value"] or way.startswith(("dpo", "simpo", "kto"))
    certificate = workflow.merge(asked[0], run).data["certificate"]
    assert certificate["status"] == "passed"


def test_held_out_answers_of_which_none_is_good_are_refused_before_training(tiny_llama: Path, tmp_path: Path) -> None:
    data = tmp_path / "rows.jsonl"
    made = [{"prompt": f"Where is peg {i}?", "completion": f"Here, {i}.", "label": i == 0} for i in range(20)]
    data.write_text("".join(json.dumps(row) + "\n" for row in made), encoding="utf-8")
    text = f"model: {tiny_llama}\ndata: {{sources: ['{data}']}}\ntrain: {{objective: kto, max_steps: 2}}\n"
    with pytest.raises(DataError, match="is a good one, so base and tuned model could not be compared"):
        trained((parse_recipe(text, file="recipe.yaml"), text), tmp_path / "run")
