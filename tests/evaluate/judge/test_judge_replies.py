"""Replies are read strictly: what isn't exactly of the form says nothing."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from luthier.evaluate.judge.replies import read

RUBRIC = {"fluency": "reads well", "accuracy": "is true"}
BOTH = ("tuned", "base")
GOOD = {
    "reason": "The first names the price.",
    "answer_1": {"fluency": 5, "accuracy": 4},
    "answer_2": {"fluency": 2, "accuracy": 1},
    "better": "1",
}


def test_scores_go_to_whoever_stood_there() -> None:
    found = read(json.dumps(GOOD), BOTH, RUBRIC)
    assert found is not None
    assert found.scores == {"tuned": {"fluency": 5, "accuracy": 4}, "base": {"fluency": 2, "accuracy": 1}}
    assert (found.better, found.reason) == ("tuned", "The first names the price.")
    assert read(json.dumps(GOOD | {"better": 2}), BOTH, RUBRIC).better == "base"
    assert read(json.dumps(GOOD | {"better": "tie"}), BOTH, RUBRIC).better == "tie"


def test_of_one_answer_only_ratings_are_read() -> None:
    reply = json.dumps({"reason": "", "answer": {"fluency": 1, "accuracy": 5}})
    found = read(reply, ("base",), RUBRIC)
    assert found is not None
    assert (found.scores, found.better) == ({"base": {"fluency": 1, "accuracy": 5}}, None)


@pytest.mark.parametrize("around", ["%s", " \n%s\n", "```json\n%s\n```", "<think>1 is {better}</think>\n%s"])
def test_a_fence_and_thoughts_are_no_part_of_a_reply(around: str) -> None:
    assert read(around % json.dumps(GOOD), BOTH, RUBRIC) is not None


@pytest.mark.parametrize(
    "change",
    [
        {"better": "3"},
        {"better": None},
        {"better": True},
        {"better": "first"},
        {"answer_1": {"fluency": 6, "accuracy": 4}},
        {"answer_1": {"fluency": 0, "accuracy": 4}},
        {"answer_1": {"fluency": 5.0, "accuracy": 4}},
        {"answer_1": {"fluency": True, "accuracy": 4}},
        {"answer_1": {"fluency": "5", "accuracy": 4}},
        {"answer_1": {"fluency": 5}},
        {"answer_1": {"fluency": 5, "accuracy": 4, "style": 3}},
        {"answer_1": [5, 4]},
        {"reason": 7},
        {"overall": 3},
    ],
)
def test_what_is_a_little_wrong_is_not_guessed_at(change: dict[str, object]) -> None:
    assert read(json.dumps(GOOD | change), BOTH, RUBRIC) is None


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "Answer 1 is better.",
        json.dumps(GOOD) + " I hope this helps!",
        "Sure: " + json.dumps(GOOD),
        json.dumps([GOOD]),
        json.dumps(GOOD)[:-1],
        json.dumps(GOOD).replace('"better": "1"', '"better": "2", "better": "1"'),
        json.dumps(GOOD).replace("5", "NaN"),
        "[" * 100_000,
        "<think>" + json.dumps(GOOD),
    ],
)
def test_what_is_no_such_object_says_nothing(reply: str) -> None:
    assert read(reply, BOTH, RUBRIC) is None


@given(st.text() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps))
def test_no_reply_raises(reply: str) -> None:
    assert read(reply, BOTH, RUBRIC) is None
