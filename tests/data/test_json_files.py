import json

import pytest
from data_files import Write, read_file

from luthier.core.errors import DataError
from luthier.data.rows import RawRow, Refusal, Unreadable


def test_a_bad_line_costs_one_row_and_is_told_with_its_line(write: Write) -> None:
    items = read_file(write("rows.jsonl", '{"a": 1}\n\n{"a": \n  \n{"a": 3}\n'))
    assert [item.source.line for item in items] == [1, 3, 5]
    assert isinstance(items[1], Unreadable)
    assert items[1].refusal == Refusal("invalid_json", "expecting value at column 6")


def test_what_only_the_standard_parser_reads_is_read(write: Write) -> None:
    items = read_file(write("rows.jsonl", '{"a": NaN}\n{"a": "\\ud800"}\n\ufeff{"a": 1, "a": 2}\n'))
    assert [item.row["a"] for item in items[1:] if isinstance(item, RawRow)] == ["\ud800", 2]


def test_one_damaged_byte_costs_one_line_of_a_utf8_file(write: Write) -> None:
    good = json.dumps({"a": "für Änderung"}, ensure_ascii=False).encode() + b"\n"
    items = read_file(write("rows.jsonl", good * 3 + b'{"a": "\xff"}\n' + good))
    assert [isinstance(item, RawRow) for item in items] == [True, True, True, False, True]
    assert isinstance(items[3], Unreadable)
    assert items[3].refusal.reason == "invalid_encoding"


def test_utf16_lines_are_read_with_their_numbers(write: Write) -> None:
    items = read_file(write("rows.jsonl", '{"a": "é"}\r\nbad\r\n{"a": 2}\r\n'.encode("utf-16")))
    assert [(isinstance(item, RawRow), item.source.line) for item in items] == [
        (True, 1),
        (False, 2),
        (True, 3),
    ]


@pytest.mark.parametrize(
    "text",
    [
        '[{"a": 1}, {"a": 2}]',
        ' \n[\n {"a": 1},\n {"a": 2}\n]\n',
        '{"data": [{"a": 1}, {"a": 2}]}',
        '{"canary": "x", "examples": [{"a": 1}, {"a": 2}]}',
        '{"x": {"a": 1}, "y": {"a": 2}}',
        '{"a": 1}\n{"a": 2}\n',
    ],
)
def test_the_shapes_of_a_json_file_give_the_same_rows(write: Write, text: str) -> None:
    items = read_file(write("rows.json", text))
    assert [(item.row["a"], item.source.line) for item in items if isinstance(item, RawRow)] == [
        (1, 1),
        (2, 2),
    ]


def test_columns_of_equal_length_are_rows(write: Write) -> None:
    items = read_file(write("rows.json", '{"prompt": ["a", "b"], "answer": ["c", "d"]}'))
    assert [item.row for item in items if isinstance(item, RawRow)] == [
        {"prompt": "a", "answer": "c"},
        {"prompt": "b", "answer": "d"},
    ]


def test_one_conversation_is_one_row(write: Write) -> None:
    [item] = read_file(write("rows.json", '{"messages": [{"role": "user", "content": "hi"}]}'))
    assert isinstance(item, RawRow)
    assert [*item.row] == ["messages"]


def test_a_jsonl_file_that_is_an_array_is_read_as_one(write: Write) -> None:
    assert len(read_file(write("rows.jsonl", '[\n{"a": 1},\n{"a": 2}\n]'))) == 2
    assert len(read_file(write("more.jsonl", '[{"a": 1}, {"a": 2}]\n'))) == 2


def test_an_array_that_was_cut_off_gives_what_came_before(write: Write) -> None:
    items = read_file(write("rows.json", '[\n{"a": 1},\n{"a": 2},\n{"a": "thr'))
    assert [isinstance(item, RawRow) for item in items] == [True, True, False]
    assert isinstance(items[2], Unreadable)
    assert items[2].refusal.detail == (
        "unterminated string starting on line 4, column 7; the rest of the file is not read"
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"a": 1', "not valid JSON: expecting ',' delimiter at column 8"),
        ("42", "holds a single number, not a list of records"),
        ('{"train": [{"a": 1}], "test": [{"a": 2}]}', "holds several lists of records: `train`, `test`"),
        ('{"x": [["a", "b"]], "y": [["c", "d"], ["e", "f"]]}', "their lengths differ"),
    ],
)
def test_a_json_file_of_another_shape_is_refused_in_words(write: Write, text: str, problem: str) -> None:
    path = write("rows.json", text)
    with pytest.raises(DataError) as error:
        read_file(path)
    assert problem in error.value.problem
    assert error.value.place == str(path)
