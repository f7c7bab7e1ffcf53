"""Rows as data sets have them that were made for something other than chat, and what a conversation makes of them."""

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from luthier.core.example import Example, Source
from luthier.data.convert import MOST_NAMES, Converter, Seen
from luthier.data.formats.choice import CHOICES, QUESTIONS
from luthier.data.formats.classification import LABELS, TEXTS
from luthier.data.formats.completion import ANSWERS, PROMPTS
from luthier.data.formats.summary import DOCUMENTS, SUMMARIES
from luthier.data.reasons import REASONS
from luthier.data.rows import RawRow, Refusal
from luthier.recipe.data import Data, Fields
from luthier.recipe.methods import Rows

Row = dict[str, Any]


def convert(row: Row, rows: Rows = "conversation", **options: Any) -> tuple[Example | Refusal, Converter]:
    converter = Converter(Data(sources=("x",), **options), rows)
    return converter.convert(RawRow(row, Source("x", 1))), converter


def said(row: Row, detected: str, **options: Any) -> list[str]:
    example, converter = convert(row, **options)
    assert isinstance(example, Example), example
    assert [*converter.seen.formats] == [detected]
    return [f"{message.role[0]}:{message.text}" for message in example.messages]


def refused(row: Row, rows: Rows = "conversation", **options: Any) -> str:
    refusal, _ = convert(row, rows, **options)
    assert isinstance(refusal, Refusal), refusal
    return refusal.reason


@pytest.mark.parametrize(
    ("row", "detected"),
    [
        ({"question": "Q", "answers": ["A", "A"]}, "completion"),
        ({"task_id": "t/0", "prompt": "Q", "canonical_solution": "A", "test": "assert"}, "completion"),
        ({"source": "Q", "target": "A"}, "completion"),
        ({"src": "Q", "tgt": "A"}, "completion"),
        ({"human": "Q", "ai": "A"}, "completion"),
        ({"Q": "Q", "A": "A"}, "completion"),
        ({"inputs": "Q", "targets": "A"}, "completion"),
        ({"context": "Q", "response": "A"}, "completion"),
        ({"question": "Q", "sql": "A"}, "completion"),
        ({"column 1": "Q", "column 2": "A"}, "completion"),
        ({"text": "Q", "code": "A"}, "completion"),
        ({"text": "\n\nHuman: Q\n\nAssistant: A"}, "transcript"),
        ({"text": "### Human: Q### Assistant: A"}, "transcript"),
        ({"transcript": "User: Q\n\nAssistant: A"}, "transcript"),
        ({"text": "User: Q\nAssistant: A"}, "transcript"),
        ({"id": 1, "turns": ["Q", "A"]}, "openai"),
        ({"id": 1, "data": ["Q", "A"]}, "openai"),
        ({"conversation": [{"user": "Q"}, {"assistant": "A"}]}, "sharegpt"),
        ({"conversation": "Human: Q\n\nAssistant: A"}, "sharegpt"),
        ({"text": "Q", "category": "A"}, "classification"),
        ({"text": "Q", "label": ["A"]}, "classification"),
        ({"dialog": ["Q", "A"]}, "openai"),
        ({"conversation": [{"human": "Q", "assistant": "A"}]}, "sharegpt"),
        (
            {"contents": [{"role": "user", "parts": [{"text": "Q"}]}, {"role": "model", "parts": [{"text": "A"}]}]},
            "openai",
        ),
        ({"verlauf": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}], "n": 1}, "openai"),
    ],
)
def test_question_and_answer_are_found_under_every_name(row: Row, detected: str) -> None:
    assert said(row, detected) == ["u:Q", "a:A"]


