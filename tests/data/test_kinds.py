"""Every kind of file gives the rows that were put into it."""

import bz2
import gzip
import io
import json
import lzma
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import zstandard
from data_files import Write, prepare_sources, read_file, read_files
from made_files import workbook, zipped

from luthier.core.errors import DataError, MissingExtra
from luthier.data.read import open_source, read
from luthier.data.readers import packed, plain
from luthier.data.rows import RawRow, Unreadable
from luthier.data.sources import find_files

ROWS = [{"prompt": "Where is it?", "answer": "Hier, „unten“"}, {"prompt": "Und jetzt?", "answer": "Oben\nlinks"}]
JSONL = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS).encode()
CSV = 'prompt,answer\nWhere is it?,"Hier, „unten“"\nUnd jetzt?,"Oben\nlinks"\n'.encode()
JSON = json.dumps(ROWS).encode()


def table(write: Callable[[pl.DataFrame, io.BytesIO], object]) -> bytes:
    target = io.BytesIO()
    write(pl.DataFrame(ROWS), target)
    return target.getvalue()


PARQUET = table(pl.DataFrame.write_parquet)
FEATHER = table(pl.DataFrame.write_ipc)
STREAM = table(pl.DataFrame.write_ipc_stream)
SHEET = workbook({"Rows": [["prompt", "answer"], *([row["prompt"], row["answer"]] for row in ROWS)]})

PACKED: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": zstandard.compress,
}
TEXTS = {"jsonl": JSONL, "ndjson": JSONL, "json": JSON, "csv": CSV}
TABLES = {"parquet": PARQUET, "feather": FEATHER, "arrow": STREAM, "xlsx": SHEET}


@contextmanager
def most_memory() -> Iterator[Callable[[], int]]:
    """Give a function that says, afterwards, how many bytes Python held at most."""
    peaks: list[int] = []
    tracemalloc.start()
    try:
        yield peaks.pop
    finally:
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()


def rows_of(path: Path) -> list[dict[str, Any]]:
    items = read_file(path)
    assert all(isinstance(item, RawRow) for item in items)
    return [item.row for item in items if isinstance(item, RawRow)]


@pytest.mark.parametrize("kind", [*TEXTS, *TABLES])
def test_a_file_is_read_as_it_is_packed_and_whatever_its_name(kind: str, write: Write) -> None:
    content = {**TEXTS, **TABLES}[kind]
    assert rows_of(write(f"rows.{kind}", content)) == ROWS
    for name, pack in PACKED.items():
        assert rows_of(write(f"rows.{kind}.{name}", pack(content))) == ROWS
    assert rows_of(write("rows.zip", zipped({f"rows.{kind}": content}))) == ROWS
    assert rows_of(write("rows.dat", content)) == ROWS
    assert rows_of(write("rows", gzip.compress(content))) == ROWS


def test_what_was_not_in_the_name_is_told(write: Write) -> None:
    told = {"rows": "no extension: read as `.jsonl` by its content", "rows.dat": "`.dat` says nothing"}
    for name, what in told.items():
        [file] = find_files([str(write(name, JSONL))])
        assert file.told.startswith(what)
    [file] = find_files([str(write("rows.csv", PARQUET))])
    assert file.told == "it is `.parquet`, whatever its name says"


