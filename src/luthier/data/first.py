"""What the first rows of the sources are, where nobody said what is to be learned from them."""

from collections.abc import Sequence
from itertools import islice

from luthier.core.errors import LuthierError
from luthier.core.example import Example
from luthier.data.batches import Limits, batches
from luthier.data.convert import Converter
from luthier.data.rows import RawRow
from luthier.data.sources import SourceFile, find_files
from luthier.recipe.data import Data
from luthier.recipe.methods import Rows

LOOKED_AT = Limits(rows=50)
"""Rows of a file that are looked at."""

FILES = 20


def are_plain_text(data: Data) -> bool:
    """Say whether the first rows are plain text, and none is anything a conversation can be made of."""
    if data.fields is not None or data.format != "auto":
        return False
    files = [*islice(_files(data), FILES)]
    return not _some(files, data, "conversation") and _some(files, data, "text")


def _some(files: Sequence[SourceFile], data: Data, rows: Rows) -> bool:
    """Say whether one of the first rows is such that an objective that wants `rows` learns from it."""
    converter = Converter(data, rows)
    firsts = (next(batches([file], LOOKED_AT, rows)) for file in files)
    found = (row for batch in firsts for row in batch.rows() if isinstance(row, RawRow))
    return any(isinstance(converter.convert(row), Example) for row in found)


def _files(data: Data) -> list[SourceFile]:
    """Return the files, text files only where there are no others; none where something is wrong with them."""
    try:
        return find_files(data.sources)
    except LuthierError:
        pass
    try:
        return find_files(data.sources, rows="text")
    except LuthierError:
        return []
