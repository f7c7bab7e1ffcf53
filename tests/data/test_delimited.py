import csv
import io
import json
from typing import TYPE_CHECKING

import pytest
from data_files import Write, read_file
from hypothesis import given
from hypothesis import strategies as st

from luthier.data.readers import delimited
from luthier.data.readers.dialect import DELIMITERS
from luthier.data.rows import RawRow, Unreadable

if TYPE_CHECKING:
    from pathlib import Path

SPECTRUM = [
    ('first,address\nJohn,"Anytown, WW"\n', [{"first": "John", "address": "Anytown, WW"}]),
    ('a,b\n1,""\n2,3\n', [{"a": "1", "b": ""}, {"a": "2", "b": "3"}]),
    ('a,b\r\n1,""\r\n2,3\r\n', [{"a": "1", "b": ""}, {"a": "2", "b": "3"}]),
    ('a,b\n1,"ha ""ha"" ha"\n3,4\n', [{"a": "1", "b": 'ha "ha" ha'}, {"a": "3", "b": "4"}]),
    ('key,val\n1,"{""x"": [1, 2]}"\n', [{"key": "1", "val": '{"x": [1, 2]}'}]),
    ('a,b\n"once \nupon",2\n7,8\n', [{"a": "once \nupon", "b": "2"}, {"a": "7", "b": "8"}]),
    ('a,b\r\n"once \r\nupon",2\r\n7,8\r\n', [{"a": "once \r\nupon", "b": "2"}, {"a": "7", "b": "8"}]),
    ('a,b\n1,"ha \n""ha"" \nha"\n3,4\n', [{"a": "1", "b": 'ha \n"ha" \nha'}, {"a": "3", "b": "4"}]),
    ("a,b\n4,ʤ\n", [{"a": "4", "b": "ʤ"}]),
    ("a,b\n1,2", [{"a": "1", "b": "2"}]),
    ("a;b\n1,5;2,5\n", [{"a": "1,5", "b": "2,5"}]),
    ("a\tb\n1, x\ty|z\n", [{"a": "1, x", "b": "y|z"}]),
    ("a|b\nx, y|z\n", [{"a": "x, y", "b": "z"}]),
    ("sep=;\na;b\n1,2;3\n", [{"a": "1,2", "b": "3"}]),
    ("a\nx\ny\n", [{"a": "x"}, {"a": "y"}]),
    ("\n\na,b\n1,2\n\n", [{"a": "1", "b": "2"}]),
    ("a,a,\n1,2,3\n", [{"a": "1", "a (2)": "2", "column 3": "3"}]),
    ("a,b\n1,2,,\n", [{"a": "1", "b": "2"}]),
    ('a,b\n6" pipe,ok\n', [{"a": '6" pipe', "b": "ok"}]),
]


@pytest.mark.parametrize(("text", "rows"), SPECTRUM)
def test_the_csv_spectrum_reads_as_it_is_meant(write: Write, text: str, rows: list[dict[str, str]]) -> None:
    assert [item.row for item in read_file(write("rows.csv", text)) if isinstance(item, RawRow)] == rows


def test_line_numbers_count_through_cells_of_several_lines(write: Write) -> None:
    items = read_file(write("rows.csv", 'a,b\n"x\ny\nz",1\n\nq,2\n"r\ns",3,4\nt,5\n'))
    assert [item.source.line for item in items] == [2, 6, 7, 9]


def test_an_unclosed_quote_costs_its_line_and_no_other(write: Write) -> None:
    items = read_file(write("rows.csv", 'a,b\n1,ok\n2,"never closed\n3,fine\n4,fine too\n'))
    assert [(type(item), item.source.line) for item in items] == [
        (RawRow, 2),
        (Unreadable, 3),
        (RawRow, 4),
        (RawRow, 5),
    ]
    assert isinstance(items[1], Unreadable)
    assert items[1].refusal.reason == "broken_quotes"
    assert items[1].raw == '2,"never closed'


def test_an_unclosed_quote_is_given_up_after_more_lines_than_a_cell_has(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delimited, "MOST_LINES", 5)
    text = 'a,b\n1,"open\n' + "".join(f"{n},x\n" for n in range(20)) + '9,"closed"\n'
    items = read_file(write("rows.csv", text))
    assert [isinstance(item, RawRow) for item in items] == [False] + [True] * 21


def test_a_quote_inside_a_quoted_cell_is_told_and_not_guessed(write: Write) -> None:
    [bad, good] = read_file(write("rows.csv", 'a,b\n1,"he said "hi" to me"\n2,ok\n'))
    assert isinstance(bad, Unreadable)
    assert bad.refusal.reason == "broken_quotes"
    assert isinstance(good, RawRow)


def test_too_few_and_too_many_cells_are_told(write: Write) -> None:
    items = read_file(write("rows.csv", "a,b\n1\n1,2,3\n1,2\n"))
    assert [item.refusal.detail for item in items if isinstance(item, Unreadable)] == [
        "1 cell, the header has 2 columns",
        "3 cells, the header has 2 columns",
    ]


def test_the_delimiter_is_not_fooled_by_what_stands_inside_the_cells(write: Write) -> None:
    text = "question;answer\n" + 'Hi, I, you, we;"One, two; three, four"\n' * 20
    items = read_file(write("rows.csv", text))
    assert {tuple(item.row) for item in items if isinstance(item, RawRow)} == {("question", "answer")}


cells = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
tables = st.integers(2, 4).flatmap(
    lambda width: st.lists(st.lists(cells, min_size=width, max_size=width), min_size=1, max_size=8)
)


@given(table=tables, delimiter=st.sampled_from(DELIMITERS), end=st.sampled_from(["\n", "\r\n"]))
def test_what_the_csv_module_writes_is_read_back(
    table: list[list[str]], delimiter: str, end: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    names = [f"column_{index}" for index in range(len(table[0]))]
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL)
    writer.writerows([names, *table])
    path: Path = tmp_path_factory.mktemp("csv") / "rows.csv"
    path.write_bytes(buffer.getvalue().encode())
    rows = [[*item.row.values()] for item in read_file(path) if isinstance(item, RawRow)]
    assert json.dumps(rows) == json.dumps(table)
