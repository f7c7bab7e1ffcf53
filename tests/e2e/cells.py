"""Techniques times objectives: one cell is a whole road, killed, resumed, evaluated, and merged or loaded back."""

import json
import os
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from luthier import workflow
from luthier.core.errors import Interrupted, LuthierError
from luthier.core.progress import Silent
from luthier.core.run import Run
from luthier.recipe.load import parse_recipe

TECHNIQUES = {
    "LoRA": "{kind: lora, rank: 4}",
    "DoRA": "{kind: dora, rank: 4}",
    "QLoRA": "{kind: qlora, rank: 4}",
    "IA³": "ia3",
    "prompt": "{kind: prompt, tokens: 4}",
    "P-tuning": "{kind: ptuning, tokens: 4}",
    "prefix": "{kind: prefix, tokens: 4}",
    "full": "full",
    "frozen layers": "{kind: full, freeze_layers: 1}",
}
OBJECTIVES = {
    "SFT": ("conversation", "sft"),
    "pretraining": ("text", "pretrain"),
    "DPO": ("pair", "dpo"),
    "IPO": ("pair", "{kind: dpo, loss: ipo}"),
    "ORPO": ("pair", "orpo"),
    "SimPO": ("pair", "simpo"),
    "CPO": ("pair", "cpo"),
    "KTO": ("judged", "kto"),
    "reward": ("pair", "reward"),
    "classification": ("class", "classify"),
}
STEPS, STOP = 4, 2
ROWS = 48
WORDS = ("violin", "cello", "guitar", "lute", "harp", "viola", "bass", "mandolin")
KINDS = ("repair", "rental", "lesson")


@dataclass(frozen=True)
class Cell:
    """What came of one technique with one objective."""

    status: str
    """`merged`, `adapter` (loaded back as such), or `refused`."""
    words: str

    def __str__(self) -> str:
        return self.status if self.status != "refused" else f"refused: {self.words}"


class StopsAt(Silent):
    """Somebody who watches, and asks the process to end after a step of training."""

    stage = ""

    def start(self, stage: str, total: int, unit: str) -> None:
        self.stage = stage

    def update(self, done: int, note: str = "") -> None:
        if self.stage == "train" and done == STOP:
            os.kill(os.getpid(), signal.SIGTERM)


def rows_of(shape: str) -> list[dict[str, Any]]:
    """Return rows of a shape: true answers name the instrument asked about, false ones another."""
    found: list[dict[str, Any]] = []
    for i in range(ROWS):
        word, other, kind = WORDS[i % 8], WORDS[(i + 3) % 8], KINDS[i % 3]
        prompt, good = (
            f"Ticket {i}: may I ask about the {kind} of my {word}?",
            f"Yes, the {kind} of a {word}, case {i}.",
        )
        bad = f"No, a {other}."
        match shape:
            case "conversation":
                found.append({"prompt": prompt, "completion": good})
            case "text":
                found.append({"text": f"{prompt} {good} " * 3})
            case "pair":
                found.append({"prompt": prompt, "chosen": good, "rejected": bad})
            case "judged":
                found.append({"prompt": prompt, "completion": good if i % 2 else bad, "label": bool(i % 2)})
            case "class":
                found.append({"text": prompt, "label": kind})
    return found


def prepared(objective: str, model: Path, folder: Path) -> Path:
    """Return a run directory with the rows of an objective prepared and tokenised; cells copy it."""
    shape, _ = OBJECTIVES[objective]
    data = folder / f"{shape}.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows_of(shape)), encoding="utf-8")
    out = folder / f"prepared-{objective}"
    recipe, text = asked("LoRA", objective, model, data)
    workflow.tokens(recipe, workflow.begin(recipe, text, out))
    return out


def asked(technique: str, objective: str, model: Path, data: Path) -> tuple[Any, str]:
    text = (
        f"model: {model}\ndata: {{sources: ['{data}'], split: {{valid: 0.25}}}}\nevaluate: {{answers: 0}}\n"
        f"train: {{max_steps: {STEPS}, batch_size: 6, max_length: 128, learning_rate: 0.003, precision: fp32, "
        f"checkpoint_every: 1, evaluate_every: {STEPS}, technique: {TECHNIQUES[technique]}, "
        f"objective: {OBJECTIVES[objective][1]}}}\n"
    )
    return parse_recipe(text, file="recipe.yaml"), text


def cell(technique: str, objective: str, model: Path, start: Path, folder: Path) -> Cell:
    """Go the road twice, once with a stop in the middle; hold that both end in the same bits; evaluate; merge."""
    data = folder / f"{OBJECTIVES[objective][0]}.jsonl"
    try:
        recipe, text = asked(technique, objective, model, data)
    except LuthierError as refused:
        return Cell("refused", _reason(refused))
    runs = []
    for name, progress in (("whole", Silent()), ("broken", StopsAt())):
        out = folder / f"{technique}-{objective}-{name}".replace(" ", "-")
        shutil.copytree(start, out)
        run = workflow.begin(recipe, text, out)
        try:
            workflow.train(recipe, run, progress)
        except Interrupted:
            workflow.train(recipe, run, Silent())
        except LuthierError as refused:
            if run.events("step"):
                raise
            return Cell("refused", _reason(refused))
        runs.append(run)
    whole, broken = runs
    assert [event["step"] for event in broken.events("state") if event.get("state") == "interrupted"] == [STOP]
    assert weights(broken) == weights(whole), "resumed to other bits"
    assert losses(broken) == losses(whole)
    evaluated = workflow.evaluate(recipe, whole).data
    assert evaluated["verdict"] in ("better", "worse", "same", "undecided")
    try:
        certificate = workflow.merge(recipe, whole).data["certificate"]
    except LuthierError as refused:
        assert (whole / "model" / "adapter_config.json").is_file()
        return Cell("adapter", _reason(refused))
    assert certificate["status"] == "passed", certificate
    return Cell("merged", "")


def weights(run: Run) -> bytes:
    return b"".join(file.read_bytes() for file in sorted((run / "model").glob("*.safetensors")))


def losses(run: Run) -> list[tuple[int, float]]:
    return sorted((event["step"], event["loss"]) for kind in ("step", "eval") for event in run.events(kind))


def _reason(error: LuthierError) -> str:
    return error.problem.removeprefix("`train`: ")
