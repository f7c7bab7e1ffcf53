"""A JSON file: an array of records, or an object that holds them.

Records of an array are taken off the file one by one, so its size doesn't matter, and one that was cut off still gives
the records before the cut. Where each record begins on a line of its own, a damaged one costs itself and no other.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NoReturn

from luthier.core.errors import DataError
from luthier.data.encoding import BROKEN
from luthier.data.readers.json_text import complaint, kind, parse
from luthier.data.readers.lines import read_lines
from luthier.data.readers.nested import are_cells, named, records_of
from luthier.data.readers.opened import LONGEST, Opened, shown
from luthier.data.readers.window import TooLongError, Window
from luthier.data.rows import Piece, RawRow, Read, Refusal, Unreadable

LONGEST_OBJECT = 256_000_000
"""Characters of an object that is the whole file: which of its parts are records is known when all of it is."""

FAULTS = (ValueError, RecursionError, TooLongError)


def read(opened: Opened) -> Iterator[Piece]:
    """Yield the records of a JSON file. Files named .json that hold one object a line are read as JSONL.

    Raises:
        DataError: It is no JSON, or holds something else than records.
        DamagedError: The file ends early.
    """
    window = Window(opened.binary(), opened.encoding)
    first = window.peek()
    if first == "[":
        window.take("[")
        yield from _items(opened, window, 0)
        return
    window.longest = LONGEST_OBJECT
    try:
        value, raw = window.value()
    except FAULTS as error:
        if first == "{" and "\n" in window.text[window.at :].strip():
            yield from read_lines(opened)
            return
        _refuse(opened, f"not valid JSON: {_said(error, window)}", "correct the file at that place")
    line = window.line_and_column(window.at)[0]
    follows = window.peek()
    if isinstance(value, dict) and "\n" not in raw and follows and window.line_and_column(window.at)[0] > line:
        yield from read_lines(opened)
    elif isinstance(value, dict) and follows == "{":
        yield _item(opened, 1, value, raw)
        window.longest = LONGEST
        yield from _items(opened, window, 1)
    elif follows:
        extra = json.JSONDecodeError("Extra data", window.text, window.at)
        _refuse(opened, f"not valid JSON: {_said(extra, window)}", "correct the file at that place")
    else:
        yield from _records(opened, value, raw)


def read_named_lines(opened: Opened) -> Iterator[Piece]:
    """Yield the rows of a JSONL file. One that is a JSON document after all is read as that."""
    if _is_one_document(opened):
        opened.tell("one JSON document, not one a line")
        yield from read(opened)
    else:
        yield from read_lines(opened)


def _is_one_document(opened: Opened) -> bool:
    """Say whether the first line opens an array or an object that doesn't close on it, or holds an array of objects."""
    first = next((line for line in opened.lines() if line and not line.isspace()), b"")
    text = shown(first[:LONGEST]).strip().removeprefix("\ufeff")
    if text == "{":
        return True
    if not text.startswith("["):
        return False
    value = parse(text)
    if isinstance(value, Refusal):
        return value.reason == "invalid_json"
    return isinstance(value, list) and any(isinstance(item, dict) for item in value)


def _items(opened: Opened, window: Window, number: int) -> Iterator[Read]:
    """Yield the items of an array from behind its `[`, or objects that follow `number` others without one.

    What stands behind a fault from which there is no way back is one unreadable row with it.
    """
    listed, fresh = number == 0, number == 0
    mark = _Mark()
    while (missing := _between(opened, window, listed=listed, fresh=fresh)) is None:
        number += 1
        start = mark.before(window)
        try:
            value, raw = window.value()
        except FAULTS as error:
            fault = _fault(opened, window, number, error)
            window.at += 1
            if mark.text is None or not window.find(mark.text):
                yield _and_the_rest(fault)
                return
            yield fault
            fresh = True
        else:
            mark.learn(start, raw)
            yield _item(opened, number, value, raw)
            fresh = False
    if missing:
        expected = json.JSONDecodeError(f"Expecting {missing}", window.text, window.at)
        yield _and_the_rest(_fault(opened, window, number + 1, expected))


