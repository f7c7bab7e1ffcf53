"""Files of test sets to their items."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from luthier.core.errors import DataError, LuthierError
from luthier.core.example import Source
from luthier.core.text import one_line
from luthier.data.leakage.items import Item, Recogniser, of_cells
from luthier.data.nested.unfolding import Unfolding
from luthier.data.read import open_source, pieces, row_of
from luthier.data.readers import DOCUMENTS
from luthier.data.rows import RawRow, Read
from luthier.data.sources import SourceFile, find_files, raise_all

TABLES = (".csv", ".tsv", ".tab")
"""Files whose first line may be an item."""

BARE = re.compile(r"[\w -]+")
"""What may be the name of a test set rather than a path."""


@dataclass(slots=True)
class Evaluation:
    """One file of a test set."""

    name: str
    items: list[Item] = field(default_factory=list)
    not_understood: int = 0
    """Rows that can't be read, or hold nothing that luthier takes for a question."""


def read_evaluations(against: Sequence[str], fields: Sequence[str] = ()) -> list[Evaluation]:
    """Return the items of every file, in the order named; a file that is named twice is there once.

    Args:
        against: Files, folders and globs.
        fields: Columns whose texts are the questions. Without, they are found.

    Raises:
        DataError: A file is missing, can't be read, or holds nothing to look for.
        Problems: Several of those.
    """
    found: dict[tuple[Path, int | None], Evaluation] = {}
    problems: list[LuthierError] = []
    for file in evaluation_files(against):
        try:
            found[file.path.resolve(), file.member] = _read(file, fields)
        except LuthierError as problem:
            problems.append(problem)
    raise_all(problems)
    return [*found.values()]


def evaluation_files(against: Sequence[str]) -> list[SourceFile]:
    """Return the files behind `data.decontaminate.against`.

    Raises:
        DataError: A file is missing, empty or of a kind that is not read.
        Problems: Several of those.
    """
    files: list[SourceFile] = []
    problems: list[LuthierError] = []
    for named in against:
        try:
            if BARE.fullmatch(named) and not Path(named).exists():
                raise DataError(
                    "no such file or folder, and luthier brings no test sets along",
                    hint="name the file of the test set, or the folder with its files",
                    place=named,
                )
            files += find_files([named], rows="text" if Path(named).suffix.lower() in DOCUMENTS else "conversation")
        except LuthierError as problem:
            problems.append(problem)
    raise_all(problems)
    return files


def _rows(file: SourceFile) -> Iterator[Read]:
    """Yield the rows of a file; the first line of a table is its header, and records that hold several are apart."""
    opened = open_source(file, header=True)
    for piece in Unfolding(file.name, "conversation").apart(pieces(opened), opened.encoding):
        yield row_of(piece, file=file.name, encoding=opened.encoding)


def _read(file: SourceFile, fields: Sequence[str]) -> Evaluation:
    evaluation = Evaluation(file.name)
    recogniser = Recogniser(fields)
    rows = _rows(file)
    first = next(rows, None)
    header = [*first.row] if isinstance(first, RawRow) else []
    nameless = bool(header) and file.kind in TABLES and not fields and not recogniser.knows(header)
    if nameless:
        evaluation.items.append(of_cells(header, Source(file.name, 1)))
    for row in chain([first] if first else [], rows):
        items: list[Item] = []
        if isinstance(row, RawRow):
            items = [of_cells([*row.row.values()], row.source)] if nameless else recogniser.items(row)
        items = [item for item in items if item.question.strip()]
        evaluation.items += items
        evaluation.not_understood += not items
    if not evaluation.items:
        told = ", ".join(f"`{one_line(name, 40)}`" for name in header[:12]) or "none"
        raise DataError(
            f"no question found in this test set; the columns are {told}",
            hint="say which columns hold the questions: `--set data.decontaminate.fields=[COLUMN]`",
            place=file.name,
        )
    return evaluation
