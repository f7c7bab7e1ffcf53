"""CSV and its relatives: cells separated by comma, semicolon, tab or bar, with a header.

The standard parser in strict mode does the parsing; this file feeds it line by line and takes lines back when
a quotation mark turns out to be wrong, so that one bad quote costs one line and not the rest of the file.
"""

import csv
import re
from collections import Counter, deque
from collections.abc import Iterator
from itertools import islice

from luthier.core.errors import DataError
from luthier.data.encoding import BROKEN
from luthier.data.readers.opened import LONGEST, Opened, bounded, shown
from luthier.data.rows import RawRow, Read, Unreadable

DELIMITERS = (",", ";", "\t", "|")

MOST_LINES = 10_000
"""Lines a quoted cell may span before its opening quote counts as a fault."""

SAMPLE_LINES = 400
SAMPLE_SIZE = 256_000
"""Lines and characters looked at to find out what separates the cells."""

EXCEL_HINT = re.compile(r'"?sep=(.)"?\r?\n?')
"""First line by which Excel says what separates the cells."""


class RecordTooLongError(Exception):
    """A record took more lines than any honest cell has."""


class Lines:
    """The lines of a file, which remembers those of the record in hand and can take them back.

    Args:
        handle: The decoded lines.
    """

    def __init__(self, handle: Iterator[str]) -> None:
        self.handle = handle
        self.again: deque[str] = deque()
        self.taken: list[str] = []
        self.size = 0
        self.done = 0
        """Lines of finished records."""

    def __iter__(self) -> "Lines":
        return self

    def __next__(self) -> str:
        line = self.again.popleft() if self.again else next(self.handle)
        self.taken.append(line)
        self.size += len(line)
        if len(self.taken) > MOST_LINES or self.size > LONGEST:
            raise RecordTooLongError("nothing closes the quotation mark opened on this line")
        return line

    def settle(self) -> None:
        """The record in hand is finished."""
        self.done += len(self.taken)
        self.taken.clear()
        self.size = 0

    def take_back(self) -> str:
        """Give up on the first line of the record in hand and return it; the others come again."""
        first = self.taken[0]
        self.again.extendleft(reversed(self.taken[1:]))
        self.done += 1
        self.taken.clear()
        self.size = 0
        return first


def read(opened: Opened) -> Iterator[Read]:
    """Yield the rows below the header, keyed by its names.

    Raises:
        DataError: The header can't be read.
    """
    csv.field_size_limit(LONGEST)
    delimiter, skip = sniff(opened)
    lines = Lines(bounded(opened.text(newline="")))
    for _ in range(skip):
        next(lines)
        lines.settle()
    header: list[str] | None = None
    for number, record in _records(opened, lines, delimiter):
        if header is None:
            header = _names(record)
        elif isinstance(record, Unreadable):
            yield record
        else:
            yield _row(opened, number, header, record, delimiter)


def sniff(opened: Opened) -> tuple[str, int]:
    """Return what separates the cells, and how many lines to skip before the header.

    Of the four, the one that gives most sampled records the header's width wins; of equals the wider.
    """
    sample: list[str] = []
    for line in islice(bounded(opened.text(newline="")), SAMPLE_LINES):
        sample.append(line)
        if sum(map(len, sample)) > SAMPLE_SIZE:
            break
    first = sample[0].removeprefix("\ufeff") if sample else ""
    if told := EXCEL_HINT.fullmatch(first):
        return told.group(1), 1
    if opened.path.suffix.lower() in (".tsv", ".tab") and "\t" in first:
        return "\t", 0
    return max(DELIMITERS, key=lambda delimiter: _consistency(sample, delimiter)), 0


def _consistency(sample: list[str], delimiter: str) -> tuple[bool, float, int]:
    """Return how well a delimiter fits; records with a quoting fault or of one cell speak against it."""
    widths: list[int] = []
    parser = csv.reader(iter(sample), delimiter=delimiter, strict=True)
    while True:
        try:
            widths.append(len(next(parser)))
        except StopIteration:
            break
        except csv.Error:
            widths.append(-1)
    widths = [width for width in widths if width]
    if not widths or widths[0] < 2:
        return False, 0.0, 0
    return True, Counter(widths)[widths[0]] / len(widths), widths[0]


def _records(opened: Opened, lines: Lines, delimiter: str) -> Iterator[tuple[int, list[str] | Unreadable]]:
    parser = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        number = lines.done + 1
        try:
            record = next(parser)
        except StopIteration:
            return
        except (RecordTooLongError, csv.Error) as error:
            yield number, _broken(opened, lines, number, str(error))
            continue
        raw = "".join(lines.taken)
        lines.settle()
        if not record:
            continue
        if BROKEN in raw:
            yield number, opened.unreadable(number, shown(raw), "invalid_encoding", f"not {opened.encoding}")
        else:
            yield number, record


def _broken(opened: Opened, lines: Lines, number: int, detail: str) -> Unreadable:
    raw = shown(lines.take_back()[:LONGEST])
    return opened.unreadable(number, raw, "broken_quotes", detail)


def _names(cells: list[str] | Unreadable) -> list[str]:
    """Return column names that are not empty and differ, whatever the header says."""
    if isinstance(cells, Unreadable):
        raise DataError(
            f"the header can't be read: {cells.refusal.detail}",
            hint="correct the first line: the names of the columns",
            place=str(cells.source),
        )
    names: list[str] = []
    for index, cell in enumerate(cells, start=1):
        name = cell.removeprefix("\ufeff").strip() or f"column {index}"
        names.append(name if name not in names else f"{name} ({index})")
    return names


def _row(opened: Opened, number: int, header: list[str], cells: list[str], delimiter: str) -> Read:
    while len(cells) > len(header) and not cells[-1].strip():
        cells.pop()
    if len(cells) != len(header):
        detail = f"{len(cells)} cells, the header has {len(header)} columns"
        return opened.unreadable(number, delimiter.join(cells), "wrong_columns", detail)
    return RawRow(dict(zip(header, cells, strict=True)), opened.at(number))
