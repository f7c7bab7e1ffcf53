"""From replies to numbers: winners, ties, ratings, and whether place or length decided; expected values by hand."""

import pytest

from luthier.evaluate.judge.ask import UNREADABLE, Judged
from luthier.evaluate.judge.cost import Purse
from luthier.evaluate.judge.outcomes import Tally, outcomes, tally
from luthier.evaluate.judge.questions import Question
from luthier.evaluate.judge.replies import Judgement, Winner
from luthier.evaluate.pairs import Pair

RUBRIC = {"accuracy": "is true"}


def tallied(*said: tuple[Winner | None, Winner | None], base: int = 2, tuned: int = 4, lengths: str = "") -> Tally:
    """Return what becomes of pairs, of each of which is said who is better in both orders (None: unreadable)."""
    longer = lengths.ljust(len(said))
    pairs = [
        Pair(f"f:{place}", f"Why {place}?", "", "b" * (1 + (whose == "b")), "t" * (1 + (whose == "t")))
        for place, whose in enumerate(longer)
    ]
    questions, judgements, missing = [], [], {}
    for number, orders in enumerate(said):
        for order, better in zip((("base", "tuned"), ("tuned", "base")), orders, strict=True):
            if better is None:
                missing[len(questions)] = UNREADABLE
            scores = {"base": {"accuracy": base}, "tuned": {"accuracy": tuned}}
            judgements.append(None if better is None else Judgement(scores, better, ""))
            questions.append(Question(number, order, ""))
    found = Judged(judgements, missing, 0, Purse(None, None, 1), ())
    return tally(outcomes(pairs, questions, found), RUBRIC)


def test_both_orders_must_agree_on_a_winner() -> None:
    agree = [("tuned", "tuned"), ("base", "base")]
    found = tallied(*agree, ("tuned", "base"), ("tuned", "tie"), ("tie", "tie"), (None, "tuned"))
    assert [one.winner for one in found.outcomes] == ["tuned", "base", "tie", "tie", "tie", None]
    assert [one.flipped for one in found.outcomes] == [False, False, True, False, False, False]
    assert (found.scored, found.unscored, found.flipped) == (5, {UNREADABLE: 1}, 1)
    assert found.win_rate.value == pytest.approx((1 + 3 / 2) / 5)
    assert found.decided.value == 0.5


def test_with_few_pairs_there_is_a_number_and_no_verdict() -> None:
    found = tallied(*[("tuned", "tuned")] * 9)
    assert (found.verdict, found.win.p, found.win_rate.low) == ("undecided", None, None)


def test_wins_decide_only_beyond_chance() -> None:
    assert tallied(*[("tuned", "tuned")] * 6, *[("tie", "tie")] * 6).win.p == pytest.approx(2 / 64)
    assert tallied(*[("tuned", "tuned")] * 6, *[("tie", "tie")] * 6).verdict == "better"
    assert tallied(*[("base", "base")] * 6, *[("tie", "tie")] * 6).verdict == "worse"
    assert tallied(*[("tuned", "tuned")] * 7, *[("base", "base")] * 5).verdict == "undecided"
    ties = tallied(*[("tie", "tie")] * 400)
    assert (ties.verdict, ties.win_rate.value) == ("same", 0.5)


def test_ratings_are_of_pairs_that_are_scored() -> None:
    found = tallied(*[("tie", "tie")] * 10, (None, "tie"), base=1, tuned=1)
    (accuracy,) = found.criteria
    assert (accuracy.found.base.value, accuracy.found.base.n, accuracy.verdict) == (1.0, 10, "undecided")
    better = tallied(*[("tuned", "tuned")] * 12).criteria[0]
    assert (better.found.change.value, better.verdict) == (2.0, "better")


def test_it_is_told_how_often_the_place_decided() -> None:
    assert tallied(*[("base", "tuned")] * 12).first.value == 1.0
    assert tallied(*[("tuned", "base")] * 12).first.value == 0.0
    assert tallied(*[("tuned", "tuned")] * 12).first.value == 0.5
    mixed = tallied(*[("tuned", "tuned")] * 6, *[("base", "tuned")] * 6, ("tie", "tie")).first
    assert mixed.value == pytest.approx((6 + 12) / 24)
    assert tallied(("tie", "tie")).first is None


def test_it_is_told_how_often_the_longer_answer_won() -> None:
    won = [("tuned", "tuned")] * 3 + [("base", "base"), ("tie", "tie")]
    found = tallied(*won, lengths="ttbbt").longer  # longer: tuned, tuned, base, base, tuned
    assert (found.value, found.n) == (0.75, 4)
    assert tallied(("tuned", "tuned")).longer is None