def test_members_of_a_zip_are_files_with_places_of_their_own(write: Write, tmp_path: Path) -> None:
    inside = {
        "b.jsonl": JSONL,
        "deep/c.csv.gz": gzip.compress(CSV),
        "../../d.json": JSON,
        "__MACOSX/._b.jsonl": b"x",
        ".hidden.csv": b"x",
        "readme.txt": b"Read me",
    }
    found = read_files(write("a.zip", zipped(inside)))
    assert [str(item.source).removeprefix(f"{tmp_path}/") for item in found] == [
        "a.zip/b.jsonl:1",
        "a.zip/b.jsonl:2",
        "a.zip/deep/c.csv.gz:2",
        "a.zip/deep/c.csv.gz:3",
        "a.zip/../../d.json:1",
        "a.zip/../../d.json:2",
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


def test_nested_columns_are_lists_and_objects_and_dates_are_text(write: Write) -> None:
    frame = pl.DataFrame(
        {
            "messages": [[{"role": "user", "content": "Hi"}]],
            "day": [date(2024, 2, 29)],
            "whole": [Decimal("18.00")],
            "part": [Decimal("0.5")],
            "number": [2**40],
            "share": [0.25],
            "text": [b"bytes"],
            "picture": [b"\xff\xd8"],
            "nothing": [None],
        }
    )
    target = io.BytesIO()
    frame.write_parquet(target)
    [row] = rows_of(write("rows.parquet", target.getvalue()))
    assert json.loads(json.dumps(row)) == {
        "messages": [{"role": "user", "content": "Hi"}],
        "day": "2024-02-29",
        "whole": 18,
        "part": 0.5,
        "number": 2**40,
        "share": 0.25,
        "text": "bytes",
        "picture": None,
        "nothing": None,
    }


@pytest.mark.parametrize("kind", ["parquet", "feather", "arrow"])
def test_rows_of_a_table_keep_their_numbers_over_many_batches(kind: str, write: Write) -> None:
    frame = pl.DataFrame({"n": range(10_000)})
    target = io.BytesIO()
    if kind == "parquet":
        frame.write_parquet(target, row_group_size=3000)
    elif kind == "feather":
        frame.write_ipc(target, record_batch_size=3000)
    else:
        frame.write_ipc_stream(target)
        more = io.BytesIO()
        pl.concat([frame[:4000], frame[4000:]], rechunk=False).write_ipc_stream(more)
        target = more
    items = read_file(write(f"rows.{kind}", target.getvalue()))
    assert [(item.row["n"] + 1, item.source.line) for item in items if isinstance(item, RawRow)] == [
        (number, number) for number in range(1, 10_001)
    ]


def test_a_workbook_gives_its_visible_sheets_with_the_rows_it_shows(write: Write, tmp_path: Path) -> None:
    first = [["prompt", "answer", "when"], ["Q", 18, 45000], [], ["R", 2.5, None], ["S", True, None]]
    second = [[], [], ["prompt", "answer"], ["T", "x < y"]]
    path = write("a.xlsx", workbook({"One": first, "Old": [["x"]], "Two": second}, hidden="Old", dates="C"))
    [file] = find_files([str(path)])
    opened = open_source(file)
    items = [item for item in read(opened) if isinstance(item, RawRow)]
    assert [str(item.source).removeprefix(f"{tmp_path}/") for item in items] == [
        "a.xlsx/One:2",
        "a.xlsx/One:4",
        "a.xlsx/One:5",
        "a.xlsx/Two:4",
    ]
    assert [item.row for item in items] == [
        {"prompt": "Q", "answer": "18", "when": "2023-03-15 00:00:00"},
        {"prompt": "R", "answer": "2.5", "when": ""},
        {"prompt": "S", "answer": "true", "when": ""},
        {"prompt": "T", "answer": "x < y"},
    ]
    assert "the hidden sheet `Old` is not read" in opened.told
    assert [item.source.line for item in read(open_source(file, sheets=("Two",)))] == [4]


def test_a_sheet_that_is_not_there_is_told_with_the_nearest(write: Write) -> None:
    [file] = find_files([str(write("a.xlsx", workbook({"Tickets": [["a"], ["b"]]})))])
    with pytest.raises(DataError, match="no sheet `Tikets`") as error:
        list(read(open_source(file, sheets=("Tikets",))))
    assert error.value.hint == "did you mean `Tickets`?"


def test_a_page_is_a_document_of_what_people_read_on_it(write: Write, tmp_path: Path) -> None:
    page = """<!DOCTYPE html><html><head><title>Rain</title><style>p {color: red}</style></head><body>
        <h1>Rain &amp; wind</h1><p>It <b>rained</b>.</p><script>alert(1)</script><ul><li>one<li>two</ul></html>"""
    [file] = find_files([str(write("page.html", page))], rows="text")
    [item] = read(open_source(file))
    assert isinstance(item, RawRow)
    assert item.row["title"] == "Rain"
    assert item.row["text"].split() == "Rain & wind It rained . one two".replace("rained .", "rained.").split()
    assert prepare_sources(tmp_path, tmp_path / "page.html", rows="text").data["rows"]["kept"] == 1


def test_a_document_longer_than_a_row_may_be_is_several_rows_cut_at_lines(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plain, "LONGEST", 20)
    text = "one two three\nfour five\nsix\n" + "x" * 25 + "\nseven"
    [file] = find_files([str(write("book.txt", text))], rows="text")
    opened = open_source(file)
    items = [item for item in read(opened) if isinstance(item, RawRow)]
    assert "".join(item.row["text"] for item in items) == text
    assert [item.source.line for item in items] == [1, 2, 4, 4]
    assert [*opened.told] == ["longer than 20 characters, so it is several rows"]


@pytest.mark.parametrize("packing", PACKED)
@pytest.mark.parametrize("kind", ["jsonl", "json", "csv"])
def test_rows_before_the_damage_are_kept_and_the_damage_is_one_row(packing: str, kind: str, write: Write) -> None:
    lines = [f"{number * 7919 % 10_007} {number * 104_729 % 9973}" for number in range(40_000)]
    if kind == "csv":
        text = "n\n" + "\n".join(lines)
    elif kind == "json":
        text = json.dumps([{"n": line} for line in lines])
    else:
        text = "\n".join(json.dumps({"n": line}) for line in lines)
    content = bz2.compress(text.encode(), 1) if packing == "bz2" else PACKED[packing](text.encode())
    items = read_file(write(f"rows.{kind}.{packing}", content[: len(content) * 3 // 4]))
    *good, damage = items
    assert isinstance(damage, Unreadable)
    assert damage.refusal.reason == "damaged"
    assert [item.row["n"] for item in good if isinstance(item, RawRow)] == lines[: len(good)]
    assert len(good) > 10_000


def test_a_file_that_unpacks_without_end_is_stopped(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "FREE", 1_000_000)
    for name, pack in PACKED.items():
        [file] = find_files([str(write(f"rows.jsonl.{name}", pack(bytes(40_000_000))))])
        with most_memory() as most, pytest.raises(DataError, match="unpacks to more than 250 times its size"):
            open_source(file)
        assert most() < 20_000_000  # xz alone needs 8 MB a stream


@pytest.mark.parametrize("kind", ["json", "jsonl.gz", "csv.gz", "json.zst"])
def test_memory_stays_flat_however_many_rows(kind: str, write: Write) -> None:
    def peak(rows: int) -> int:
        table = [{"prompt": f"What is {number * 7919}?" * 9, "answer": f"{number}." * 40} for number in range(rows)]
        if kind.startswith("csv"):
            text = "prompt,answer\n" + "".join(f"{row['prompt']},{row['answer']}\n" for row in table)
        elif kind.startswith("jsonl"):
            text = "".join(f"{json.dumps(row)}\n" for row in table)
        else:
            text = json.dumps(table)
        pack = PACKED.get(kind.rpartition(".")[2], bytes)
        [file] = find_files([str(write(f"{rows}.{kind}", pack(text.encode())))])
        with most_memory() as most:
            assert sum(isinstance(item, RawRow) for item in read(open_source(file))) == rows
        return most()

    assert peak(16_000) < peak(4_000) + 500_000


def test_a_table_without_names_gets_some_and_says_so(write: Write) -> None:
    [file] = find_files([str(write("sums.tsv", "What is one and one?\t2\nWhat is two and two?\t4\nAnd three?\t6\n"))])
    opened = open_source(file)
    rows = [item.row for item in read(opened) if isinstance(item, RawRow)]
    assert rows[0] == {"column 1": "What is one and one?", "column 2": "2"}
    assert len(rows) == 3
    assert "no line names the columns: they are `column 1`, `column 2`, …" in opened.told
    assert len(list(read(open_source(file, header=True)))) == 2


def test_what_the_recipe_says_about_the_header_is_done(write: Write, tmp_path: Path) -> None:
    path = write("rows.csv", "What is it,A thing\nAnd that,Another\n")
    fields = {"prompt": "column 1", "answer": "column 2"}
    assert prepare_sources(tmp_path, path, header=False, fields=fields).data["rows"]["kept"] == 2


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("prompt,answer\nHow?,So.\n", True),
        ("text,label\nI lost it,lost\nIt was stolen,lost\n", True),
        ("I lost it,lost\nIt was stolen,stolen\nIt is gone,lost\nGone,lost\n", False),
        ("How many?,12\nAnd now?,13\n", False),
        ("year,2023\nrain,much\n", True),
        ("Where do I find the key?,Below the mat.\nWho has it?,Nobody.\n", False),
        ("What is your name?,What do you need?\nAnn,A lamp\nBen,A bed\n", True),
        ("a,b\n1,2\na,b\n3,4\n", True),
        ("id,text\n1,x\n2,y\n", True),
        (f"{'long ' * 30},x\nshort,y\n", False),
    ],
)
def test_a_header_is_told_from_a_row(text: str, named: bool, write: Write) -> None:
    [first, *_] = rows_of(write("rows.csv", text))
    assert ("column 1" not in first) == named


def test_quotation_marks_in_a_table_with_tabs_are_text_where_they_can_be_nothing_else(write: Write) -> None:
    path = write("rows.tsv", 'text\tlabel\n"Go!" he said\tquote\nSay "no"\tquote\n"Never\tquote\n')
    assert [row["text"] for row in rows_of(path)] == ['"Go!" he said', 'Say "no"', '"Never']


@pytest.mark.parametrize(
    ("package", "name", "content"),
    [
        ("polars", "a.parquet", PARQUET),
        ("fastexcel", "a.xlsx", SHEET),
        ("zstandard", "a.jsonl.zst", PACKED["zst"](JSONL)),
    ],
)
def test_a_missing_package_is_told_with_what_to_type(
    package: str, name: str, content: bytes, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtra, match=f"needs the package `{package}`") as error:
        read_file(write(name, content))
    assert error.value.hint == "type `pip install 'luthier[data]'`"


SPECTRUM = Path(__file__).parents[3] / "shared" / "data" / "csv_spectrum"


@pytest.mark.skipif(not SPECTRUM.is_dir(), reason="the collection is not on this machine")
@pytest.mark.parametrize("path", sorted(SPECTRUM.glob("*.csv")), ids=lambda path: path.stem)
def test_the_collection_of_csv_cases_reads_as_its_json_says(path: Path) -> None:
    if path.stem == "newlines_crlf":
        pytest.skip("its JSON says CRLF where the file has LF")
    assert rows_of(path) == json.loads(path.with_suffix(".json").read_text())