@pytest.mark.parametrize(
    ("row", "detected", "turns"),
    [
        ({"document": "D", "summary": "S"}, "summary", ["u:Summarize this text:\n\nD", "a:S"]),
        ({"article": "D", "highlights": "S", "id": "7"}, "summary", ["u:Summarize this text:\n\nD", "a:S"]),
        ({"dialogue": "A: hi", "summary": "S"}, "summary", ["u:Summarize this text:\n\nA: hi", "a:S"]),
        (
            {"translation": {"en": "cat", "de": "Katze"}},
            "translation",
            ["u:Translate from English to German:\n\ncat", "a:Katze"],
        ),
        ({"id": 1, "en": "cat", "fr": "chat"}, "translation", ["u:Translate from English to French:\n\ncat", "a:chat"]),
        (
            {"German": "Katze", "English": "cat"},
            "translation",
            ["u:Translate from German to English:\n\nKatze", "a:cat"],
        ),
        (
            {"src_lang": "de", "tgt_lang": "en", "source": "Katze", "target": "cat"},
            "translation",
            ["u:Translate from German to English:\n\nKatze", "a:cat"],
        ),
        (
            {
                "systemInstruction": {"parts": [{"text": "S"}]},
                "contents": [{"role": "user", "parts": [{"text": "Q"}]}, {"role": "model", "parts": [{"text": "A"}]}],
            },
            "openai",
            ["s:S", "u:Q", "a:A"],
        ),
        ({"translation": {"xx": "a", "zh-CN": "b"}}, "translation", ["u:Translate from xx to Chinese:\n\na", "a:b"]),
        ({"context": "C", "question": "Q", "answer": "A"}, "qa", ["u:Q\n\nC", "a:A"]),
        (
            {"context": "C", "question": "Q", "answers": {"text": ["A", "B"], "answer_start": [0, 1]}},
            "qa",
            ["u:Q\n\nC", "a:A"],
        ),
        ({"premise": "P", "hypothesis": "H", "label": 1}, "classification", ["u:P\n\nH", "a:1"]),
        ({"text": "Q", "labels": ["joy", "love"]}, "classification", ["u:Q", "a:joy, love"]),
        (
            {"system": "S", "messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]},
            "openai",
            ["s:S", "u:Q", "a:A"],
        ),
    ],
)
def test_a_task_becomes_a_question_with_its_answer(row: Row, detected: str, turns: list[str]) -> None:
    assert said(row, detected) == turns


ASKED = "u:Q\n\nA. x\nB. y"


@pytest.mark.parametrize(
    "row",
    [
        {"question": "Q", "choices": ["x", "y"], "answer": 1},
        {"question": "Q", "choices": ["x", "y"], "answer": "1"},
        {"question": "Q", "choices": ["x", "y"], "answer": "B"},
        {"question": "Q", "choices": ["x", "y"], "answer": "(b)"},
        {"question": "Q", "choices": ["x", "y"], "answer": "y"},
        {"question": "Q", "choices": '["x", "y"]', "answer": "y"},
        {"question": "Q", "options": ["A) x", "B) y"], "correct": "B"},
        {"question": "Q", "options": {"A": "x", "B": "y"}, "answer_idx": "B"},
        {"question": "Q", "choices": {"text": ["x", "y"], "label": ["A", "B"]}, "answerKey": "B"},
        {"question_stem": "Q", "choices": [{"label": "A", "text": "x"}, {"label": "B", "text": "y"}], "answerKey": "B"},
        {"question": "Q", "opa": "x", "opb": "y", "cop": 1},
        {"Question": "Q", "Option A": "x", "Option B": "y", "Answer": "B"},
        {"ctx": "Q", "endings": ["x", "y"], "label": "1"},
    ],
)
def test_choices_stand_below_the_question_and_the_right_one_is_the_answer(row: Row) -> None:
    assert said(row, "choice") == [ASKED, "a:B. y"]


def test_numbered_columns_are_labels_unless_the_answer_is_a_class() -> None:
    assert said({"goal": "Q", "sol1": "x", "sol2": "y", "label": "1"}, "choice")[1] == "a:2. y"
    assert said({"question": "Q", "option1": "x", "option2": "y", "answer": "1"}, "choice")[1] == "a:1. x"


def test_an_answer_that_says_more_than_which_stays_and_one_that_is_none_costs_the_row() -> None:
    row = {"question": "Q", "choices": ["x", "y"]}
    assert said({**row, "answer": "B, because y."}, "choice") == [ASKED, "a:B, because y."]
    assert refused({**row, "answer": 2}) == refused({**row, "answer": "D"}) == refused({**row, "answer": None})
    assert refused({**row, "answer": True}) == "does_not_fit"
    for choices in ([], ["x"], "x", None, [["x"], ["y"]]):
        assert refused({"question": "Q", "choices": choices, "answer": 0}) == "does_not_fit"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"translation": {"en": "cat"}}, "does_not_fit"),
        ({"translation": "cat"}, "does_not_fit"),
        ({"translation": {"en": "", "de": "x"}}, "no_prompt"),
        ({"document": "  ", "summary": "S"}, "no_prompt"),
        ({"document": {"a": 1}, "summary": "S"}, "does_not_fit"),
        ({"text": "Q", "label": []}, "no_label"),
        ({"text": "Q", "label": [{"a": 1}]}, "does_not_fit"),
        ({"text": "Human: only asks"}, "unknown_format"),
        ({"question_id": 81, "turns": ["Q", "and Q again"]}, "unknown_format"),  # MT-Bench: both ask
        ({"source": "x", "target": "y", "source_lang": None, "target_lang": "en"}, "does_not_fit"),
        ({"id": "x", "no": "y", "it": "z"}, "unknown_format"),
        ({"column 1": "a", "column 2": "b", "column 3": "c"}, "unknown_format"),
    ],
)
def test_a_row_that_is_no_such_task_says_why(row: Row, reason: str) -> None:
    assert refused(row) == reason


