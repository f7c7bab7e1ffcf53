"""Reward models and classifiers go the whole road: train, stop, resume to the same bits, evaluate, merge, be read."""

import json
import os
import signal
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

from luthier import workflow
from luthier.core.errors import Interrupted, LuthierError
from luthier.core.progress import Silent
from luthier.core.run import Run
from luthier.recipe.load import parse_recipe
from luthier.recipe.schema import Recipe
from luthier.tokens.stage import open_tokens

TOPICS = {
    "bow": ("The violin buzzes when I play.", "The low string buzzes."),
    "case": ("Keep the guitar in its case.", "Dry air cracks the top."),
    "price": ("A new bridge costs twenty euros.", "Fitting it takes an hour."),
}
OBJECTIVES = {
    "reward": "{kind: reward, center: 0.01}",
    "classify": "{kind: classify, weights: balanced, label_smoothing: 0.1}",
}
TECHNIQUES = {
    "lora": "{kind: lora, rank: 4, dropout: 0.1}",
    "dora": "{kind: lora, rank: 4, dora: true}",
    "full": "full",
}
STEPS = 20


class StopsAt(Silent):
    """Somebody who watches, and asks the process to end after a step."""

    stage = ""

    def start(self, stage: str, total: int, unit: str) -> None:
        self.stage = stage

    def update(self, done: int, note: str = "") -> None:
        if self.stage == "train" and done == 7:
            os.kill(os.getpid(), signal.SIGTERM)


def rows(objective: str) -> list[dict[str, str]]:
    if objective == "classify":
        return [
            {"text": f"{text} Number {place}.", "label": label}
            for place in range(14)
            for label, texts in TOPICS.items()
            for text in texts
        ]
    return [
        {"prompt": f"Ticket {place}?", "chosen": f"Thank you. {good} Case {place}.", "rejected": f"No. {bad} {place}."}
        for place in range(28)
        for good, bad in TOPICS.values()
    ]


def recipe(objective: str, technique: str, data: Path, model: Path) -> tuple[Recipe, str]:
    data.write_text("".join(json.dumps(row) + "\n" for row in rows(objective)))
    text = (
        f"name: heads\nmodel: {model}\ndata: {{sources: ['{data}'], split: {{valid: 0.25}}}}\n"
        f"train: {{objective: {OBJECTIVES[objective]}, technique: {TECHNIQUES[technique]}, max_steps: {STEPS}, "
        "batch_size: 16, max_length: 128, learning_rate: 0.02, precision: fp32, evaluate_every: 12}\n"
    )
    return parse_recipe(text, file="recipe.yaml"), text


def weights(run: Run) -> bytes:
    (file,) = (run / "model").glob("*.safetensors")
    return file.read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("objective", "technique"),
    [("reward", "dora"), ("classify", "lora"), ("classify", "full")],
)
def test_a_head_goes_the_whole_road(objective: str, technique: str, tiny_llama: Path, tmp_path: Path) -> None:
    asked = recipe(objective, technique, tmp_path / "rows.jsonl", tiny_llama)
    run = workflow.begin(*asked, tmp_path / "run")
    report = workflow.run_all(asked[0], run).data
    events = run.events("eval")
    assert events[-1]["loss"] < events[0]["loss"]
    assert events[-1]["accuracy"] > events[0]["accuracy"]
    assert report["merge"]["certificate"]["status"] == "passed"
    assert report["merge"]["certificate"]["top1_agreement"] == 1.0
    assert report["evaluate"]["verdict"] == "better"
    (accuracy,) = (metric for metric in report["evaluate"]["metrics"] if metric["name"] == "accuracy")
    assert accuracy["value"] == pytest.approx(events[-1]["accuracy"])
    assert accuracy["low"] > accuracy["base"]["value"]
    assert (run / "report.html").is_file()

    again = workflow.begin(*asked, tmp_path / "again")
    with pytest.raises(Interrupted):
        workflow.train(asked[0], again, StopsAt())
    workflow.train(asked[0], again)
    assert weights(again) == weights(run)

    read_by_others(run, tiny_llama)


def read_by_others(run: Run, base: Path) -> None:
    """Check that plain Transformers and PEFT score the held-out texts alike from `model` and `merged`."""
    valid = open_tokens(run / "tokens", "valid")
    texts = [valid[place].input_ids for place in range(6)]
    config = AutoConfig.from_pretrained(run / "model")
    if (run / "model/adapter_config.json").is_file():
        plain = AutoModelForSequenceClassification.from_pretrained(base, config=config)
        trained = PeftModel.from_pretrained(plain, str(run / "model")).eval()
    else:
        trained = AutoModelForSequenceClassification.from_pretrained(run / "model").eval()
    merged = AutoModelForSequenceClassification.from_pretrained(run / "merged").eval()
    tokenizer = AutoTokenizer.from_pretrained(run / "merged")
    assert tokenizer.pad_token_id == merged.config.pad_token_id
    batch = tokenizer.pad({"input_ids": [text.tolist() for text in texts]}, return_tensors="pt")
    with torch.inference_mode():
        one_by_one = torch.cat([trained(input_ids=torch.tensor([text.tolist()])).logits for text in texts])
        together = merged(**batch).logits
    assert one_by_one.std() > 1e-2
    assert (one_by_one - together).abs().max() < 1e-4
    if valid.classes:
        assert tuple(merged.config.id2label.values()) == valid.classes == tuple(TOPICS)


def test_a_head_is_kept_beside_an_adapter_under_pefts_name(tiny_llama: Path, tmp_path: Path) -> None:
    asked = recipe("classify", "lora", tmp_path / "rows.jsonl", tiny_llama)
    short = asked[0].model_copy(update={"train": asked[0].train.model_copy(update={"max_steps": 1})})
    run = workflow.begin(short, asked[1], tmp_path / "run")
    assert "of them learned" not in str(workflow.train(short, run).sections)  # a class is none
    stored = load_file(run / "model/adapter_model.safetensors")
    assert stored["base_model.model.score.weight"].shape == (3, 64)
    about = json.loads((run / "model/config.json").read_text())
    assert about["architectures"] == ["LlamaForSequenceClassification"]
    with pytest.raises(LuthierError, match="scores texts"):
        workflow.export(short, run, [])


def test_a_file_for_llama_cpp_is_refused_before_anything_is_done() -> None:
    with pytest.raises(LuthierError, match="a GGUF file can't"):
        parse_recipe(
            "model: bundled\ndata: {sources: [bundled]}\ntrain: {objective: classify}\nexport: [{to: gguf}]\n",
            file="recipe.yaml",
        )


def test_virtual_tokens_before_a_head_are_refused() -> None:
    with pytest.raises(LuthierError, match="can't learn the head"):
        parse_recipe(
            "model: bundled\ndata: {sources: [bundled]}\ntrain: {objective: reward, technique: prompt}\n",
            file="recipe.yaml",
        )
