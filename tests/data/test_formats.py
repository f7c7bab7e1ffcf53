import json
import re
from pathlib import Path
from typing import Any

import pytest
from data_files import Write, prepare_sources

from luthier.core.errors import DataError
from luthier.core.example import Example, Source
from luthier.data.convert import Converter
from luthier.data.formats import FORMATS
from luthier.data.rows import RawRow, Refusal
from luthier.recipe.data import WRITTEN_AS, Data, Fields

QA = [("user", "Q"), ("assistant", "A")]


def convert(row: dict[str, Any], **options: Any) -> Example | Refusal:
    return Converter(Data(sources=("x",), **options)).convert(RawRow(row, Source("x", 1)))


def turns(row: dict[str, Any], **options: Any) -> list[tuple[str, str]]:
    example = convert(row, **options)
    assert isinstance(example, Example), example
    return [(message.role, message.text) for message in example.messages]


def reason(row: dict[str, Any], **options: Any) -> str:
    refusal = convert(row, **options)
    assert isinstance(refusal, Refusal), refusal
    return refusal.reason


def test_every_format_of_the_recipe_is_in_the_table() -> None:
    wanted = Data.model_fields["format"].annotation.__args__
    assert {"auto", *FORMATS} == set(wanted)


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]},
        {"messages": [{"role": "User", "content": "Q"}, {"role": "ASSISTANT", "content": "A"}]},
        {
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "Q"}]},
                {"role": "assistant", "content": ["A"]},
            ]
        },
        {"messages": json.dumps([{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}])},
        {"conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]},
        {"conversations": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]},
        {"conversation": [{"from": "user", "value": "Q"}, {"from": "chatgpt", "value": "A"}]},
        {"instruction": "Q", "input": "", "output": "A"},
        {"instruction": "", "input": "Q", "response": "A"},
        {"instruction": "Q", "output": "A"},
        {"prompt": "Q", "completion": "A"},
        {"question": "Q", "answer": "A"},
        {"input": "Q", "output": "A"},
        {"query": "Q", "response": "A"},
        {"user": "Q", "assistant": "A"},
        {"Customer Message": "Q", "REPLY": "A"},
        {"customer-message": "Q", "agent_reply": "A"},
        {"id": 7, "input": "Q", "target": "A"},
    ],
)
def test_a_known_shape_is_recognised_by_itself(row: dict[str, Any]) -> None:
    assert turns(row) == QA


def test_instruction_input_history_and_system_make_one_conversation() -> None:
    row = {"instruction": "Q", "input": "I", "output": "A", "system": "S", "history": [["q", "a"]]}
    assert turns(row) == [
        ("system", "S"),
        ("user", "q"),
        ("assistant", "a"),
        ("user", "Q\n\nI"),
        ("assistant", "A"),
    ]


def test_a_system_prompt_beside_the_turns_comes_first() -> None:
    row = {"conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}], "system": "S"}
    assert turns(row) == [("system", "S"), *QA]


def test_tool_calls_stay_with_their_turn() -> None:
    calls = [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    row = {
        "messages": [
            {"role": "user", "content": "Q", "name": None},
            {"role": "assistant", "content": None, "tool_calls": calls},
            {"role": "tool", "content": "42", "tool_call_id": "1"},
            {"role": "assistant", "content": "A"},
        ]
    }
    example = convert(row)
    assert isinstance(example, Example)
    assert [message.extra for message in example.messages] == [
        {},
        {"tool_calls": calls},
        {"tool_call_id": "1"},
        {},
    ]
    assert example.messages[1].text == ""


def test_what_follows_the_last_answer_is_cut_off_and_counted() -> None:
    converter = Converter(Data(sources=("x",)))
    said = [("user", "Q"), ("assistant", "A"), ("user", "thanks")]
    row = {"messages": [{"role": role, "content": text} for role, text in said]}
    example = converter.convert(RawRow(row, Source("x", 1)))
    assert isinstance(example, Example)
    assert [(message.role, message.text) for message in example.messages] == QA
    assert converter.seen.trimmed == 1


def test_numbers_are_text_and_nothing_is_the_empty_text() -> None:
    assert turns({"question": 1, "answer": 2.5}) == [("user", "1"), ("assistant", "2.5")]
    assert turns({"question": True, "answer": None}) == [("user", "true"), ("assistant", "")]


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"messages": [{"role": "user", "content": "Q"}]}, "no_answer"),
        ({"messages": []}, "no_answer"),
        ({"messages": [{"role": "narrator", "content": "Q"}]}, "unknown_role"),
        ({"messages": [{"role": 3, "content": "Q"}]}, "unknown_role"),
        ({"messages": "hello"}, "does_not_fit"),
        ({"messages": {"role": "user"}}, "does_not_fit"),
        ({"messages": ["hello"]}, "does_not_fit"),
        ({"messages": [{"content": "Q"}]}, "does_not_fit"),
        ({"messages": [{"role": "user"}]}, "does_not_fit"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
            "not_text",
        ),
        ({"messages": [{"role": "user", "content": {"a": 1}}]}, "does_not_fit"),
        ({"question": ["Q"], "answer": "A"}, "does_not_fit"),
        ({"question": "Q", "answer": float("nan")}, "does_not_fit"),
        ({"instruction": "Q", "output": "A", "history": "earlier"}, "does_not_fit"),
        ({"instruction": "Q", "output": "A", "history": [["q"]]}, "does_not_fit"),
        ({"text": "Q"}, "unknown_format"),
        ({}, "unknown_format"),
    ],
)
def test_a_row_that_does_not_fit_says_why(row: dict[str, Any], why: str) -> None:
    assert reason(row) == why


