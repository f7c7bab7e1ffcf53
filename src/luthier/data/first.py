"""What the first rows of the sources are, where nobody said what is to be learned from them."""

from itertools import islice

from luthier.core.errors import LuthierError
from luthier.core.example import Example
from luthier.data.batches import Limits, batches
from luthier.data.convert import Converter
from luthier.data.rows import RawRow
from luthier.data.sources import SourceFile, find_files
from luthier.recipe.data import Data

LOOKED_AT = Limits(rows=50)
"""Rows of a file that are looked at."""

FILES = 20


def are_plain_text(data: Data) -> bool:
    """Say whether the first rows are plain text, and none is anything a conversation can be made of."""
    if data.fields is not None or data.format != "auto":
        return False
    talks, tells = Converter(data, "conversation"), Converter(data, "text")
    texts = False
    for file in islice(_files(data), FILES):
        batch = next(batches([file], LOOKED_AT))
        for row in batch.rows():
            if not isinstance(row, RawRow):
                continue
            if isinstance(talks.convert(row), Example):
                return False
            texts |= isinstance(tells.convert(row), Example)
    return texts


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
