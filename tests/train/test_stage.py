"""Any architecture can be trained: packed where documents stay apart, padded where they would not."""

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from luthier import workflow
from luthier.core.errors import Interrupted
from luthier.core.progress import Silent
from luthier.core.run import Run
from luthier.recipe.load import parse_recipe
from luthier.recipe.schema import Recipe

ARCHITECTURES: dict[str, dict[str, Any]] = {
    "gemma2": {"head_dim": 16, "sliding_window": 16, "query_pre_attn_scalar": 16},
    "lfm2": {"layer_types": ["conv", "full_attention"], "block_multiple_of": 32},
    "mamba": {"state_size": 8},
}
WAYS = {"gemma2": "packed", "lfm2": "padded", "mamba": "padded"}


@pytest.fixture(scope="module", params=["gemma2", "lfm2", pytest.param("mamba", marks=pytest.mark.slow)])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def model(kind: str, tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a random model of an architecture with the tokenizer of another."""
    from transformers import AutoConfig, AutoModelForCausalLM

    folder = tmp_path_factory.mktemp(kind)
    config = AutoConfig.for_model(
        kind,
        **ARCHITECTURES[kind],
        vocab_size=json.loads((tiny_llama / "config.json").read_text())["vocab_size"],
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        bos_token_id=None,
        eos_token_id=2,
        pad_token_id=0,
    )
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(str(folder))
    for file in [*tiny_llama.glob("*token*"), *tiny_llama.glob("*.jinja")]:
        shutil.copy(file, folder)
    return folder


def recipe(data: Path, model: Path) -> tuple[Recipe, str]:
    text = (
        f"model: {model}\ndata: {{sources: ['{data}'], split: {{valid: 0.2}}}}\n"
        "train: {technique: {kind: full}, max_steps: 8, batch_size: 8, max_length: 128, learning_rate: 0.01}\n"
    )
    return parse_recipe(text, file="recipe.yaml"), text


def trained(asked: tuple[Recipe, str], out: Path, progress: Silent | None = None) -> Run:
    run = workflow.begin(*asked, out)
    workflow.train(asked[0], run, progress)
    return run


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


def told(run: Run) -> list[tuple[Any, ...]]:
    """Return what must repeat of a training: steps with their losses, and held-out losses."""
    return sorted((event["step"], event["loss"]) for kind in ("step", "eval") for event in run.events(kind))


def test_it_trains_says_how_rows_are_batched_and_resumes_to_the_same_losses(
    kind: str, model: Path, tickets: Path, tmp_path: Path
) -> None:
    asked = recipe(tickets, model)
    run = trained(asked, tmp_path / "whole")
    (batching,) = [event for event in run.events("stage") if "batching" in event]
    assert batching["batching"] == WAYS[kind]
    assert batching["reason"]
    losses = [event["loss"] for event in run.events("eval")]
    assert losses[-1] < losses[0]
    with pytest.raises(Interrupted):
        trained(asked, tmp_path / "broken", StopsAt(3))
    again = trained(asked, tmp_path / "broken")
    assert again.events("state")
    assert told(again) == told(run)


def test_its_answers_and_likelihoods_can_be_measured(kind: str, model: Path, tickets: Path, tmp_path: Path) -> None:
    asked = recipe(tickets, model)
    run = trained(asked, tmp_path / "run")
    report = workflow.evaluate(asked[0], run)
    assert report.data
