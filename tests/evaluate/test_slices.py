"""Slices tell where a model got better or worse, and what the whole hides."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from luthier.core.example import Example, Message, Source
from luthier.evaluate.answers import score
from luthier.evaluate.likelihood import RowNll
from luthier.evaluate.metrics.metric import Expected
from luthier.evaluate.slices import compared, missing, report, slices
from luthier.evaluate.stats import FEWEST, paired


def row(number: int, text: str = "How are you?", answer: str = "well", file: str = "a.jsonl", **tags: str) -> Example:
    return Example((Message("user", text), Message("assistant", answer)), Source(file, number + 1), tags)


def test_rows_are_parted_by_length_class_file_tag_and_language() -> None:
    rows = [
        row(n, "x" * n, ("yes", "no")[n % 2], ("a.csv", "b.csv")[n % 2], channel=("mail", "chat")[n % 2])
        for n in range(40)
    ]
    found = slices(rows, "auto", lambda one: "de" if one.source.line % 2 else "en")
    assert [*dict.fromkeys(part.by for part in found)] == ["language", "length", "class", "file", "channel"]
    lengths = [part.name for part in found if part.by == "length"]
    assert lengths == ["0 to 9 characters", "10 to 19 characters", "20 to 29 characters", "30 characters and more"]
    assert all(len(part.places) == 10 for part in found if part.by == "length")
    assert {part.name for part in found if part.by == "class"} == {"yes", "no"}


def test_only_the_kinds_that_are_asked_for_are_told() -> None:
    rows = [row(n, "x" * n, channel=("mail", "chat")[n % 2]) for n in range(40)]
    assert {part.by for part in slices(rows, ("channel",), None)} == {"channel"}
    assert slices(rows, (), None) == []


def test_a_tag_that_no_row_has_is_told() -> None:
    rows = [row(n, channel="mail") for n in range(40)]
    asked = ("chanel", "channel", "length")
    of_tag, of_one_part, of_length = missing(rows, asked, slices(rows, asked, None))
    assert "`chanel`, a tag that no row has" in of_tag.text
    assert of_tag.hint == "name one of language, length, class, file, channel"
    assert "`channel`, by which these rows have fewer than two parts" in of_one_part.text
    assert "`length`" in of_length.text
    assert missing(rows, "auto", []) == []


def test_without_likelihood_answers_are_still_compared_within_slices() -> None:
    rows, *_ = hidden()
    answered = score([Expected("yes")] * 120, ["no"] * 120, ["yes" if n < 90 else "no" for n in range(120)], ())
    lines = compared(slices(rows, ("channel",), None), None, answered, range(120))
    assert {line.part.name: line.metrics[0].verdict for line in lines} == {"mail": "better", "chat": "undecided"}
    told = report(lines, None, (), "conversation", untold="an endpoint tells none")
    assert told.data["slices"][0]["perplexity"] is None
    assert any("an endpoint tells none" in getattr(block, "text", "") for block in told.sections[0].blocks)


def test_groups_too_small_for_a_verdict_are_one() -> None:
    rows = [row(n, channel="mail" if n < 20 else f"door {n}") for n in range(32)]
    found = slices(rows, ("channel",), None)
    assert [(part.name, len(part.places)) for part in found] == [("mail", 20), ("12 others", 12)]


@given(st.lists(st.sampled_from("abcdefghijkl"), min_size=1, max_size=120))
def test_the_slices_of_a_kind_hold_every_row_once(groups: list[str]) -> None:
    found = slices([row(n, tag=group) for n, group in enumerate(groups)], ("tag",), None)
    places = np.concatenate([part.places for part in found]) if found else np.arange(len(groups))
    assert sorted(places.tolist()) == [*range(len(groups))]
    assert len(found) != 1


def hidden() -> tuple[list[Example], RowNll, RowNll]:
    """Return 90 rows that get better and 30 that get worse; all together are better."""
    random = np.random.default_rng(0)
    rows = [row(n, f"{n} {'x' * (n % 7)}", channel="mail" if n < 90 else "chat") for n in range(120)]
    tokens = np.full(120, 10)
    base = 20 + random.normal(0, 1, 120)
    tuned = base + np.where(np.arange(120) < 90, -4, 3) + random.normal(0, 1, 120)
    return rows, RowNll(base, tokens), RowNll(tuned, tokens)


def test_a_slice_that_is_worse_is_told_though_the_whole_is_better() -> None:
    rows, base, tuned = hidden()
    lines = compared(slices(rows, ("channel",), None), (base, tuned), None, ())
    assert {line.part.name: line.verdict for line in lines} == {"mail": "better", "chat": "worse"}
    whole = paired(base.nll_R, tuned.nll_R, base.tokens_R).verdict
    assert whole == "better"
    told = report(lines, whole, (), "conversation")
    (finding,) = told.findings
    assert finding.level == "warning"
    assert "channel: chat (30 conversations) by perplexity" in finding.text
    entry = next(entry for entry in told.data["slices"] if entry["name"] == "chat")
    assert entry["rows"] == entry["perplexity"]["change"]["n"] == 30
    assert report(lines, "worse", (), "conversation").findings == ()


def test_answers_are_compared_within_slices_too() -> None:
    rows, base, tuned = hidden()
    right = ["yes"] * 120
    answers = ["yes" if n < 90 else "no" for n in range(120)]
    answered = score([Expected("yes")] * 120, ["no"] * 90 + ["yes"] * 30, answers, ())
    assert answered is not None
    assert right != answers
    lines = compared(slices(rows, ("channel",), None), (base, tuned), answered, range(120))
    by_name = {line.part.name: line.metrics[0] for line in lines}
    assert (by_name["mail"].verdict, by_name["chat"].verdict) == ("better", "worse")
    assert (by_name["chat"].base.value, by_name["chat"].tuned.value) == (1, 0)


@pytest.mark.parametrize("seed", range(3))
def test_of_many_slices_without_a_change_none_is_called_worse_by_chance(seed: int) -> None:
    random = np.random.default_rng(seed)
    rows = [row(n, channel=f"{n % 8}") for n in range(240)]
    tokens, base = np.full(240, 10), random.normal(20, 1, 240)
    lines = compared(
        slices(rows, ("channel",), None),
        (RowNll(base, tokens), RowNll(base + random.normal(0, 1, 240), tokens)),
        None,
        (),
    )
    assert len(lines) == 8
    assert all(line.verdict not in ("better", "worse") for line in lines)
    assert all(line.rows >= FEWEST for line in lines)
