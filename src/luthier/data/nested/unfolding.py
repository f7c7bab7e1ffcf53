"""The pieces of a file, with records that hold more than one row taken apart. Everything else passes as it is."""

from collections import Counter
from collections.abc import Iterator

from luthier.data.nested import WORDS, unfold
from luthier.data.nested.forest import PARENTS, Forest, is_message
from luthier.data.nested.unfolded import Told
from luthier.data.read import row_of
from luthier.data.rows import Piece, RawRow, Unparsed, Unreadable
from luthier.recipe.methods import Rows

KEYS = [f'"{word}"' for word in (*WORDS, *PARENTS)]
MARKS = [key.encode() for key in KEYS]
"""Lines of JSON without any of these are not even parsed here."""


class Unfolding:
    """Takes the records of one file apart.

    Args:
        file: How rows and messages call the file.
        rows: What the objective learns from.
    """

    def __init__(self, file: str, rows: Rows) -> None:
        self.file = file
        self.rows = rows
        self.told: dict[str, Told] = {}

    def apart(self, pieces: Iterator[Piece], encoding: str) -> Iterator[Piece]:
        """Yield rows and whatever else the file holds. Trees whose messages stand alone come at its end."""
        with Forest(self.file) as forest:
            for piece in pieces:
                raw = self._record(piece, encoding)
                if raw is None:
                    yield piece
                elif self.rows not in ("class", "text") and is_message(raw.row):
                    yield from filter(None, [forest.add(raw)])
                else:
                    yield from self._rows_of(raw) or (piece,)
            for tree in forest.trees():
                yield from self._rows_of(tree) if isinstance(tree, RawRow) else (tree,)

    def _record(self, piece: Piece, encoding: str) -> RawRow | None:
        """Return a piece as a record, if it may be one that holds several rows."""
        if isinstance(piece, Unparsed):
            text = piece.text
            marked = (
                any(mark in text for mark in MARKS) if isinstance(text, bytes) else any(key in text for key in KEYS)
            )
            piece = row_of(piece, file=self.file, encoding=encoding) if marked else piece
        return piece if isinstance(piece, RawRow) else None

    def _rows_of(self, raw: RawRow) -> list[Piece]:
        """Return the rows a record holds; none where it is a row itself."""
        found = unfold(raw.row, self.rows)
        if found is None:
            return []
        shape, (rows, left, refusal) = found
        told = self.told.setdefault(shape, Told())
        told.add(Told(1, len(rows), Counter(left)))
        if refusal is not None:
            return [Unreadable(raw.row, raw.source, refusal)]
        return [RawRow(row, raw.source) for row in rows]
