"""What a DeepSpeed configuration becomes, and what of it is refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from luthier.core.errors import RecipeError
from luthier.recipe.deepspeed import Accepted, accepted
from luthier.recipe.methods import DeepSpeed
from luthier.recipe.schema import Recipe

# As Transformers' documentation gives it for stage 3, everything left to the trainer.
USUAL = {
    "bf16": {"enabled": "auto"},
    "fp16": {"enabled": "auto", "loss_scale": 0},
    "optimizer": {"type": "AdamW", "params": {"lr": "auto", "betas": "auto", "eps": "auto", "weight_decay": "auto"}},
    "scheduler": {"type": "WarmupDecayLR", "params": {"warmup_num_steps": "auto"}},
    "zero_optimization": {
        "stage": 3,
        "offload_optimizer": {"device": "none", "pin_memory": True},
        "offload_param": {"device": "none", "pin_memory": True},
        "overlap_comm": True,
        "stage3_gather_16bit_weights_on_model_save": True,
    },
    "gradient_accumulation_steps": "auto",
    "gradient_clipping": "auto",
    "steps_per_print": 2000,
    "train_batch_size": "auto",
    "train_micro_batch_size_per_gpu": "auto",
}


def read(tmp_path: Path, config: Any, **train: Any) -> Accepted:
    path = tmp_path / "ds.json"
    path.write_text(config if isinstance(config, str) else json.dumps(config), encoding="utf-8")
    recipe = Recipe.model_validate({"model": "m", "data": {"sources": ["a"]}, "train": train}, strict=False)
    return accepted(DeepSpeed(config=str(path)), recipe.train)


def test_the_usual_file_is_done_and_says_what_had_no_meaning(tmp_path: Path) -> None:
    found = read(tmp_path, USUAL, schedule={"kind": "linear"})
    assert found.way.kind == "fsdp2"
    assert set(found.ignored) > {"steps_per_print", "zero_optimization.overlap_comm", "train_micro_batch_size_per_gpu"}
    assert not {"bf16", "optimizer", "zero_optimization.stage"} & set(found.ignored)


@pytest.mark.parametrize(("asked", "other"), [("bf16", "fp16"), ("fp16", "bf16"), ("fp16", "auto")])
def test_half_precision_is_the_recipes(tmp_path: Path, asked: str, other: str) -> None:
    config = {asked: {"enabled": True}}
    assert read(tmp_path, config, precision=asked).way.kind == "ddp"
    with pytest.raises(RecipeError, match=f"`{asked}.enabled` is true, and the recipe says {other}"):
        read(tmp_path, config, precision=other)
    with pytest.raises(RecipeError, match=f"`{asked}.enabled` is false"):
        read(tmp_path, {asked: {"enabled": False}}, precision=asked)


@pytest.mark.parametrize(("stage", "way"), [(0, "ddp"), (1, "ddp"), (2, "ddp"), (3, "fsdp2")])
def test_each_stage_has_its_way_and_says_what_it_costs(tmp_path: Path, stage: int, way: str) -> None:
    found = read(tmp_path, {"zero_optimization": {"stage": stage}})
    assert found.way.kind == way
    assert ("stays whole" in found.reason or "stay whole" in found.reason) == (stage in (1, 2))


def test_values_that_are_the_recipes_are_fine(tmp_path: Path) -> None:
    config = {"train_batch_size": 16, "gradient_clipping": 0.5, "bf16": {"enabled": True}}
    assert read(tmp_path, config, batch_size=16, clip=0.5, precision="bf16").way.kind == "ddp"


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({"train_batch_size": 16}, "`train_batch_size` is 16, and the recipe says something else or nothing"),
        ({"gradient_clipping": 0.3}, "`gradient_clipping` is 0.3"),
        ({"optimizer": {"type": "AdamW", "params": {"lr": 1e-4}}}, "`optimizer` is"),
        ({"optimizer": {"type": "Lion"}}, "`optimizer` is"),
        ({"scheduler": {"type": "WarmupLR"}}, "`scheduler` is"),
        ({"fp16": {"enabled": True}}, "`fp16.enabled` is true, and the recipe says fp32"),
        ({"bf16": {"enabled": True}}, "`bf16.enabled` is true, and the recipe says fp32"),
        ({"zero_optimization": {"stage": 4}}, "`zero_optimization.stage` is 4"),
        ({"zero_optimization": {"stage": 2, "offload_optimizer": {"device": "cpu"}}}, "offload_optimizer` asks for"),
        ({"zero_optimization": {"stage": 3, "zero_quantized_weights": True}}, "zero_quantized_weights` asks for"),
        ({"compression_training": {}}, "`compression_training` asks for"),
        ({"zero_optimization": 2}, "`zero_optimization` should be an object, got 2"),
        ("{", "this is no JSON"),
        ("[]", "this is not one JSON object"),
    ],
)
def test_what_would_be_another_training_is_refused(tmp_path: Path, config: Any, problem: str) -> None:
    with pytest.raises(RecipeError) as caught:
        read(tmp_path, config, precision="fp32")
    assert problem in caught.value.problem
    assert caught.value.place == str(tmp_path / "ds.json")


def test_stage_3_is_refused_where_weights_are_needed_whole(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="`optimizer: adafactor` looks at whole weights"):
        read(tmp_path, {"zero_optimization": {"stage": 3}}, optimizer={"kind": "adafactor"})


def test_a_file_that_is_not_there_is_named() -> None:
    recipe = Recipe.model_validate({"model": "m", "data": {"sources": ["a"]}}, strict=False)
    with pytest.raises(RecipeError, match=r"nowhere\.json"):
        accepted(DeepSpeed(config="nowhere.json"), recipe.train)
