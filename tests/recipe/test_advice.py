"""Advice: told where a plan will be regretted, silent where it won't, and what it advises helps."""

from dataclasses import replace

import pytest

from luthier.core.hardware import Hardware
from luthier.core.report import Finding
from luthier.recipe.advice import advice, holding_back
from luthier.recipe.facts import ModelFacts, RowFacts
from luthier.recipe.plan import plan
from luthier.recipe.schema import Recipe

SMALL = ModelFacts(
    name="m",
    path="/m",
    architecture="LlamaForCausalLM",
    parameters=500_000_000,
    weight_bytes=1_000_000_000,
    dtype="BF16",
    hidden_size=1024,
    layers=16,
    intermediate_size=4096,
    vocabulary=32_000,
    context=4096,
    fingerprint="f",
)
MACHINE = Hardware(cores=2, memory_bytes=24 * 10**9, bf16=True, gpu=None, gpu_memory_bytes=0, system="Linux")
ROWS = RowFacts(train=2000, valid=200, mean_tokens=200.0, longest_tokens=900, fingerprint="r")


def told(
    model: ModelFacts = SMALL, rows: RowFacts = ROWS, machine: Hardware = MACHINE, valid: float = 0.1, **train: object
) -> list[Finding]:
    data = {"sources": ["a.csv"], "split": {"valid": valid}}
    recipe = Recipe.model_validate({"model": "m", "data": data, "train": train}, strict=False)
    return list(advice(recipe, plan(recipe, model, rows, machine), model, rows, machine))


def test_a_usual_recipe_is_left_alone() -> None:
    assert told() == []
    assert told(learning_rate=2e-4) == []
    assert told(technique={"kind": "full"}, learning_rate=2e-5) == []


@pytest.mark.parametrize(
    ("train", "says"),
    [
        ({"learning_rate": 0.1}, "times the usual"),
        ({"learning_rate": 1e-7}, "it may hardly learn"),
        ({"technique": {"kind": "full"}, "learning_rate": 1e-2}, "the model forget"),
        ({"evaluate_every": 10_000}, "at the end only"),
        ({"batch_size": 2000}, "a pass is one step"),
        ({"max_steps": 5}, "only 5 steps"),
    ],
)
def test_what_will_be_regretted_is_told(train: dict[str, object], says: str) -> None:
    (finding,) = told(**train)
    assert says in finding.text
    assert finding.hint


@pytest.mark.parametrize(
    ("rows", "train", "says"),
    [
        (replace(ROWS, train=300), {"epochs": 20}, "will be memorised"),
        (replace(ROWS, train=300), {"technique": {"kind": "full"}}, "forget much"),
    ],
)
def test_data_that_will_be_regretted_are_told(rows: RowFacts, train: dict[str, object], says: str) -> None:
    (finding,) = told(rows=rows, **train)
    assert says in finding.text


@pytest.mark.parametrize(("share", "says"), [(0.0, "above 0"), (0.1, "too few rows for `data.split.valid: 0.1`")])
def test_where_no_row_is_held_out_the_hint_knows_why(share: float, says: str) -> None:
    data = {"sources": ["a.csv"], "split": {"valid": share}}
    assert says in holding_back(Recipe.model_validate({"model": "m", "data": data}, strict=False))


@pytest.mark.parametrize("technique", ["lora", "full"])
@pytest.mark.parametrize("memory", [4, 5, 6, 8, 10])
def test_what_is_advised_for_a_full_memory_fits(technique: str, memory: int) -> None:
    machine = replace(MACHINE, memory_bytes=memory * 10**9)
    for finding in told(machine=machine, technique={"kind": technique}, gradient_checkpointing="off"):
        assert finding.text.endswith("are free")
        assert "would need about" in finding.hint or "smaller model" in finding.hint


def test_a_model_that_fits_no_way_needs_another_machine() -> None:
    huge = replace(SMALL, parameters=70_000_000_000, weight_bytes=140_000_000_000)
    (finding,) = told(huge)
    assert finding.hint == "take a smaller model, or a machine with more memory"


def test_sgd_has_no_usual_rate_to_compare_with() -> None:
    assert told(optimizer={"kind": "sgd"}, learning_rate=0.1) == []
