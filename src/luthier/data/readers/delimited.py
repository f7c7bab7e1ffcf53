"""CSV and its relatives: cells separated by comma, semicolon, tab or bar, with or without a header.

The standard parser in strict mode does the parsing; this file feeds it line by line and takes lines back when
a quotation mark turns out to be wrong, so that one bad quote costs one line and not the rest of the file.
"""

import csv
from collections import deque
from collections.abc import Iterator
from itertools import islice

from luthier.core.errors import DataError
from luthier.core.text import plural
from luthier.data.encoding import BROKEN
from luthier.data.readers.dialect import Dialect, find_dialect, has_header
from luthier.data.readers.opened import LONGEST, Opened, bounded, shown
from luthier.data.readers.packed import DamagedError
from luthier.data.rows import RawRow, Read, Unreadable

MOST_LINES = 10_000
"""Lines a quoted cell may span before its opening quote counts as a fault."""

NAMELESS = "no line names the columns: they are `column 1`, `column 2`, …"

SAMPLE_LINES = 400
SAMPLE_SIZE = 256_000
"""Lines and characters looked at to find out how the table is written."""


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
        self.damage: DamagedError | None = None
        """Why the lines end before the file does."""

    def __iter__(self) -> "Lines":
        return self

    def __next__(self) -> str:
        line = self.again.popleft() if self.again else self._next()
        self.taken.append(line)
        self.size += len(line)
        if len(self.taken) > MOST_LINES or self.size > LONGEST:
            raise RecordTooLongError("nothing closes the quotation mark opened on this line")
        return line

    def _next(self) -> str:
        try:
            return next(self.handle)
        except DamagedError as error:  # lines that an open quotation mark has swallowed come first
            self.damage = error
            raise StopIteration from error

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
    """Yield the rows, keyed by the names in the header, or by `column 1`, `column 2`, … where there is none.

    Raises:
        DataError: The header can't be read.
        DamagedError: The file ends early.
    """
    csv.field_size_limit(LONGEST)
    sample = _sample(opened)
    dialect = find_dialect(sample, tabs=opened.file.kind in (".tsv", ".tab"))
    named = opened.header
    if named == "auto":
        named = has_header(dialect.records(sample[dialect.skip :]))
    if not dialect.quoted:
        opened.tell("quotation marks are text")
    if not named:
        opened.tell(NAMELESS)
    lines = Lines(bounded(opened.text(newline="")))
    for _ in range(dialect.skip):
        next(lines)
        lines.settle()
    header: list[str] | None = None
    for number, record in _records(opened, lines, dialect):
        if header is None and named:
            header = _names(record)
        elif isinstance(record, Unreadable):
            yield record
        else:
            header = header or [f"column {index}" for index in range(1, len(record) + 1)]
            yield _row(opened, number, header, record, dialect.delimiter)
    if lines.damage is not None:
        raise lines.damage


def _sample(opened: Opened) -> list[str]:
    sample: list[str] = []
    try:
        for line in islice(bounded(opened.text(newline="")), SAMPLE_LINES):
            sample.append(line)
            if sum(map(len, sample)) > SAMPLE_SIZE:
                break
    except DamagedError:
        pass  # told when reading comes to it
    return sample


def _records(opened: Opened, lines: Lines, dialect: Dialect) -> Iterator[tuple[int, list[str] | Unreadable]]:
    parser = csv.reader(lines, delimiter=dialect.delimiter, strict=True, quoting=dialect.quoting)
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
    if isinstance(cells, Unreadable):
        raise DataError(
            f"the header can't be read: {cells.refusal.detail}",
            hint="correct the first line: the names of the columns",
            place=str(cells.source),
        )
    return names_of(cells)


def names_of(cells: list[str]) -> list[str]:
    """Return column names that are not empty and differ, whatever the header says."""
    names: list[str] = []
    for index, cell in enumerate(cells, start=1):
        name = cell.removeprefix("\ufeff").strip() or f"column {index}"
        names.append(name if name not in names else f"{name} ({index})")
    return names


def _row(opened: Opened, number: int, header: list[str], cells: list[str], delimiter: str) -> Read:
    while len(cells) > len(header) and not cells[-1].strip():
        cells.pop()
    if len(cells) != len(header):
        detail = f"{plural(len(cells), 'cell')}, the header has {plural(len(header), 'column')}"
        return opened.unreadable(number, delimiter.join(cells), "wrong_columns", detail)
    return RawRow(dict(zip(header, cells, strict=True)), opened.at(number))