def _between(opened: Opened, window: Window, *, listed: bool, fresh: bool) -> str | None:
    """Go past what stands before an item. Return None where one comes, "" at the end, else what should come instead.

    Args:
        opened: The file.
        window: Where reading stands.
        listed: Whether the items are those of an array.
        fresh: Whether no item came before, so that there is nothing to separate.
    """
    comma = not fresh and window.take(",")
    sign = window.peek()
    while listed and sign == "]":
        if comma:
            opened.tell("a comma too many at the end of the list")
        window.take("]")
        if not window.take("["):
            return "the end of the file" if window.peek() else ""
        opened.tell("several lists, one after the other")
        comma, fresh, sign = False, True, window.peek()
    if not sign and not listed:
        return ""
    if fresh or comma or not listed:
        return None
    if sign != "{":
        return "',' or the end of the list"
    opened.tell("commas between the records are missing")
    return None


class _Mark:
    """What every record begins with where it has a line of its own: a line end, blanks and `{`."""

    def __init__(self) -> None:
        self.text: str | None = None
        self._useless = False

    def before(self, window: Window) -> str | None:
        """Return what the record that comes next begins with, if it has a line of its own."""
        line = window.text.rfind("\n", 0, window.at)
        blank = window.text[line : window.at]
        return f"{blank}{{" if line >= 0 and not blank.strip() and window.peek() == "{" else None

    def learn(self, start: str | None, raw: str) -> None:
        """Take in a good record: records may be found by a mark unless it also stands within them."""
        self._useless = self._useless or start is None or start in raw
        self.text = None if self._useless else start


def _item(opened: Opened, number: int, value: Any, raw: str) -> Read:
    if BROKEN in raw:
        return opened.unreadable(number, shown(raw), "invalid_encoding", f"not {opened.encoding}")
    if are_cells(value):
        value = named(value)
    if not isinstance(value, dict):
        return opened.unreadable(number, value, "not_an_object", f"a JSON {kind(value)}")
    return RawRow(value, opened.at(number))


def _fault(opened: Opened, window: Window, number: int, error: Exception) -> Unreadable:
    raw = shown(window.text[window.at : window.at + 1000])
    reasons = {RecursionError: "nested_too_deep", TooLongError: "too_long"}
    return opened.unreadable(number, raw, reasons.get(type(error), "invalid_json"), _said(error, window))


def _and_the_rest(fault: Unreadable) -> Unreadable:
    reason, detail, _ = fault.refusal
    return replace(fault, refusal=Refusal(reason, f"{detail}; the rest of the file is not read"))


def _said(error: Exception, window: Window) -> str:
    """Return what is wrong, and where."""
    if isinstance(error, json.JSONDecodeError):
        line, column = window.line_and_column(error.pos)
        return f"{complaint(error)} on line {line + 1}, column {column + 1}"
    line, _ = window.line_and_column(window.at)
    if isinstance(error, RecursionError):
        return f"nested too deep on line {line + 1}"
    if isinstance(error, TooLongError):
        return f"more than {window.longest:,} characters from line {line + 1} on"
    return f"{str(error).partition(';')[0]} in what begins on line {line + 1}"


def _records(opened: Opened, value: Any, raw: str) -> Iterator[Read]:
    """Yield the records inside a file's only value."""
    if not isinstance(value, dict):
        _refuse(opened, f"holds a single {kind(value)}, not a list of records", "write a list: `[{…}, {…}]`")
    found = records_of(value)
    if isinstance(found, str):
        _refuse(opened, found, "write a list: `[{…}, {…}]`")
    if found.told:
        opened.tell(found.told)
    broken = BROKEN in raw
    for number, record in enumerate(found.records, start=1):
        yield _item(opened, number, record, json.dumps(record, ensure_ascii=False) if broken else "")


def _refuse(opened: Opened, problem: str, hint: str) -> NoReturn:
    raise DataError(problem, hint=hint, place=opened.name)
