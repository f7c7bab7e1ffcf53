"""Which text is learned: append-only templates, ones that rewrite history, and what can't be rendered faithfully."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from luthier.tokens.turns import Part, Turn, UnfaithfulError, missing, parts, wanted

OPEN = {"system": "S>", "user": "U>", "assistant": "A>", "tool": "T>"}


def turn(role: str, content: str, **more: Any) -> Turn:
    return {"role": role, "content": content, **more}


def appending(turns: Sequence[Turn], ask: bool) -> str:
    """A template that only appends."""
    return "".join(f"{OPEN[t['role']]}{t['content']};\n" for t in turns) + ("A>" if ask else "")


def telling(turns: Sequence[Turn], ask: bool) -> str:
    """A template that only appends, thoughts too."""
    return appending([{**t, "content": t.get("thinking", "") + t["content"]} for t in turns], ask)


def forgetting(turns: Sequence[Turn], ask: bool) -> str:
    """A template that drops what was thought before the last question, as Qwen3 and DeepSeek do."""
    last = max((place for place, t in enumerate(turns) if t["role"] == "user"), default=-1)
    told = [
        f"{OPEN[t['role']]}"
        + (f"({t['thinking']})" if t.get("thinking") and place > last else "")
        + f"{t['content']};\n"
        for place, t in enumerate(turns)
    ]
    return "".join(told) + ("A>" if ask else "")


def moving(turns: Sequence[Turn], ask: bool) -> str:
    """A template that writes the number of turns first, so that no text is the beginning of another."""
    count = sum(t["role"] != "assistant" for t in turns)
    return f"{count}|" + telling(turns, ask)


words = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
roles = st.sampled_from(["user", "assistant", "system", "tool"])
plain = st.lists(st.builds(turn, roles, words), min_size=1, max_size=8)
thinking = st.builds(
    lambda t, thought: {**t, "thinking": thought} if t["role"] == "assistant" else t,
    *[
        st.builds(turn, st.sampled_from(["user", "assistant"]), words),
        st.text("abc ", min_size=1, max_size=6),
    ],
)
renders = st.sampled_from([telling, forgetting, moving])


@given(plain)
def test_a_template_that_only_appends_gives_one_text_with_every_answer(turns: list[Turn]) -> None:
    found = parts(appending, turns)
    answers = [place for place, t in enumerate(turns) if t["role"] == "assistant"]
    if not answers:
        assert found == []
        return
    (part,) = found
    assert part.text == appending(turns, False)
    assert [learned.turn for learned in part.learned] == answers
    for learned in part.learned:
        (span,) = learned.ranges
        assert part.text[slice(*span)] == turns[learned.turn]["content"] + ";\n"
        assert span[1] == learned.end == len(appending(turns[: learned.turn + 1], False))
        assert learned.until_stop


@given(renders, st.lists(thinking, min_size=1, max_size=8))
def test_each_wanted_turn_is_learned_once_behind_what_a_server_is_asked(
    render: Callable[[Sequence[Turn], bool], str], turns: list[Turn]
) -> None:
    found = parts(render, turns)
    learned = [(part, one) for part in found for one in part.learned]
    assert sorted(one.turn for _, one in learned) == wanted(turns, "assistant")
    for part, one in learned:
        assert part.text[: one.end] == render(turns[: one.turn + 1], False)
        ((start, end),) = one.ranges
        assert part.text[:start] == render(turns[: one.turn], True)
        assert end == one.end


@given(renders, st.lists(thinking, min_size=1, max_size=8))
def test_there_is_no_text_too_many(render: Callable[[Sequence[Turn], bool], str], turns: list[Turn]) -> None:
    found = parts(render, turns)
    assert all(part.learned for part in found)
    assert all(not after.text.startswith(before.text) for before, after in pairwise(found))


@given(renders, st.lists(thinking, min_size=1, max_size=8))
def test_texts_and_the_turns_in_them_stand_in_the_order_of_the_conversation(
    render: Callable[[Sequence[Turn], bool], str], turns: list[Turn]
) -> None:
    places = [one.turn for part in parts(render, turns) for one in part.learned]
    assert places == sorted(places)


@given(plain)
def test_the_last_answer_alone_is_learned_where_asked(turns: list[Turn]) -> None:
    answers = [place for place, t in enumerate(turns) if t["role"] == "assistant"]
    found = parts(appending, turns, learn="last")
    assert [one.turn for part in found for one in part.learned] == answers[-1:]


@given(renders, plain)
def test_all_learns_every_character(render: Callable[[Sequence[Turn], bool], str], turns: list[Turn]) -> None:
    (part,) = parts(render, turns, learn="all")
    assert part.text == render(turns, False)
    ranges = [span for learned in part.learned for span in learned.ranges]
    assert [edge for span in ranges for edge in span][1:-1:2] == [edge for span in ranges for edge in span][2::2]
    assert (ranges[0][0], ranges[-1][1]) == (0, len(part.text))


# What a row says itself ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "places"),
    [
        ([{}, {}, {}, {}], [1, 3]),
        ([{}, {"weight": 0}, {}, {"weight": 1}], [3]),
        ([{}, {"weight": 0.0}, {}, {"weight": 1.0}], [3]),
        ([{}, {"train": False}, {}, {}], [3]),
        ([{"train": True}, {}, {}, {}], [0, 1, 3]),
        ([{"weight": 1}, {}, {}, {}], [1, 3]),
        ([{}, {"weight": 0, "train": True}, {}, {"weight": 1, "train": False}], [1]),
        ([{"train": None}, {"weight": None}, {}, {}], [1, 3]),
        ([{}, {"learn": []}, {}, {}], [3]),
    ],
)
def test_flags_of_a_turn_decide_whether_it_is_learned(flags: list[dict[str, Any]], places: list[int]) -> None:
    turns = [turn(role, "x", **flag) for role, flag in zip(["user", "assistant"] * 2, flags, strict=True)]
    assert wanted(turns, "assistant") == places
    last = [place for place in places if place == 3 or flags[place].get("train")]
    assert wanted(turns, "last") == last
    assert [one.turn for part in parts(appending, turns) for one in part.learned] == places


def test_the_text_of_a_question_is_learned_without_its_role_where_the_row_asks() -> None:
    turns = [turn("user", "Why?", train=True), turn("assistant", "So.")]
    (part,) = parts(appending, turns)
    assert [part.text[slice(*one.ranges[0])] for one in part.learned] == ["Why?;\n", "So.;\n"]


contents = st.text("ab ;>\nä🎻", min_size=1, max_size=20)


@given(contents, st.data())
def test_spans_are_learned_and_the_end_of_the_turn_where_they_reach_it(content: str, data: st.DataObject) -> None:
    edges = data.draw(st.lists(st.integers(0, len(content)), min_size=2, max_size=6, unique=True).map(sorted))
    spans = [list(pair) for pair in zip(edges[::2], edges[1::2], strict=False)]
    turns = [turn("user", content), turn("assistant", content, learn=spans), turn("user", "x")]
    (part,) = parts(appending, turns)
    (learned,) = part.learned
    assert [part.text[slice(*span)] for span in learned.ranges] == [
        content[start:end] + (";\n" if end == len(content) else "") for start, end in spans
    ]
    assert learned.until_stop == (spans[-1][1] == len(content))
    assert learned.end == len(appending(turns[:2], False))


@pytest.mark.parametrize(
    ("spans", "reason"),
    [
        ([[0, 9]], r"turn 2 has 3 characters, and `learn` names \[0, 9\]"),
        ([[-1, 2]], "turn 2 has 3 characters"),
        ([[2, 2]], "turn 2 has 3 characters"),
        ([[2, 1]], "turn 2 has 3 characters"),
        ([[0, 1.5]], "turn 2 has 3 characters"),
        ([[0, True]], "turn 2 has 3 characters"),
        ([[0, 1, 2]], "turn 2 has 3 characters"),
        ([["0", "1"]], "turn 2 has 3 characters"),
        ([0, 1], "turn 2 has 3 characters"),
        ([None], "turn 2 has 3 characters"),
        (["ab"], "turn 2 has 3 characters"),
        ([[0, 2], [1, 3]], "the spans of turn 2 overlap"),
        ([[1, 3], [0, 1]], "the spans of turn 2 overlap or stand out of order"),
    ],
)
def test_spans_that_can_not_be_are_refused_with_their_turn(spans: Any, reason: str) -> None:
    with pytest.raises(UnfaithfulError, match=reason):
        parts(appending, [turn("user", "x"), turn("assistant", "abc", learn=spans)])


@pytest.mark.parametrize("spans", [5, True, {"a": 1}, "x"])
def test_spans_that_are_no_list_are_refused_with_their_turn(spans: Any) -> None:
    with pytest.raises(UnfaithfulError, match="turn 2"):
        parts(appending, [turn("user", "x"), turn("assistant", "abc", learn=spans)])


# What can't be learned -----------------------------------------------------------------------------------


def refused(render: Callable[[Sequence[Turn], bool], str], *turns: Turn) -> str:
    with pytest.raises(UnfaithfulError) as error:
        parts(render, turns)
    return str(error.value)


def test_an_answer_asked_for_with_other_text_is_refused_and_both_are_told() -> None:
    def other(turns: Sequence[Turn], ask: bool) -> str:
        return appending(turns, False) + ("B>" if ask else "")

    reason = refused(other, turn("user", "Why?"), turn("assistant", "So."))
    assert reason == (
        "the template changes earlier text when turn 2 is added: where an answer is asked for it writes "
        '"B>", with the turn "A>So.;\\n"'
    )


@pytest.mark.parametrize(
    "content", ["abc", "  abc", "abc  \n", "\na b\n c "], ids=["plain", "leading", "trailing", "inner"]
)
def test_white_space_a_template_leaves_out_is_no_loss(content: str) -> None:
    def stripping(turns: Sequence[Turn], ask: bool) -> str:
        return appending([{**t, "content": t["content"].strip()} for t in turns], ask)

    (part,) = parts(stripping, [turn("user", "x"), turn("assistant", content)])
    assert part.text[slice(*part.learned[0].ranges[0])] == content.strip() + ";\n"


def test_a_part_of_an_answer_that_a_template_drops_is_refused() -> None:
    def short(turns: Sequence[Turn], ask: bool) -> str:
        return appending([{**t, "content": t["content"][:3]} for t in turns], ask)

    assert "drops a part of the text of turn 2" in refused(short, turn("user", "x"), turn("assistant", "Because."))


def test_text_dropped_from_an_answer_is_not_found_in_the_question() -> None:
    def empty(turns: Sequence[Turn], ask: bool) -> str:
        return appending([{**t, "content": ""} if t["role"] == "assistant" else t for t in turns], ask)

    assert "drops a part of the text" in refused(empty, turn("user", "Because."), turn("assistant", "Because."))


@pytest.mark.parametrize("name", ["reasoning_content", "thinking", "reasoning"])
def test_thoughts_that_a_template_drops_are_refused(name: str) -> None:
    thought = turn("assistant", "So.", **{name: "Let me see."})
    assert "drops a part of the reasoning of turn 2" in refused(appending, turn("user", "x"), thought)


def test_a_call_that_a_template_does_not_write_is_refused() -> None:
    call = {"type": "function", "function": {"name": "count", "arguments": "{}"}}
    answer = turn("assistant", "", tool_calls=[call])
    assert refused(appending, turn("user", "x"), answer) == "the template does not write the tool call of turn 2"


def test_a_conversation_that_begins_with_an_answer_needs_a_template_that_shows_how_it_opens() -> None:
    def strict(turns: Sequence[Turn], ask: bool) -> str:
        assert turns
        return appending(turns, ask)

    assert "begins with an answer" in refused(strict, turn("assistant", "Hello."))
    assert parts(appending, [turn("assistant", "Hello.")]) == [
        Part("A>Hello.;\n", parts(appending, [turn("assistant", "Hello.")])[0].learned)
    ]


def test_spans_in_a_text_the_template_changes_are_refused() -> None:
    def loud(turns: Sequence[Turn], ask: bool) -> str:
        return appending([{**t, "content": t["content"].replace(" ", "  ")} for t in turns], ask)

    assert "spans can't be found" in refused(loud, turn("user", "x"), turn("assistant", "a b", learn=[[0, 1]]))


def test_roles_whose_text_is_left_out_are_told() -> None:
    turns = [turn("system", "Be kind."), turn("user", "Why?"), turn("tool", "4"), turn("assistant", None)]
    assert missing("Why?", turns) == ["system", "tool"]
    assert missing("Be  kind. Why? 4", turns) == []
