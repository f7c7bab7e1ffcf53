import json
from pathlib import Path

import pytest

from luthier.core.errors import DataError
from luthier.evaluate.pairs import Pair
from luthier.evaluate.people.book import Ballot, Book
from luthier.evaluate.people.booth import Booth

PAIRS = [Pair(f"rows.jsonl:{n}", f"question {n}", f"right {n}", f"before {n}", f"after {n}") for n in range(20)]
RATINGS = {side: {"accuracy": 5 if side == "left" else 2} for side in ("left", "right")}


def booth(tmp_path: Path, *, rubric: tuple[str, ...] = (), pairs: list[Pair] = PAIRS) -> Booth:
    meanings = {name: f"what {name} means" for name in rubric}
    return Booth(pairs, meanings, Book(tmp_path / "people" / "ratings.jsonl"), reference=False, seed=0)


def test_every_answer_is_on_the_disk_and_the_next_one_to_ask_goes_on(tmp_path: Path) -> None:
    first = booth(tmp_path)
    for _ in range(3):
        first.say("Ada", first.sheet("Ada")["key"], "left", {})
    again = booth(tmp_path)
    assert (again.sheet("Ada")["done"], again.sheet("Ada")["prompt"]) == (3, "question 3")
    assert again.sheet("Bo")["done"] == 0


def test_nothing_shown_tells_whose_answer_is_which_and_sides_change_by_chance(tmp_path: Path) -> None:
    shown = booth(tmp_path)
    sheet = shown.sheet("Ada")
    assert sheet.keys() == {"done", "of", "rubric", "key", "prompt", "left", "right", "expected"}
    assert {sheet["left"], sheet["right"]} == {"before 0", "after 0"}
    sides = [shown.sides(rater, pair.key) for rater in ("Ada", "Bo") for pair in PAIRS]
    assert 10 <= sides.count(("base", "tuned")) <= 30
    assert sides[:20] != sides[20:]
    assert sides == [booth(tmp_path).sides(rater, pair.key) for rater in ("Ada", "Bo") for pair in PAIRS]


@pytest.mark.parametrize(("choice", "place"), [("left", 0), ("right", 1)])
def test_a_choice_goes_to_the_model_that_stood_there(tmp_path: Path, choice: str, place: int) -> None:
    asked = booth(tmp_path, rubric=("accuracy",))
    for _ in PAIRS:
        asked.say("Ada", asked.sheet("Ada")["key"], choice, RATINGS)
    ballots = asked.book.ballots()
    assert len(ballots) == 20
    assert "key" not in asked.sheet("Ada")
    for ballot in ballots:
        assert ballot.shown == asked.sides("Ada", ballot.key)
        assert ballot.winner == ballot.shown[place]
        assert [ballot.scores[name]["accuracy"] for name in ballot.shown] == [5, 2]


def test_what_was_taken_back_is_asked_again_and_what_was_skipped_is_not(tmp_path: Path) -> None:
    asked = booth(tmp_path)
    first, second = (pair.key for pair in PAIRS[:2])
    asked.say("Ada", first, "skip", {})
    asked.say("Ada", second, "tie", {})
    asked.say("Bo", first, "tie", {})
    asked.take_back("Ada")
    assert asked.sheet("Ada")["key"] == second
    asked.take_back("Ada")
    asked.take_back("Ada")
    assert asked.sheet("Ada")["key"] == first
    assert [(one.rater, one.winner) for one in asked.book.ballots()] == [("Bo", "tie")]


@pytest.mark.parametrize(
    ("key", "choice", "ratings"),
    [
        ("nothing", "left", RATINGS),
        (PAIRS[0].key, "both", RATINGS),
        (PAIRS[0].key, "left", {}),
        (PAIRS[0].key, "skip", RATINGS),
        (PAIRS[0].key, "left", {**RATINGS, "left": {"accuracy": 6}}),
        (PAIRS[0].key, "left", {**RATINGS, "left": {"accuracy": True}}),
        (PAIRS[0].key, "left", {**RATINGS, "left": {"accuracy": 3, "other": 3}}),
    ],
)
def test_what_can_not_be_said_is_refused_and_not_kept(tmp_path: Path, key: str, choice: str, ratings: dict) -> None:
    asked = booth(tmp_path, rubric=("accuracy",))
    with pytest.raises(DataError):
        asked.say("Ada", key, choice, ratings)
    assert asked.book.ballots() == []


@pytest.mark.parametrize("name", ["", " ", "a" * 41, "../x", "a\nb", "<b>"])
def test_a_name_is_a_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="a name has"):
        booth(tmp_path).sheet(name)


def test_pairs_of_equal_answers_are_not_shown(tmp_path: Path) -> None:
    assert booth(tmp_path, pairs=[Pair("a:1", "q", "", "same", "same")]).sheet("Ada")["of"] == 0


def test_a_line_torn_by_a_power_cut_costs_itself_and_nothing_else(tmp_path: Path) -> None:
    book = Book(tmp_path / "ratings.jsonl")
    book.add(Ballot("Ada", "k1", "tie", ("base", "tuned")))
    with book.path.open("a") as file:
        file.write('{"time": 1, "rater": "Ada", "key": "k2", "win')
    book.add(Ballot("Ada", "k3", None, ("tuned", "base"), {"base": {"accuracy": 1}}))
    assert [(one.key, one.winner) for one in book.ballots()] == [("k1", "tie"), ("k3", None)]
    assert json.loads(book.path.read_text().split("\n")[-2])["shown"] == ["tuned", "base"]
