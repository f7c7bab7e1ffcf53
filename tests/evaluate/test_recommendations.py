"""What is recommended can be typed: each command names the run and is quoted, and the recipe takes its values."""

import shlex
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from luthier.core.report import Finding, Number, Paragraph, Setting
from luthier.evaluate.account import LESS, Metric, held_back, of_repetition, ratio_told
from luthier.evaluate.advice import Again, next_steps, recommendations
from luthier.recipe.load import load_recipe

RUN = Path("my runs/it's a run")
NOW = {
    "data.sources": ("a.csv", "b, c.csv"),
    "data.split.valid": 0.1,
    "data.decontaminate.against": (),
    "train.learning_rate": 1e-4,
    "train.epochs": 3.0,
    "train.max_steps": 8,
}
AGAIN = Again(RUN, NOW)


def values(command: str) -> list[str]:
    words = shlex.split(command)
    return [word for before, word in pairwise(words) if before == "--set"]


@pytest.mark.parametrize(
    ("setting", "read", "wanted"),
    [
        (Setting("data.split.valid", times=2.5), lambda it: it.data.split.valid, 0.25),
        (Setting("data.split.valid", times=40), lambda it: it.data.split.valid, 0.5),
        (Setting("data.sources", also="MORE.jsonl"), lambda it: it.data.sources, ("a.csv", "b, c.csv", "MORE.jsonl")),
        (Setting("data.decontaminate.against", also="t.csv"), lambda it: it.data.decontaminate.against, ("t.csv",)),
        (Setting("train.learning_rate", times=0.5), lambda it: it.train.learning_rate, 5e-5),
        (Setting("train.epochs", times=2), lambda it: (it.train.epochs, it.train.max_steps), (6, None)),
    ],
)
def test_a_training_is_done_again_with_a_value_the_recipe_takes(setting, read, wanted, tmp_path: Path) -> None:
    command = AGAIN.command(setting)
    assert shlex.split(command)[:3] == ["luthier", "run", f"{RUN}/recipe.yaml"]
    assert shlex.split(command)[-2:] == ["--out", f"{RUN}-2"]
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("model: tiny\ndata: {sources: [a.csv]}\ntrain: {max_steps: 8}\n")
    assert read(load_recipe(recipe, values(command))) == wanted


def test_what_only_changes_how_is_measured_needs_no_second_training() -> None:
    words = shlex.split(AGAIN.command(Setting("evaluate.max_new_tokens", "256")))
    assert words[:4] == ["luthier", "evaluate", "--model", str(RUN)]
    assert words[words.index("--data") + 1] == f"{RUN}/data/valid.jsonl"


def test_of_models_that_were_there_only_what_can_be_typed_is_told() -> None:
    assert Again().command(Setting("evaluate.answers", "400")) == "--set evaluate.answers=400"
    assert [Again().command(setting) for setting in (*LESS, *held_back(2))] == ["", "", ""]


def test_half_of_the_rows_is_the_most_that_is_held_back() -> None:
    assert Again(RUN, {"data.split.valid": 0.5}).command(*held_back(3)) == ""


def told(said: list[Finding], verdict, again: Again = AGAIN) -> str:
    blocks = recommendations(said, again, verdict).blocks
    return "\n".join(block.text for block in blocks if isinstance(block, Paragraph))


def test_a_better_model_is_merged_and_exported_unless_a_gate_says_no() -> None:
    found = told([], "better")
    assert f"luthier merge {shlex.quote(str(RUN))}" in found
    assert f"luthier export {shlex.quote(str(RUN))} --to gguf" in found
    refused = [Finding("gate", "lost", "train less", LESS)]
    assert "export" not in told(refused, "better")
    assert next_steps(refused, AGAIN, "better")[0].startswith("luthier run ")
    assert next_steps([], AGAIN, "better")[0].startswith("luthier export ")
    assert next_steps([], Again(), "better") == ()


def test_each_recommendation_stands_once_with_each_way_to_do_it() -> None:
    said = [Finding("warning", "worse", "train less", LESS), Finding("warning", "forgets", "train less", LESS)]
    lines = told(said, "worse").split("\n")
    assert lines[0] == "1. Train less."
    assert [values(line.strip("`"))[0] for line in lines[1:]] == ["train.learning_rate=5.0e-05", "train.epochs=1.5"]
    assert told([], "same").startswith("None")


def test_answers_that_repeat_themselves_or_end_less_often_are_told() -> None:
    much, little = Number(0.6, 50, 0.46, 0.72), Number(0.1, 50, 0.04, 0.21)
    repeats = Metric("repetition", "repeats", little, much, percent=True, verdict="worse")
    ended = Metric("answers_ended", "ended", much, little, percent=True)
    assert [len([*of_repetition([one])]) for one in (repeats, ended)] == [1, 1]
    assert not [*of_repetition([replace(repeats, verdict="undecided"), replace(ended, base=little, tuned=much)])]


def test_a_fall_beyond_a_hundredfold_is_told_as_times_not_as_percents_that_look_alike() -> None:
    assert ratio_told(Number(0.0001, 66, 0.00008, 0.000125)) == "10,000 times lower (8,000 to 12,500)"
    assert ratio_told(Number(0.009, 66, 0.008, 0.011)).startswith("−99.10 % (")
