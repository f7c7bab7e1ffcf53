"""Files to batches: some thousand rows of one file, small enough to be held in every process at once."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from luthier.core.errors import LuthierError
from luthier.data.nested.unfolded import Told
from luthier.data.nested.unfolding import Unfolding
from luthier.data.read import open_source, pieces, row_of
from luthier.data.readers.opened import Opened
from luthier.data.rows import Piece, RawRow, Read, Unparsed
from luthier.data.sources import SourceFile
from luthier.recipe.methods import Rows


@dataclass(frozen=True, slots=True)
class Limits:
    """How large a batch may become. What is found doesn't depend on it."""

    rows: int = 2000
    size: int = 1 << 20
    """Characters or bytes of all rows together; a single row may be larger."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of one file that follow each other."""

    file: str
    encoding: str
    pieces: Sequence[Piece]
    position: int
    """Bytes of the file that were read when the batch was full."""
    last: bool = False
    """Whether the file ends here."""
    problem: LuthierError | None = None
    """Of a last one: why the file could not be read on."""
    told: tuple[str, ...] = ()
    """Of a last one: how the file was read, where its name doesn't say it all."""
    unfolded: dict[str, Told] = field(default_factory=dict)
    """Of a last one: what records with several rows became, by their shape."""

    def rows(self) -> Iterator[Read]:
        """Yield the rows; lines of JSON are parsed now."""
        return (row_of(piece, file=self.file, encoding=self.encoding) for piece in self.pieces)

    def row(self, place: int) -> Read:
        """Return one row."""
        return row_of(self.pieces[place], file=self.file, encoding=self.encoding)


def batches(
    files: Iterable[SourceFile],
    limits: Limits,
    rows: Rows = "conversation",
    *,
    header: bool | Literal["auto"] = "auto",
    sheets: tuple[str, ...] | Literal["all"] = "all",
) -> Iterator[Batch]:
    """Yield the rows of all files in order; every file ends with a batch that says so, which may be empty.

    Args:
        files: Which files.
        limits: How large batches are.
        rows: What the objective learns from; it decides what becomes of records that hold several rows.
        header: Whether the first line of a table names its columns; `auto` looks.
        sheets: Which sheets of workbooks are read.
    """
    for file in files:
        try:
            opened = open_source(file, header=header, sheets=sheets)
        except LuthierError as error:
            yield Batch(file.name, "", [], file.size, last=True, problem=error)
        else:
            yield from _of_file(opened, limits, rows)


def _of_file(opened: Opened, limits: Limits, rows: Rows) -> Iterator[Batch]:
    name, encoding = opened.name, opened.encoding
    held: list[Piece] = []
    size = 0
    problem: LuthierError | None = None
    unfolding = Unfolding(opened.name, rows)
    try:
        for piece in unfolding.apart(pieces(opened), encoding):
            part = opened.name if isinstance(piece, Unparsed) else piece.source.file  # a workbook's sheet
            if len(held) >= limits.rows or size >= limits.size or (held and part != name):
                yield Batch(name, encoding, held, opened.position)
                held, size = [], 0
            name = part
            held.append(piece)
            size += _size(piece)
    except LuthierError as error:
        problem = error
    told = tuple(opened.told)
    size = opened.file.size
    yield Batch(name, encoding, held, size, last=True, problem=problem, told=told, unfolded=unfolding.told)


def _size(piece: Piece) -> int:
    if isinstance(piece, Unparsed):
        return len(piece.text)
    return _weight(piece.row if isinstance(piece, RawRow) else piece.raw)


def _weight(value: Any) -> int:
    """Return about how many characters a value has; of what is nested deep, those near the surface."""
    total, level = 0, [value]
    for _ in range(8):
        inner: list[Any] = []
        for item in level:
            if isinstance(item, str | bytes):
                total += len(item)
            elif isinstance(item, dict):
                inner += item.values()
            elif isinstance(item, list):
                inner += item
        total += 8 * len(level)
        level = inner
    return total
