import json

import pytest
from data_files import Write, read_file
from hypothesis import given
from hypothesis import strategies as st

from luthier.core.errors import DataError
from luthier.data.readers import window
from luthier.data.rows import RawRow, Read, Refusal, Unreadable


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


def test_columns_under_the_numbers_of_their_rows_are_rows(write: Write) -> None:
    text = '{"prompt": {"0": "a", "2": "b"}, "answer": {"0": "c", "2": "d"}}'
    rows = [item.row for item in read_file(write("frame.json", text)) if isinstance(item, RawRow)]
    assert rows == [{"prompt": "a", "answer": "c"}, {"prompt": "b", "answer": "d"}]
    under_ids = read_file(write("ids.json", '{"7": {"0": "a", "1": "b"}, "9": {"0": "c", "1": "d"}}'))
    assert [item.row for item in under_ids if isinstance(item, RawRow)] == [{"0": "a", "1": "b"}, {"0": "c", "1": "d"}]


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
        ('{"a": 1', "not valid JSON: expecting ',' delimiter on line 1, column 8"),
        ("42", "holds a single number, not a list of records"),
        ('{"x": ["a"], "y": ["c", "d"]}', "their lengths differ"),
    ],
)
def test_a_json_file_of_another_shape_is_refused_in_words(write: Write, text: str, problem: str) -> None:
    path = write("rows.json", text)
    with pytest.raises(DataError) as error:
        read_file(path)
    assert problem in error.value.problem
    assert error.value.place == str(path)


def rows_of(items: list[Read]) -> list[dict[str, object]]:
    assert all(isinstance(item, RawRow) for item in items)
    return [item.row for item in items if isinstance(item, RawRow)]


def test_lists_of_an_object_are_read_held_out_ones_first_and_name_their_rows(write: Write) -> None:
    records = read_file(write("rows.json", '{"train": [{"a": 1}, {"a": 2}], "test": [{"a": 3}]}'))
    assert rows_of(records) == [{"a": 3, "split": "test"}, {"a": 1, "split": "train"}, {"a": 2, "split": "train"}]
    pairs = read_file(
        write("more.json", '{"train": [["hi", "greeting"], ["hey", "greeting"]], "test": [["bye", "parting"]]}')
    )
    assert rows_of(pairs) == [
        {"column 1": "bye", "column 2": "parting", "split": "test"},
        {"column 1": "hi", "column 2": "greeting", "split": "train"},
        {"column 1": "hey", "column 2": "greeting", "split": "train"},
    ]


def test_a_damaged_record_on_lines_of_its_own_costs_itself_and_no_other(write: Write) -> None:
    text = json.dumps([{"a": {"b": 1}}, {"a": {"b": 2}}, {"a": {"b": 3}}], indent=1)
    items = read_file(write("rows.json", text.replace('"b": 2', '"b" 2')))
    assert [(isinstance(item, RawRow), item.source.line) for item in items] == [(True, 1), (False, 2), (True, 3)]


def test_a_record_inside_another_is_never_taken_for_one(write: Write) -> None:
    text = json.dumps([{"a": [{"b": 1}]}, {"a": [{"b": 2}]}, {"a": [{"b": 3}]}], indent=0)
    items = read_file(write("rows.json", text.replace('"b": 2', '"b" 2')))
    assert [isinstance(item, RawRow) for item in items] == [True, False]


@pytest.mark.parametrize(
    "text",
    ['[{"a": 1}, {"a": 2},]', '[{"a": 1}\n{"a": 2}]', '[{"a": 1}]\n[{"a": 2}]', '{\n"a": 1}\n{\n"a": 2}\n'],
)
def test_records_with_something_wrong_between_them_are_read(write: Write, text: str) -> None:
    assert rows_of(read_file(write("rows.json", text))) == [{"a": 1}, {"a": 2}]


@given(
    rows=st.lists(st.dictionaries(st.text(max_size=4), st.text(max_size=30) | st.integers() | st.none(), max_size=3)),
    indent=st.sampled_from([None, 0, 1, "\t"]),
)
def test_an_array_is_read_through_a_window_of_any_size(
    rows: list[dict[str, object]], indent: int | str | None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("array") / "rows.json"
    path.write_text(json.dumps(rows, indent=indent))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(window, "CHUNK", 3)
        assert rows_of(read_file(path)) == rows


@pytest.mark.parametrize(
    ("name", "content"), [("pairs.json", '[["Q", "A"], ["q", "a"]]'), ("pairs.jsonl", '["Q", "A"]\n["q", "a"]')]
)
def test_a_list_of_pairs_of_texts_is_a_table_without_a_header(name: str, content: str, write: Write) -> None:
    assert rows_of(read_file(write(name, content))) == [
        {"column 1": "Q", "column 2": "A"},
        {"column 1": "q", "column 2": "a"},
    ]
