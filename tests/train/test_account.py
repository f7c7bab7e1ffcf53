"""What the events of a training show to a person, and where."""

from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from test_loop import PLAN, work

from luthier.core.errors import Interrupted
from luthier.core.html import to_html
from luthier.core.progress import Silent
from luthier.core.report import Block, Comparison, Curve, Report, Table
from luthier.recipe.schema import Recipe
from luthier.train.account import sections, smoothed
from luthier.train.loop import train
from luthier.train.report import LivePage
from luthier.train.work import HeldOut

RECIPE = Recipe.model_validate({"model": "m", "data": {"sources": ["a"]}}, strict=False)


def step(number: int, loss: float, **more: Any) -> dict[str, Any]:
    fixed = {"learning_rate": 1e-3, "grad_norm": 1.0, "tokens": 100, "supervised_tokens": 50, "seconds": 0.5}
    return {"time": 1e9 + number, "kind": "step", "step": number, "loss": loss, **fixed, **more}


def held_out(number: int, loss: float, **more: Any) -> dict[str, Any]:
    return {"time": 1e9 + number, "kind": "eval", "step": number, "loss": loss, "tokens": 10, **more}


def blocks(events: Sequence[dict[str, Any]], title: str) -> tuple[Block, ...]:
    found = {section.title: section.blocks for section in sections(events, RECIPE, PLAN)}
    return found.get(title, ())


def curves(events: Sequence[dict[str, Any]], title: str) -> dict[str, Curve]:
    return {block.title: block for block in blocks(events, title) if isinstance(block, Curve)}


def test_the_loss_curve_has_training_held_out_and_the_best() -> None:
    events = [held_out(0, 4.0), step(1, 3.0), step(2, 2.0), held_out(2, 2.5), step(3, 1.5), held_out(3, 2.75)]
    lines = dict(curves(events, "Loss")["Loss"].lines)
    assert lines["training"] == ((1.0, 3.0), (2.0, 2.0), (3.0, 1.5))
    assert lines["held out"] == ((0.0, 4.0), (2.0, 2.5), (3.0, 2.75))
    assert lines["best"] == ((2.0, 2.5),)


def test_the_table_of_measurements_tells_the_mean_loss_of_the_steps_since_the_last_one() -> None:
    events = [held_out(0, 4.0), step(1, 3.0), step(2, 2.0), held_out(2, 2.5)]
    table = next(block for block in blocks(events, "Loss") if isinstance(block, Table))
    assert table.rows == (("0.00", "0", "–", "4.0000", "–"), ("1.00", "2", "2.5000", "2.5000", "1.00e-03"))


def test_a_smoothed_line_starts_at_the_first_value_and_keeps_a_constant() -> None:
    assert smoothed(((1.0, 5.0), (2.0, 5.0), (3.0, 5.0))) == tuple((float(x), pytest.approx(5.0)) for x in (1, 2, 3))
    # By hand: (0.9 * 0.1 * 1 + 0.1 * 3) / (1 - 0.81) = 39 / 19.
    assert smoothed(((1.0, 1.0), (2.0, 3.0)))[1][1] == pytest.approx(39 / 19)


def test_whatever_an_objective_tells_beside_its_loss_gets_a_curve() -> None:
    events = [step(1, 0.7, reward_margin=0.1), step(2, 0.6, reward_margin=0.4), held_out(2, 0.6, accuracy=0.75)]
    found = curves(events, "How it went")
    assert found["Reward margin"].lines == (("training", ((1.0, 0.1), (2.0, 0.4))),)
    assert found["Accuracy"].lines == (("held out", ((2.0, 0.75),)),)
    assert {"Learning rate", "Gradient"} <= found.keys()


def test_speed_and_memory_are_drawn_in_the_units_they_are_told_in() -> None:
    events = [step(1, 1.0, memory_bytes=2_000_000_000, cores=1.5)]
    found = curves(events, "Resources")
    assert found["Speed"].lines[0][1] == ((1.0, 200.0),)
    assert found["Memory"].lines[0][1] == ((1.0, 2.0),)


def test_the_checkpoint_with_the_lowest_held_out_loss_is_marked() -> None:
    saved = [{"time": 1e9, "kind": "checkpoint", "step": n, "path": f"checkpoints/step-{n}"} for n in (2, 4)]
    (table,) = blocks([step(1, 1.0), held_out(2, 0.5), held_out(4, 0.75), *saved], "Checkpoints")
    assert isinstance(table, Table)
    assert [(row[0], row[2], row[4]) for row in table.rows] == [("2", "0.5000", "lowest"), ("4", "0.7500", "")]


