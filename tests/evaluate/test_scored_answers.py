"""Answers of two models become metrics, each under a name of its own."""

from luthier.evaluate.answers import score
from luthier.evaluate.metrics.metric import Expected
from luthier.recipe.metrics import Regex


def test_two_metrics_of_one_kind_have_names_of_their_own() -> None:
    expected = [Expected("ticket 1, peg 2")] * 12
    found = score(expected, ["ticket 1"] * 12, ["peg 2"] * 12, [Regex(pattern="ticket"), Regex(pattern="peg")])
    assert found is not None
    assert [(one.name, one.base.value, one.tuned.value) for one in found.metrics] == [
        ("regex", 1.0, 0.0),
        ("regex_2", 0.0, 1.0),
    ]


def test_a_model_that_says_nothing_is_told() -> None:
    found = score([Expected("yes")] * 12, ["yes"] * 12, [" \n"] * 7 + ["yes"] * 5, [])
    assert found is not None
    assert found.findings[0].text == "7 of 12 tuned answers are empty"
    said = score([Expected("yes")] * 12, ["yes"] * 12, [""] * 5 + ["yes"] * 7, [])
    assert said is not None
    assert not any("empty" in one.text for one in said.findings)
