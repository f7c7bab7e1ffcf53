"""Rows that stand in the training data are counted, and the result is told without them."""

import numpy as np

from luthier.evaluate.contamination import Judged, told
from luthier.evaluate.likelihood import RowNll
from luthier.evaluate.stats import paired

TOKENS = np.full(40, 10)
BASE = RowNll(np.linspace(15, 25, 40), TOKENS)


def judged(kinds: list[str], tuned: np.ndarray) -> tuple[Judged, RowNll]:
    return Judged("held-out rows", kinds, (BASE, RowNll(tuned, TOKENS))), RowNll(tuned, TOKENS)


def test_a_gain_of_learned_rows_alone_is_no_gain_without_them() -> None:
    kinds = ["row"] * 20 + [""] * 20
    random = np.random.default_rng(0)
    own, tuned = judged(kinds, BASE.nll_R + np.repeat([-5.0, 0.0], 20) + random.normal(0, 1, 40))
    found = told([own], paired(BASE.nll_R, tuned.nll_R, TOKENS))
    entry = found.data["contamination"][0]
    assert (entry["row"], entry["rows"], entry["share"]["value"]) == (20, 40, 0.5)
    assert entry["without"]["change"]["n"] == 20
    assert entry["without"]["verdict"] == "undecided"
    (finding,) = found.findings
    assert (finding.level, found.values["contaminated"].value) == ("warning", 0.5)
    assert "20 of 40 rows" in finding.text
    assert "without them the result is “undecided”" in finding.text


def test_rows_that_only_share_a_run_of_words_are_a_note_and_none_are_silence() -> None:
    own, tuned = judged([""] * 39 + ["words"], BASE.nll_R - 1)
    (finding,) = told([own], paired(BASE.nll_R, tuned.nll_R, TOKENS)).findings
    assert finding.level == "note"
    clean, _ = judged([""] * 40, BASE.nll_R)
    assert told([clean], paired(BASE.nll_R, tuned.nll_R, TOKENS)).findings == ()


def test_where_every_row_was_learned_nothing_is_left_to_compare() -> None:
    own, tuned = judged(["prompt"] * 40, BASE.nll_R - 1)
    entry = told([own], paired(BASE.nll_R, tuned.nll_R, TOKENS)).data["contamination"][0]
    assert entry["without"] == {"change": None, "verdict": None}