def test_a_classifier_refuses_texts_in_two_classes_and_takes_conversations() -> None:
    assert refused({"text": "Q", "label": ["a", "b"]}, "class") == "does_not_fit"
    example, _ = convert({"messages": [{"role": "user", "content": "Q"}], "label": "a"}, "class")
    assert isinstance(example, Example)
    assert (example.messages[0].text, example.label) == ("Q", "a")
    example, _ = convert({"column 1": "Q", "column 2": "a"}, "class")
    assert isinstance(example, Example)
    assert example.label == "a"


def test_a_prompt_that_stops_where_the_answer_begins_is_its_turns() -> None:
    row = {"prompt": "\n\nHuman: q\n\nAssistant: a\n\nHuman: Q\n\nAssistant:", "completion": "A"}
    assert said(row, "completion") == ["u:q", "a:a", "u:Q", "a:A"]
    whole = "Human: Q\n\nAssistant: A"
    assert said({"prompt": whole, "completion": "A"}, "completion") == [f"u:{whole}", "a:A"]


def test_other_answers_are_told() -> None:
    _, converter = convert({"question": "Q", "answers": ["A", "B"]})
    assert converter.seen.unused == {"other texts in `answers`": 1}


@pytest.mark.parametrize(
    "row",
    [
        {"question": "Q", "a": 3, "b": 4, "answer": "A"},
        {"question": "Q", "answer": "A", "en": "x", "de": "y"},
        {"question": "Q", "answer": "A", "article": "x", "summary": "y"},
        {
            "messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}],
            "text": "x",
            "summary": "y",
        },
        {
            "conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}],
            "text": "x",
            "summary": "y",
        },
    ],
)
def test_what_is_asked_and_answered_counts_before_what_stands_beside_it(row: Row) -> None:
    example, _ = convert(row)
    assert isinstance(example, Example)
    assert [message.text for message in example.messages][-1] == "A"
    assert example.messages[0].text.startswith("Q")


def test_a_column_without_a_name_plays_no_part() -> None:
    for row in ({"": "x", "prompt": "Q", "answer": "A"}, {"": "x", "instruction": "Q", "output": "A"}):
        assert convert(row)[0].messages[0].text == "Q"  # type: ignore[union-attr]
    assert convert({"": "x", "chosen": "Human: Q\n\nAssistant: A", "rejected": "Human: Q\n\nAssistant: B"}, "pair")[0]


def test_choices_can_be_named() -> None:
    row = {"frage": "Q", "auswahl": ["x", "y"], "richtig": 1}
    assert said(row, "choice", fields=Fields(prompt="frage", choices="auswahl", answer="richtig")) == [ASKED, "a:B. y"]


