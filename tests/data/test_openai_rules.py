"""Would OpenAI's fine-tuning take a row? Each rule, broken and kept."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from luthier.core.example import Example, Message, Source
from luthier.data.openai_rules import BROKEN

CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}


def broken(*turns: Message) -> list[str]:
    example = Example(turns, Source("x", 1))
    return [rule for rule, breaks in BROKEN.items() if breaks(example)]


def said(role: str, text: str = "words", **extra: Any) -> Message:
    return Message(role, text, extra)


@pytest.mark.parametrize(
    "turns",
    [
        (said("user"), said("assistant")),
        (said("system"), said("user"), said("assistant", weight=0), said("user"), said("assistant", weight=1)),
        (said("user"), said("assistant", "", tool_calls=[CALL]), said("tool", tool_call_id="1"), said("assistant")),
    ],
)
def test_what_keeps_to_the_rules_breaks_none(turns: tuple[Message, ...]) -> None:
    assert broken(*turns) == []


@pytest.mark.parametrize(
    ("turns", "rule"),
    [
        ((said("user"), said("assistant"), said("user")), "last message not the assistant's"),
        ((said("user"), said("assistant", weight=0)), "wrong weights"),
        ((said("user"), said("assistant", weight=0.5)), "wrong weights"),
        ((said("user", weight=1), said("assistant")), "wrong weights"),
        ((said("user"), said("assistant", "")), "empty messages"),
        ((said("user"), said("tool", tool_call_id="1"), said("assistant")), "tool calls that don't fit together"),
        *(
            (
                (said("user"), said("assistant", "", tool_calls=[call]), said("assistant")),
                "tool calls that don't fit together",
            )
            for call in (
                "f",
                {**CALL, "id": None},
                {**CALL, "type": "code"},
                {**CALL, "function": {"name": "f", "arguments": {"x": 1}}},
                {**CALL, "function": {"name": "f", "arguments": "{x"}},
                {**CALL, "function": {"arguments": "{}"}},
                {**CALL, "function": {"name": "f", "arguments": "[" * 100_000}},
            )
        ),
    ],
)
def test_what_breaks_a_rule_is_named(turns: tuple[Message, ...], rule: str) -> None:
    assert broken(*turns) == [rule]


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from([*CALL, *CALL["function"]]), inner),
    max_leaves=6,
)


@given(anything | st.lists(anything, max_size=2), anything, anything)
def test_whatever_stands_in_a_row_is_looked_at(calls: Any, answers: Any, weight: Any) -> None:
    turns = (said("user"), said("assistant", tool_calls=calls, weight=weight), said("tool", tool_call_id=answers))
    assert "last message not the assistant's" in broken(*turns)