def test_a_format_that_is_set_refuses_rows_of_another() -> None:
    assert reason({"question": "Q", "answer": "A"}, format="openai") == "unknown_format"
    assert turns({"instruction": "Q", "output": "A"}, format="completion") == QA


def test_fields_name_the_columns_and_the_context_goes_below_the_prompt() -> None:
    fields = Fields(prompt="frage", answer="antwort", context="text", system="rolle")
    row = {"frage": "Q", "antwort": "A", "text": "T", "rolle": "S", "messages": "not these"}
    assert turns(row, fields=fields) == [("system", "S"), ("user", "Q\n\nT"), ("assistant", "A")]


def test_a_column_of_turns_can_be_named_and_texts_are_not_turns() -> None:
    row = {"verlauf": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}], "text": "not this"}
    assert turns(row, fields=Fields(messages="verlauf")) == QA
    with pytest.raises(ValueError, match="must name at least `messages`"):
        Data(sources=("x",), format="openai", fields=Fields(prompt="a", answer="b"))
    with pytest.raises(ValueError, match="name their columns themselves"):
        Data(sources=("x",), format="translation", fields=Fields(prompt="a", answer="b"))


def test_short_texts_in_other_columns_become_tags_and_the_rest_is_told() -> None:
    converter = Converter(Data(sources=("x",)))
    row = {"question": "Q", "answer": "A", "category": " billing ", "n": 3, "long": "x" * 65, "empty": ""}
    example = converter.convert(RawRow(row, Source("x", 1)))
    assert isinstance(example, Example)
    assert example.tags == {"category": "billing"}
    assert converter.seen.unused == {"n": 1, "long": 1}


def test_a_file_may_mix_formats(write: Write, tmp_path: Path) -> None:
    rows = [
        {"question": "Q1", "answer": "A"},
        {"instruction": "Q2", "output": "A"},
        {"messages": [{"role": "user", "content": "Q3"}, {"role": "assistant", "content": "A"}]},
        {"conversations": [{"from": "human", "value": "Q4"}, {"from": "gpt", "value": "A"}]},
    ]
    prepared = prepare_sources(tmp_path, write("rows.jsonl", "\n".join(map(json.dumps, rows))))
    assert prepared.data["format"]["counts"] == {"completion": 1, "alpaca": 1, "openai": 1, "sharegpt": 1}
    assert prepared.check("formats")["status"] == "note"


def test_columns_nobody_knows_are_named_with_what_to_set(write: Write) -> None:
    path = write("rows.csv", "frage,antwort\nQ,A\n")
    with pytest.raises(DataError) as error:
        prepare_sources(path.parent, path)
    assert error.value.problem == "no row has columns that luthier knows; the columns are `frage`, `antwort`"
    assert "data.fields" in error.value.hint


def test_a_wrong_field_is_told_with_the_nearest_column(write: Write) -> None:
    path = write("rows.csv", "frage,antwort\nQ,A\n")
    with pytest.raises(DataError) as error:
        prepare_sources(path.parent, path, fields={"prompt": "frage", "answer": "antwrt"})
    assert error.value.problem == "no row has the column `antwrt`; the columns are `frage`, `antwort`"
    assert error.value.hint == "did you mean `antwort`?"


def test_the_page_on_formats_names_every_format_and_what_can_be_written() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "data-formats.md").read_text(encoding="utf-8")
    assert {*re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)} == {*FORMATS}
    written = re.findall(r"^\| [a-z ]+ \(.*?\) \| (.*?) \|$", page, re.MULTILINE)
    assert [tuple(re.findall(r"`(\w+)`", cell)) for cell in written] == [*WRITTEN_AS.values()]
