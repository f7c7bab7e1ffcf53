"""What was lost is seen, what is noise is not, and a gate says no in words."""

import math

import numpy as np
import pytest

from luthier.core.report import Number, Table
from luthier.evaluate.losses import Loss
from luthier.evaluate.regression import findings, of_capability, of_own_rows, refusals, sections
from luthier.evaluate.stats import paired
from luthier.recipe.evaluate import Capability, Evaluate, Gate
from luthier.recipe.metrics import ExactMatch

SUMS = Capability(name="sums", files=("sums.jsonl",))


def lost(nats: float, spread: float = 0.01, rows: int = 50) -> Loss:
    """Return a comparison in which the tuned model needs so many nats more a token."""
    generator = np.random.default_rng(0)
    base = generator.normal(20, 2, rows)
    noise = generator.normal(0, spread * 10, rows)
    return Loss(paired(base, base + 10 * nats + noise - noise.mean(), np.full(rows, 10)), None)


@pytest.mark.parametrize(
    ("nats", "spread", "status"),
    [
        (0.2, 0.01, "FAIL"),
        (0.2, 2.0, "WARN"),  # large, and may be chance
        (0.03, 0.01, "WARN"),  # certain, and small
        (0.001, 0.5, "OK"),
        (-0.3, 0.01, "OK"),
    ],
)
def test_a_loss_fails_when_it_is_large_and_certain(nats: float, spread: float, status: str) -> None:
    (kept,) = of_capability(SUMS, lost(nats, spread), None)
    assert kept.status == status
    assert kept.change.value == pytest.approx(math.exp(nats))
    levels = [finding.level for finding in findings([kept], [])]
    assert levels == {"FAIL": ["gate"], "WARN": ["warning"], "OK": []}[status]


def test_a_loss_per_byte_counts_by_its_share() -> None:
    one = lost(0.2).per_token
    assert one is not None
    (kept,) = of_capability(SUMS, Loss(None, one, "other tokens"), None)
    assert (kept.measure, kept.status) == ("bits_per_byte", "FAIL")
    assert kept.tuned.value - kept.base.value == pytest.approx(0.2 / math.log(2))
    share = 0.2 / one.base.value  # about a tenth, and certain
    for warn, status in ((share * 0.9, "WARN"), (share * 1.1, "OK")):
        mild = SUMS.model_copy(update={"warn": warn, "fail": 0.3})
        assert of_capability(mild, Loss(None, one, "other tokens"), None)[0].status == status


def test_the_rows_it_was_trained_for_never_fail_by_themselves() -> None:
    (kept,) = of_own_rows(lost(0.5), "worse", [])
    assert kept.status == "WARN"
    assert [*findings([kept], [])] == []  # the verdict has said it


def test_a_change_of_perplexity_is_told_as_a_share_and_nothing_checked_as_nothing() -> None:
    (section,) = sections(of_capability(SUMS, lost(0.2, 0.01), None))
    (table,) = section.blocks
    assert isinstance(table, Table)
    assert table.rows[0][4].startswith("+22 % (+")
    assert [*sections([])] == []


VALUES = {"perplexity": Number(2.5, 40, 2.0, 3.0), "accuracy": Number(0.7, 40, 0.6, 0.8)}


@pytest.mark.parametrize(
    ("gate", "verdict", "words"),
    [
        (Gate(), "worse", []),
        (Gate(verdict="better"), "undecided", ["the tuned model must be better, and is undecided"]),
        (Gate(verdict="not_worse"), "undecided", []),
        (Gate(verdict="not_worse"), "worse", ["the tuned model must not be worse, and is"]),
        (Gate(at_least={"accuracy": 0.7}, at_most={"perplexity": 2.5}), "same", []),
        (Gate(at_least={"accuracy": 0.8}), "same", ["`accuracy` must be at least 0.8, and is 0.7 (0.6 to 0.8)"]),
        (Gate(at_most={"perplexity": 2}), "better", ["`perplexity` must be at most 2, and is 2.5 (2 to 3)"]),
        (
            Gate(at_least={"bleu": 30}),
            "better",
            ["`bleu` must be at least 30, and was not measured: there are perplexity, accuracy"],
        ),
        (Gate(at_least={"perplexity": math.nan}), "same", ["`perplexity` must be at least nan, and is 2.5 (2 to 3)"]),
    ],
)
def test_a_gate_says_what_it_says_no_to(gate: Gate, verdict: str, words: list[str]) -> None:
    assert [*refusals(gate, verdict, VALUES)] == words


def test_a_capability_of_too_few_rows_is_told() -> None:
    kept = of_capability(SUMS, lost(0.5, rows=3), None)
    assert [one.status for one in kept] == ["WARN"]
    few, _ = findings(kept, [])
    assert few.text == "sums: 3 rows can't show whether it is lost; at least 10 are needed"


def test_metrics_of_answers_that_nobody_asks_for_are_refused() -> None:
    with pytest.raises(ValueError, match="`answers` is 0"):
        Evaluate(answers=0, metrics=(ExactMatch(),))


def test_limits_in_the_wrong_order_are_refused() -> None:
    with pytest.raises(ValueError, match="`warn` must not be above `fail`"):
        Capability(name="sums", files=("a",), warn=0.1)


def test_a_capability_that_never_fails_is_only_told() -> None:
    (kept,) = of_capability(SUMS.model_copy(update={"fail": None}), lost(2.0), None)
    assert kept.status == "WARN"