def test_what_happened_is_told_in_order() -> None:
    events = [
        {"time": 1e9, "kind": "stage", "stage": "train", "state": "began"},
        {"time": 1e9, "kind": "state", "stage": "train", "state": "interrupted", "step": 3, "signal": "SIGTERM"},
        {"time": 1e9, "kind": "state", "stage": "prepare", "state": "done"},
        {"time": 1e9, "kind": "warning", "text": "the disk is slow", "step": 4},
    ]
    (table,) = blocks(events, "What happened")
    assert isinstance(table, Table)
    assert [row[1:] for row in table.rows] == [
        ("–", "training began"),
        ("3", "training interrupted by SIGTERM"),
        ("4", "warning: the disk is slow"),
    ]


def test_of_many_answers_to_a_prompt_the_first_and_the_newest_are_shown() -> None:
    events = [{"time": 1e9, "kind": "sample", "step": n, "prompt": "Why?", "answer": f"answer {n}"} for n in range(6)]
    (shown,) = blocks(events, "Samples")
    assert isinstance(shown, Comparison)
    assert [text for _, text in shown.answers] == ["answer 0", "answer 3", "answer 4", "answer 5"]


class Tags(HTMLParser):
    """Holds that every element that was opened is closed, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_a_page_is_there_while_a_training_runs_and_says_where_it_stands(tiny_llama: Path, tmp_path: Path) -> None:
    job = replace(
        work(tiny_llama, tmp_path, replace(PLAN, steps=6, evaluate_every=2, checkpoint_every=4)),
        measure=lambda _model: HeldOut(1.5, 10, {"accuracy": 0.5}),
    )
    pages: list[str] = []
    page = LivePage(job)
    job.run.listeners += [
        page,
        lambda event: pages.append((tmp_path / "train/report.html").read_text()) if event["kind"] == "eval" else None,
        lambda event: "stop" if event.get("step") == 5 else None,
    ]
    with pytest.raises(Interrupted):
        train(job, Silent())
    assert "step 0 of 6" in pages[0]
    last = (tmp_path / "train/report.html").read_text()
    assert "step 5 of 6" in last
    assert "training interrupted by a callback" in last
    tags = Tags()
    tags.feed(last)
    assert tags.open == []
    assert [section.title for section in page.report().sections] == [
        "Loss",
        "How it went",
        "Resources",
        "Checkpoints",
        "What happened",
        "Configuration",
    ]


def test_ten_thousand_steps_make_a_page_of_less_than_a_megabyte() -> None:
    events = [step(n, 3.0 + 1 / n, memory_bytes=10**9, cores=1.0) for n in range(1, 10_001)]
    page = to_html(Report("Training", "", {}, sections(events, RECIPE, PLAN)))
    assert len(page) < 1_000_000


def test_a_training_that_told_nothing_yet_has_its_configuration_only() -> None:
    assert [section.title for section in sections([], RECIPE, PLAN)] == ["Configuration"]


def test_what_a_rollback_undid_is_in_no_curve_or_table() -> None:
    def saved(number: int) -> dict[str, Any]:
        return {"time": 1e9, "kind": "checkpoint", "step": number, "path": f"checkpoints/step-{number}"}

    undone = [step(3, 9.0), held_out(4, 0.25), saved(4), {"time": 1e9, "kind": "rollback", "step": 2, "rate": 0.3}]
    events = [step(1, 3.0), step(2, 2.0), held_out(2, 2.5), saved(2), *undone, step(3, 1.5), held_out(4, 2.0)]
    lines = dict(curves(events, "Loss")["Loss"].lines)
    assert lines["training"] == ((1.0, 3.0), (2.0, 2.0), (3.0, 1.5))
    assert lines["held out"] == ((2.0, 2.5), (4.0, 2.0))
    measured = next(block for block in blocks(events, "Loss") if isinstance(block, Table))
    assert [row[2] for row in measured.rows] == ["2.5000", "1.5000"]
    (checkpoints,) = blocks(events, "Checkpoints")
    assert isinstance(checkpoints, Table)
    assert [row[0] for row in checkpoints.rows] == ["2"]
    (happened,) = blocks(events, "What happened")
    assert isinstance(happened, Table)
    assert "went back" in happened.rows[0][2]
