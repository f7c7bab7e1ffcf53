"""How a table of text is written: what separates its cells, how they are quoted, whether a line names the columns."""

import csv
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

DELIMITERS = (",", ";", "\t", "|")

EXCEL_HINT = re.compile(r'"?sep=(.)"?\r?\n?')
"""First line by which Excel says what separates the cells."""

NUMBER = re.compile(r"[-+]?\d[\d.,]{0,30}%?")

WORDS = re.compile(r"\s*\w+(?:[ -]\w+){0,2}\s*")
"""Up to three words, as in the names of columns."""

LONGEST_NAME = 80
MOST_WORDS = 10
"""Characters and words of a cell that may still be the name of a column."""

NUMERIC = 0.9
"""Share of a column's cells that are numbers in a column of numbers."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a table of text is written."""

    delimiter: str
    quoted: bool = True
    """Whether a quotation mark at the beginning of a cell means anything."""
    skip: int = 0
    """Lines before the first record."""

    def records(self, lines: Sequence[str]) -> list[list[str] | None]:
        """Return the records of some lines, None for one with a fault in its quotes; empty ones are left out."""
        found: list[list[str] | None] = []
        parser = csv.reader(iter(lines), delimiter=self.delimiter, strict=True, quoting=self.quoting)
        while True:
            try:
                record = next(parser)
            except StopIteration:
                return found
            except csv.Error:
                found.append(None)
            else:
                if record:
                    found.append(record)

    @property
    def quoting(self) -> Literal[0, 3]:
        """What the standard parser calls it."""
        return csv.QUOTE_MINIMAL if self.quoted else csv.QUOTE_NONE


def find_dialect(lines: Sequence[str], *, tabs: bool) -> Dialect:
    """Return how a table is written, from its first lines.

    Of the four separators, the one that gives most sampled records the first one's width wins; of equals the wider.
    Tables with tabs are often written without a thought to quotation marks: where these only make faults and without
    them every record has the same width, they are text.

    Args:
        lines: With their line ends.
        tabs: Whether the file's name says that tabs separate its cells.
    """
    first = lines[0].removeprefix("\ufeff") if lines else ""
    if told := EXCEL_HINT.fullmatch(first):
        return Dialect(told.group(1), skip=1)
    if tabs and "\t" in first:
        found = Dialect("\t")
    else:
        found = Dialect(max(DELIMITERS, key=lambda delimiter: _consistency(lines, Dialect(delimiter))))
    plain = Dialect("\t", quoted=False)
    if found.delimiter == "\t" and None in found.records(lines) and _consistency(lines, plain)[1] == 1:
        return plain
    return found


def _consistency(lines: Sequence[str], dialect: Dialect) -> tuple[bool, float, int]:
    """Return how well a dialect fits; records with a fault or of one cell speak against it."""
    widths = [len(record) if record else -1 for record in dialect.records(lines)]
    if not widths or widths[0] < 2:
        return False, 0.0, 0
    return True, Counter(widths)[widths[0]] / len(widths), widths[0]


def looks_delimited(lines: Sequence[str]) -> bool:
    """Say whether a text without a telling name is a table: records as wide as the first, which isn't like prose."""
    lines = [f"{line}\n" for line in lines]
    dialect = find_dialect(lines, tabs=False)
    records = dialect.records(lines[dialect.skip :])
    if dialect.skip:
        return True
    fits, share, _ = _consistency(lines, dialect)
    words = all(WORDS.fullmatch(cell) for cell in records[0]) if records and records[0] else False
    return fits and share > 0.9 and len(records) > 1 and (words or dialect.delimiter == "\t")


def has_header(records: Sequence[list[str] | None]) -> bool:
    """Say whether the first record names the columns, which it does unless something speaks against it.

    Against it speak: a cell longer than a name; a number over a column of numbers, a sentence over one of sentences; a
    cell that comes again and again down its column, as classes do, unless the whole record does, as in joined files.
    """
    first, below = records[0] if records else None, [record for record in records[1:] if record]
    if first is None:
        return True
    if not all(_like_a_name(cell) for cell in first):
        return False
    if first in below:
        return True
    for index, cell in enumerate(first):
        column = [record[index].strip() for record in below if index < len(record)]
        if cell.strip() and column.count(cell.strip()) > 1:
            return False
        if _like_a_sentence(cell) and sum(map(_like_a_sentence, column)) > len(column) / 2:
            return False
        numbers = sum(NUMBER.fullmatch(other) is not None for other in column)
        if column and NUMBER.fullmatch(cell.strip()) and numbers >= NUMERIC * len(column):
            return False
    return True


def _like_a_name(cell: str) -> bool:
    return len(cell) <= LONGEST_NAME and len(cell.split()) <= MOST_WORDS


def _like_a_sentence(cell: str) -> bool:
    return " " in cell.strip() and cell.rstrip()[-1:] in (".", "?", "!", "。", "？", "！")
