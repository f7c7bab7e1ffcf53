"""What the first rows of the sources are, and which columns they have, before all are read."""

from collections.abc import Sequence
from itertools import islice

from luthier.core.errors import DataError, LuthierError
from luthier.core.example import Example
from luthier.core.text import did_you_mean, one_line
from luthier.data.batches import Limits, batches
from luthier.data.convert import Converter
from luthier.data.keys import value_key
from luthier.data.rows import RawRow
from luthier.data.sources import SourceFile, find_files
from luthier.recipe.data import Data
from luthier.recipe.methods import Rows

LOOKED_AT = Limits(rows=50)
"""Rows of a file that are looked at."""

FIRST = Limits()
"""Rows of a file whose columns are looked for."""

FILES = 20

MOST_NAMED = 12


def are_plain_text(data: Data) -> bool:
    """Say whether the first rows are plain text, and none is anything a conversation can be made of."""
    if data.fields is not None or data.format != "auto":
        return False
    files = [*islice(_files(data.sources, "conversation") or _files(data.sources, "text"), FILES)]
    return not _some(files, data, "conversation") and _some(files, data, "text")


def missing_columns(data: Data, rows: Rows) -> list[LuthierError]:
    """Return what is wrong with options that name a column which none of the first rows has.

    Args:
        data: The recipe's section, its sources files.
        rows: What the objective learns from; it decides what becomes of records that hold several rows.
    """
    split = data.split
    asked = {"data.split.group_by": split.group_by, "data.split.stratify": split.stratum_column}
    if data.fields:
        asked |= {f"data.fields.{part}": column for part, column in data.fields.model_dump().items()}
    wanted = {place: column for place, column in asked.items() if column}
    there = columns(data, rows) if wanted else []
    return [no_such_column(column, place, there) for place, column in wanted.items() if there and column not in there]


def no_such_column(column: str, place: str, there: Sequence[str]) -> DataError:
    """Return the error for an option that names a column which no row has, or which is empty in all.

    Args:
        column: Its name.
        place: The option.
        there: Columns that hold something.
    """
    near = did_you_mean(column, there)
    names = ", ".join(f"`{one_line(name, 40)}`" for name in there[:MOST_NAMED])
    hint = f"did you mean `{near}`?" if near else f"the columns are {names}" if names else f"correct `{place}`"
    return DataError(f"no row has the column `{one_line(column, 40)}`, or holds anything in it", hint=hint, place=place)


def columns(data: Data, rows: Rows) -> list[str]:
    """Return the columns in which some of the first rows hold something, in their order."""
    found: dict[str, None] = {}
    for file in islice(_files(data.sources, rows), FILES):
        batch = next(batches([file], FIRST, rows, header=data.header, sheets=data.sheets))
        for row in batch.rows():
            if isinstance(row, RawRow):
                found |= dict.fromkeys(name for name, value in row.row.items() if value_key(value, seed=0))
    return [*found]


def _some(files: Sequence[SourceFile], data: Data, rows: Rows) -> bool:
    """Say whether one of the first rows is such that an objective that wants `rows` learns from it."""
    converter = Converter(data, rows)
    firsts = (next(batches([file], LOOKED_AT, rows)) for file in files)
    found = (row for batch in firsts for row in batch.rows() if isinstance(row, RawRow))
    return any(isinstance(converter.convert(row), Example) for row in found)


def _files(sources: Sequence[str], rows: Rows) -> list[SourceFile]:
    """Return the files; none where something is wrong with them, which is told elsewhere."""
    try:
        return find_files(sources, rows=rows)
    except LuthierError:
        return []
