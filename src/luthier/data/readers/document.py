"""A JSON file that is one value: an array of records, or an object that holds them.

The file's text is in memory, its records are not: they are taken off it one by one, so a file that was cut
off still gives the records before the cut.
"""

import json
from collections.abc import Iterator
from typing import Any, NoReturn

from luthier.core.errors import DataError
from luthier.data.encoding import BROKEN
from luthier.data.readers.json_text import complaint, kind, parse
from luthier.data.readers.lines import read_lines
from luthier.data.readers.opened import LONGEST, Opened, shown
from luthier.data.rows import Piece, RawRow, Read, Refusal

BLANK = " \t\r\n"

ONE_ROW = ("messages", "conversations")
"""An object with one of these is itself a row, although it holds a list of objects."""


def read(opened: Opened) -> Iterator[Piece]:
    """Yield the records of a JSON file. Files named .json that hold one object a line are read as JSONL."""
    text = _text(opened)
    start = _skip(text, 0)
    if text[start : start + 1] == "[":
        yield from _items(opened, text, start + 1)
        return
    value = parse(text)
    if isinstance(value, Refusal):
        if text[start : start + 1] == "{" and "\n" in text.strip():
            del text
            yield from read_lines(opened)
            return
        _refuse(opened, f"not valid JSON: {value.detail}", "correct the file at that place")
    yield from _records(opened, value)


def read_named_lines(opened: Opened) -> Iterator[Piece]:
    """Yield the rows of a JSONL file. One that is a JSON array after all is read as that."""
    if _begins_an_array(opened):
        text = _text(opened)
        yield from _items(opened, text, _skip(text, 0) + 1)
    else:
        yield from read_lines(opened)


def _begins_an_array(opened: Opened) -> bool:
    """Say whether the first line opens an array that doesn't close on it, or holds one of objects."""
    first = next((line for line in opened.lines() if line and not line.isspace()), b"")
    text = shown(first[:LONGEST]).strip()
    if not text.startswith("["):
        return False
    value = parse(text)
    if isinstance(value, Refusal):
        return value.reason == "invalid_json"
    return isinstance(value, list) and any(isinstance(item, dict) for item in value)


def _text(opened: Opened) -> str:
    return opened.text(newline="").read().removeprefix("\ufeff")


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in BLANK:
        at += 1
    return at


def _items(opened: Opened, text: str, at: int) -> Iterator[Read]:
    """Yield the items of an array from behind its `[`. What follows a fault is one unreadable row."""
    decode = json.JSONDecoder().raw_decode
    number = 0
    at = _skip(text, at)
    if text[at : at + 1] == "]":
        return
    while True:
        number += 1
        try:
            value, end = decode(text, at)
        except (ValueError, RecursionError) as error:
            yield _fault(opened, text, at, number, error)
            return
        yield _item(opened, number, value, text[at:end])
        end = _skip(text, end)
        if text[end : end + 1] != ",":
            if text[end : end + 1] != "]" or _skip(text, end + 1) < len(text):
                expected = json.JSONDecodeError("Expecting ',' or the end of the list", text, end)
                yield _fault(opened, text, end, number + 1, expected)
            return
        at = _skip(text, end + 1)


def _item(opened: Opened, number: int, value: Any, raw: str) -> Read:
    if BROKEN in raw:
        return opened.unreadable(number, shown(raw), "invalid_encoding", f"not {opened.encoding}")
    if not isinstance(value, dict):
        return opened.unreadable(number, value, "not_an_object", f"a JSON {kind(value)}")
    return RawRow(value, opened.at(number))


def _fault(opened: Opened, text: str, at: int, number: int, error: Exception) -> Read:
    raw = shown(text[at : at + 1000])
    rest = "the rest of the file is not read"
    if isinstance(error, RecursionError):
        line = text.count("\n", 0, at) + 1
        return opened.unreadable(number, raw, "nested_too_deep", f"nested too deep on line {line}; {rest}")
    if isinstance(error, json.JSONDecodeError):
        where = f"{complaint(error)} on line {error.lineno}, column {error.colno}"
        return opened.unreadable(number, raw, "invalid_json", f"{where}; {rest}")
    return opened.unreadable(number, raw, "invalid_json", f"{str(error).partition(';')[0]}; {rest}")


def _records(opened: Opened, value: Any) -> Iterator[Read]:
    if not isinstance(value, dict):
        _refuse(opened, f"holds a single {kind(value)}, not a list of records", "write a list: `[{…}, {…}]`")
    if any(key.lower() in ONE_ROW for key in value):
        yield RawRow(value, opened.at(1))
        return
    for number, record in enumerate(_list_inside(opened, value), start=1):
        if isinstance(record, dict):
            yield RawRow(record, opened.at(number))
        else:
            yield opened.unreadable(number, record, "not_an_object", f"a JSON {kind(record)}")


def _list_inside(opened: Opened, value: dict[str, Any]) -> list[Any]:
    """Return the records of `{"data": [{…}]}`, `{"prompt": […], "answer": […]}`, `{"id": {…}}`, or one."""
    lists = {key: item for key, item in value.items() if isinstance(item, list) and item}
    of_records = [key for key, item in lists.items() if isinstance(item[0], dict)]
    if len(of_records) == 1:
        records: list[Any] = lists[of_records[0]]
        return records
    if of_records:
        names = ", ".join(f"`{key}`" for key in of_records)
        _refuse(opened, f"holds several lists of records: {names}", "write each into a file of its own")
    if len(lists) > 1 and len(lists) == len(value) and len({len(item) for item in lists.values()}) == 1:
        return [dict(zip(lists, cells, strict=True)) for cells in zip(*lists.values(), strict=True)]
    if value and all(isinstance(item, dict) for item in value.values()):
        return [*value.values()]
    if lists and len(lists) == len(value):
        _refuse(
            opened,
            "an object of lists that are no columns: their lengths differ",
            "write a list: `[{…}, {…}]`",
        )
    return [value] if value else []


def _refuse(opened: Opened, problem: str, hint: str) -> NoReturn:
    raise DataError(problem, hint=hint, place=opened.name)
