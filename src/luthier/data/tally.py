"""What becomes of one source file as a whole, and what is wrong with one that gives nothing."""

from collections import Counter
from dataclasses import dataclass, field
from itertools import islice

from luthier.core.errors import DataError
from luthier.data.batches import Batch
from luthier.data.readers import DOCUMENTS
from luthier.data.refine import Refined
from luthier.data.rows import RawRow, Unreadable
from luthier.data.sources import SourceFile
from luthier.data.unsuited import unusable
from luthier.recipe.data import Data
from luthier.recipe.methods import Rows

ROWS_LOOKED_AT = 500
"""Rows whose columns are named where none of them can be used."""


@dataclass(slots=True)
class Tally:
    """What became of the rows of one file."""

    reasons: Counter[str | None] = field(default_factory=Counter)
    """How many were dropped by reason; None is kept."""
    readable: int = 0
    columns: dict[str, None] = field(default_factory=dict)
    """Names of columns in the first rows, in order, as long as no row can be used."""
    first_unreadable: Unreadable | None = None

    def add(self, batch: Batch, refined: Refined, reasons: Counter[str | None]) -> None:
        """Take in what became of the batch that comes next."""
        unusable_yet = self.reasons["unknown_format"] == self.readable
        looked_at = self.readable
        lost = [refused.place for refused in refined.refused if not refused.readable]
        if lost and self.first_unreadable is None:
            first = batch.row(lost[0])
            assert isinstance(first, Unreadable)
            self.first_unreadable = first
        self.reasons += reasons
        self.readable += len(batch.pieces) - len(lost)
        if unusable_yet and self.reasons["unknown_format"] == self.readable:
            rows = (row.row for row in batch.rows() if isinstance(row, RawRow))
            for row in islice(rows, max(0, ROWS_LOOKED_AT - looked_at)):
                self.columns.update(dict.fromkeys(row))

    def refuse_useless(self, file: SourceFile, data: Data, rows: Rows) -> None:
        """Raise when the file gives nothing at all for a reason that lies in the file as a whole.

        Raises:
            DataError: It holds no rows, none that can be read, or none that fits.
        """
        if not self.reasons:
            hint = "remove it from `data.sources`, or name another"
            raise DataError("no row in this file", hint=hint, place=file.name)
        if file.kind in DOCUMENTS:
            return  # a row like any other
        if self.first_unreadable and not self.readable:
            raise DataError(
                f"none of the {self.reasons.total():,} rows can be read; "
                f"the first: {self.first_unreadable.refusal.detail}",
                hint="check that the file's extension says what it is",
                place=str(self.first_unreadable.source),
            )
        if self.reasons["unknown_format"] == self.readable:
            raise unusable(file.name, [*self.columns], data, rows)