def test_a_single_call_in_openais_old_way_is_a_call_and_its_function_answers_it() -> None:
    row = {
        "messages": [
            {"role": "user", "content": "Q"},
            {
                "role": "assistant",
                "content": None,
                "function_call": {"name": "f", "arguments": '{"a": 1}'},
                "weight": 0,
            },
            {"role": "function", "name": "f", "content": "42"},
            {"role": "assistant", "content": "A"},
        ],
        "functions": [{"name": "f"}],
    }
    example, _ = convert(row)
    assert isinstance(example, Example)
    _, called, told, _ = example.messages
    (call,) = called.extra["tool_calls"]
    assert call["function"] == {"name": "f", "arguments": '{"a": 1}'}
    assert called.extra["weight"] == 0
    assert "function_call" not in called.extra
    assert told.extra == {"tool_call_id": call["id"], "name": "f"}
    assert example.tools == ({"type": "function", "function": {"name": "f"}},)


def test_parts_that_say_what_is_learned_become_spans_and_other_keys_of_parts_stay() -> None:
    marked = [{"type": "text", "text": "so ", "train": False}, {"type": "text", "text": "six", "weight": 1}]
    cached = [{"type": "text", "text": "Q", "cache_control": {"type": "ephemeral"}}]
    row = {"messages": [{"role": "user", "content": cached}, {"role": "assistant", "content": marked}]}
    example, _ = convert(row)
    assert isinstance(example, Example)
    asked, answer = example.messages
    assert (asked.text, asked.extra) == ("Q", {"parts": cached})
    assert (answer.text, answer.extra) == ("so six", {"learn": [[3, 6]]})


NAMES = [
    *{
        *PROMPTS,
        *ANSWERS,
        *QUESTIONS,
        *CHOICES,
        *DOCUMENTS,
        *SUMMARIES,
        *TEXTS,
        *LABELS,
        "translation",
        "en",
        "de",
        "messages",
        "conversations",
        "system",
        "tools",
        "context",
        "history",
        "chosen",
        "rejected",
        "margin",
        "a",
        "b",
    }
]
TURNS = [
    "role",
    "content",
    "from",
    "value",
    "text",
    "label",
    "parts",
    "tool_calls",
    "function_call",
    "human",
    "assistant",
]
anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["", "user", "assistant", "A", "1", "Human: x"]),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.sampled_from(TURNS), below, max_size=4),
    max_leaves=8,
)


@settings(max_examples=400)
@given(
    st.dictionaries(st.sampled_from(NAMES), anything, max_size=5),
    st.sampled_from(["conversation", "pair", "judged", "class", "text"]),
)
def test_whatever_a_row_holds_it_is_an_example_or_refused_with_a_reason(row: Row, rows: Rows) -> None:
    found, _ = convert(row, rows)
    if isinstance(found, Refusal):
        assert found.reason in REASONS
        assert found.detail
    else:
        assert Example.from_dict(found.as_dict()) == found


@pytest.mark.parametrize(
    "hostile", ["\n\nHuman:" * 12_000, " " * 200_000, "### " * 50_000, "(a" * 100_000, "Human" * 40_000]
)
def test_hostile_texts_take_no_longer_than_others(hostile: str) -> None:
    began = time.perf_counter()
    for row in (
        {"text": hostile},
        {"chosen": hostile, "rejected": hostile},
        {"question": hostile, CHOICES[0]: [hostile, hostile], "answer": hostile},
    ):
        convert(row)
    assert time.perf_counter() - began < 5


def test_what_every_row_calls_otherwise_is_counted_and_not_remembered() -> None:
    def seen(size: int) -> Seen:
        whole, converter = Seen(), Converter(Data(sources=("x",)))
        for number in range(3 * MOST_NAMES):
            row = {"question": "Q", "answer": "A", f"note {number}": ["x"]}
            assert isinstance(converter.convert(RawRow(row, Source("x", number + 1))), Example)
            if (number + 1) % size == 0:
                whole.add(converter.seen)
                converter.seen = Seen()
        return whole

    found = seen(1)
    assert (len(found.unused), found.other_unused) == (MOST_NAMES, 2 * MOST_NAMES)
    assert (len(found.mappings), found.other_mappings) == (1, 0)
    assert found == seen(500)
