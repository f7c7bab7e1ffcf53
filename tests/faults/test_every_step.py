"""Going on from every step of a run: the next step gives the same weights, optimizer state and metrics, bit for bit.

Step k + 1 of a resumed process equals that of the uninterrupted one for every k, so all that follows does too.
"""

import os
import signal
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from luthier.core.errors import Interrupted
from luthier.core.example import Source
from luthier.core.progress import Silent
from luthier.core.run import Run
from luthier.model.load import load_model
from luthier.recipe.options import locate
from luthier.recipe.plan import Plan
from luthier.recipe.schema import Recipe
from luthier.tokens.render import Encoded
from luthier.train.loop import train
from luthier.train.parallel import World
from luthier.train.reference import Before
from luthier.train.work import HeldOut, Work

STEPS = 30

PLAN = Plan(
    technique="",
    learning_rate=5e-3,
    batch_size=4,
    epochs=0.0,
    steps=STEPS,
    warmup_steps=2,
    max_length=128,
    pack_tokens=128,
    precision="fp32",
    threads=1,
    checkpoint_every=1,
    evaluate_every=7,
    gradient_checkpointing=False,
    trainable_parameters=0,
    memory_bytes=0,
    reasons={},
)

KINDS: Mapping[str, dict[str, Any]] = {
    "packed": {"technique": {"kind": "lora", "dropout": 0.1}, "neftune": 5.0},
    "full": {"technique": {"kind": "full"}},
    "accumulated": {"technique": {"kind": "lora"}, "optimizer": {"kind": "adafactor"}},
    "dpo": {"technique": {"kind": "lora"}, "objective": {"kind": "dpo"}},
}

pytestmark = pytest.mark.slow


def rows(texts: int) -> list[Encoded]:
    """Return nine examples: an epoch of batches of four ends with one of one. The texts of one begin alike."""
    random = np.random.default_rng(0)
    made = []
    for i in range(9):
        prompt = random.integers(4, 250, int(random.integers(5, 15)))
        for _ in range(texts):
            ending = random.integers(4, 250, int(random.integers(5, 15)))
            learned = np.arange(len(prompt) + len(ending)) >= len(prompt)
            made.append(Encoded(np.concatenate([prompt, ending]).astype(np.int32), learned, Source("rows", i + 1)))
    return made


def job(kind: str, model: Path, out: Path) -> Work:
    asked = {"keep": "best", "checkpoints": STEPS, "early_stopping": {"patience": 99}, **KINDS[kind]}
    recipe = Recipe.model_validate({"model": "m", "data": {"sources": ["a"]}, "train": asked}, strict=False)
    technique, objective = recipe.train.technique, recipe.train.objective
    plan = replace(PLAN, pack_tokens=30) if kind == "accumulated" else PLAN
    run, base = Run(out), load_model(model)
    learned = locate(objective)(objective)
    examples = rows(learned.texts)
    bound = Before(base, run / "reference", "key", plan, World(), Silent()).bound(learned, examples, "train")
    adapted = locate(technique)(base, technique, base="m", seed=0)

    def measure(trained: Any) -> HeldOut:
        total = sum(parameter.double().abs().sum().item() for parameter in trained.parameters())
        return HeldOut(total % 1, 10)  # any function of the weights

    return Work(recipe, plan, run, "key", adapted, bound, examples, measure)


class OneStep(Silent):
    """Asks for an end after the first step of a process."""

    def __init__(self) -> None:
        self.told = 0

    def update(self, done: int, note: str = "") -> None:
        self.told += 1
        if self.told == 2:  # the first call tells where it starts
            os.kill(os.getpid(), signal.SIGTERM)


def told(run: Run, step: int) -> list[dict[str, Any]]:
    """Return what was told of a step, without what was measured of the machine."""
    measured = ("time", "seconds", "waited", "memory_bytes", "cores")
    events = [event for kind in ("step", "eval", "checkpoint") for event in run.events(kind) if event["step"] == step]
    return [{key: value for key, value in event.items() if key not in measured} for event in events]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_goes_on_from_each_of_its_steps_to_the_same_bits(kind: str, tiny_llama: Path, tmp_path: Path) -> None:
    whole = job(kind, tiny_llama, tmp_path / "whole")
    train(whole, Silent())
    checkpoints = tmp_path / "whole" / "checkpoints"
    same = 0
    for step in range(1, STEPS):
        name, following = f"step-{step:06d}", f"step-{step + 1:06d}"
        cut = replace(whole, run=Run(tmp_path / f"cut{step}"))
        (cut.run / "checkpoints").mkdir()
        (checkpoints / name).rename(cut.run / "checkpoints" / name)
        with torch.no_grad():
            for parameter in cut.adapted.trainable.values():
                parameter.fill_(7.0)
        with pytest.raises(Interrupted):
            train(cut, OneStep())
        assert contents(cut.run / "checkpoints" / following) == contents(checkpoints / following)
        assert told(cut.run, step + 1) == told(whole.run, step + 1)
        assert cut.run.events("warning") == []
        same += 1
    assert same == STEPS - 1
