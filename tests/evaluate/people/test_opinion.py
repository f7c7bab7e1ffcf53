import pytest

from luthier.core.html import to_html
from luthier.core.report import Table
from luthier.evaluate.pairs import Pair
from luthier.evaluate.people.account import report, values
from luthier.evaluate.people.book import Ballot
from luthier.evaluate.people.opinion import opinion

SHOWN = ("base", "tuned")
PAIRS = [Pair(f"rows.jsonl:{n}", f"question {n}", "", f"before {n}", f"after {n}") for n in range(30)]


def ballots(*winners: str | None, rater: str = "Ada", tuned: int = 4, base: int = 2) -> list[Ballot]:
    scores = {"base": {"accuracy": base}, "tuned": {"accuracy": tuned}}
    return [
        Ballot(rater, pair.key, winner, SHOWN, {} if winner is None else scores)
        for pair, winner in zip(PAIRS, winners, strict=False)
    ]


def test_a_win_rate_is_counted_by_hand() -> None:
    found = opinion(PAIRS, ballots(*["tuned"] * 15, *["base"] * 5, *["tie"] * 4, *[None] * 2))
    assert found.win_rate is not None
    assert (found.win_rate.value, found.win_rate.n) == (pytest.approx((15 + 2) / 24), 24)
    assert (found.skipped, dict(found.counts)) == (2, {"tuned": 15, "base": 5, "tie": 4})
    assert found.win_rate.low is not None
    assert found.win_rate.low > 0.5
    assert found.verdict == "better"  # 15 of 20: p 0.04
    assert values(found)["people_accuracy"].value == 4


def test_a_pair_that_two_looked_at_is_one_observation() -> None:
    both = [*ballots(*["tuned"] * 20), *ballots(*["tuned"] * 10, *["base"] * 10, rater="Bo")]
    found = opinion(PAIRS, both)
    assert found.win_rate is not None
    assert (found.win_rate.value, found.win_rate.n) == (0.75, 20)
    assert dict(found.raters) == {"Ada": 20, "Bo": 20}
    cohen = found.agreement["cohen_kappa"]
    assert cohen is not None
    assert cohen.value == 0  # one of them always says the same


def test_equal_answers_count_as_ties_and_pairs_nobody_saw_not_at_all() -> None:
    alike = [Pair(f"rows.jsonl:{n}", f"q {n}", "", "same", "same") for n in range(10)]
    found = opinion([*PAIRS, *alike], ballots(*["tuned"] * 10))
    assert found.win_rate is not None
    assert (found.win_rate.value, found.win_rate.n, found.alike) == (0.75, 20, 10)


def test_three_people_have_fleiss_and_two_cohen() -> None:
    one, two, three = (ballots(*["tuned", "base", "tie"] * 10, rater=name) for name in ("Ada", "Bo", "Cy"))
    assert opinion(PAIRS, one).agreement == {}
    assert opinion(PAIRS, [*one, *two]).agreement.keys() == {"krippendorff_alpha", "cohen_kappa"}
    found = opinion(PAIRS, [*one, *two, *three]).agreement
    assert {name: number.value for name, number in found.items() if number} == {
        "krippendorff_alpha": 1,
        "fleiss_kappa": 1,
    }


def test_most_people_are_compared_with_the_judge() -> None:
    people = [*ballots(*["tuned"] * 12), *ballots(*["base"] * 6, *["tuned"] * 6, rater="Bo")]
    judge = {pair.key: "tuned" for pair in PAIRS[:10]}
    found = opinion(PAIRS, people, judge)
    assert found.judge is not None
    share = found.judge["share"]
    assert share is not None
    assert (share.value, share.n) == (0.4, 10)  # where they differ nobody has most


def test_nobody_yet_is_told_and_a_few_carry_no_verdict() -> None:
    assert "Nobody" in report(opinion(PAIRS, [])).summary
    few = report(opinion(PAIRS, ballots(*["tuned"] * 9)))
    assert few.data["verdict"] == "undecided"
    assert any("can't carry a verdict" in finding.text for finding in few.findings)


def test_the_report_tells_who_said_what() -> None:
    told = report(opinion(PAIRS, [*ballots(*["tuned"] * 20), *ballots(*["tuned"] * 20, rater="Bo")], {}))
    tables = [block for section in told.sections for block in section.blocks if isinstance(block, Table)]
    assert [table.title for table in tables] == ["", "How far they agree", "Who"]
    assert told.data["raters"] == {"Ada": 20, "Bo": 20}
    assert "Krippendorff" in to_html(told)
