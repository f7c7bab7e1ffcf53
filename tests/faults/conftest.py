"""One small training that is killed in many ways, and what it must end with."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from luthier.core.run import Run
from warm import Warm

KINDS = {
    "packed": (),
    "full": ("--set", "train.technique=full"),
    "dpo": ("--set", "train.objective=dpo"),
}
"""Trainings, and what their command lines say besides."""

SETTINGS = {
    "train.max_steps": 6,
    "train.batch_size": 4,
    "train.checkpoint_every": 2,
    "train.evaluate_every": 3,
    "train.max_length": 256,
    "train.keep": "best",
    "train.checkpoints": 1,  # so that two are removed on the way
}

BEFORE_TRAINING = "manifest.json renamed:3"
"""The place where `prepare`, `tokens` and `plan` are done."""


class Trial:
    """A training of one kind, from nothing or from where its rows are tokenised."""

    def __init__(self, warm: Warm, kind: str, data: Path, model: Path, home: Path) -> None:
        self.warm, self.home = warm, home
        sets = [part for key, value in SETTINGS.items() for part in ("--set", f"{key}={value}")]
        self.command = ["train", "--data", data, "--model", model, "-q", "--json", *sets, *KINDS[kind]]
        self.tokenised = home / "tokenised"
        assert self.run(self.tokenised, failpoint=BEFORE_TRAINING) == -9, warm.errors
        self.whole = home / "whole"
        self.places = self._places(self.whole)
        self.places_in_training = self._places(self.fresh("recorded"))

    def run(self, out: Path, **how: Any) -> int:
        return self.warm.luthier(*self.command, "--out", out, **how)

    def fresh(self, name: str) -> Path:
        """Return a copy of the run as it stands before training."""
        shutil.copytree(self.tokenised, self.home / name)
        return self.home / name

    def _places(self, out: Path) -> list[str]:
        """Train without a kill, and return `name:n` of every place that was passed."""
        record = self.home / f"{out.name}.places"
        assert self.run(out, failpoint=f"record:{record}") == 0, self.warm.errors
        passed = record.read_text(encoding="utf-8").splitlines()
        return [f"{name}:{passed[: at + 1].count(name)}" for at, name in enumerate(passed)]

    def same(self, out: Path) -> None:
        """Assert that a run ended as the one that nobody killed."""
        assert result(out) == result(self.whole)
        assert Run(out).events("warning") == []
        assert not list(out.rglob("*.tmp"))
        assert not list(out.rglob("*.old"))
        # One killed between the last checkpoint and the removal of the one before may keep both.
        assert folders(out / "checkpoints") >= folders(self.whole / "checkpoints")


def result(out: Path) -> tuple[object, ...]:
    """Return the hash of the trained weights and everything that was told of their training."""
    (weights,) = (out / "model").glob("*.safetensors")
    run = Run(out)
    steps = [(e["step"], e["loss"], e["grad_norm"], e["learning_rate"], e["tokens"]) for e in run.events("step")]
    evals = [(e["step"], e["loss"]) for e in run.events("eval")]
    saves = [event["step"] for event in run.events("checkpoint")]
    return hashlib.sha256(weights.read_bytes()).hexdigest(), steps, evals, saves


def folders(home: Path) -> set[str]:
    return {path.name for path in home.iterdir()}


@pytest.fixture(scope="session")
def trial(warm: Warm, tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Trial]:
    made: dict[str, Trial] = {}

    def make(kind: str) -> Trial:
        if kind not in made:
            home = tmp_path_factory.mktemp(kind)
            data = home / "tickets.jsonl"
            worse = {"rejected": "Ask somebody else."} if kind == "dpo" else {}
            rows = (
                {
                    "prompt": f"What about peg number {i}?",
                    "chosen" if worse else "answer": f"Peg {i} needs {i * 3} turns.",
                }
                for i in range(40)
            )
            data.write_text("".join(json.dumps(row | worse) + "\n" for row in rows), encoding="utf-8")
            made[kind] = Trial(warm, kind, data, tiny_llama, home)
        return made[kind]

    return make
