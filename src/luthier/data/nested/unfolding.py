"""The pieces of a file, with records that hold more than one row taken apart. Everything else passes as it is."""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from luthier.data.nested import WORDS, unfold
from luthier.data.nested.forest import PARENTS, Forest, is_message
from luthier.data.nested.unfolded import Told
from luthier.data.read import row_of
from luthier.data.rows import Piece, RawRow, Unparsed, Unreadable
from luthier.recipe.methods import Rows

KEY = f'"(?:{"|".join(sorted((*WORDS, *PARENTS)))})"'
MARKS = re.compile(KEY.encode()), re.compile(KEY)
"""Lines of JSON without any of these keys are not even parsed here."""


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
            for piece in pieces if self.rows != "text" else (self._text(piece, encoding) for piece in pieces):
                raw = self._record(piece, encoding)
                if raw is None:
                    yield piece
                elif self.rows not in ("class", "text") and is_message(raw.row):
                    yield from filter(None, [forest.add(raw)])
                else:
                    yield from self._rows_of(raw) or (piece,)
            for tree in forest.trees():
                if isinstance(tree, RawRow):
                    first = {key: value for key, value in tree.row.items() if key != "replies"}
                    yield from self._rows_of(tree, shown=first) or [RawRow(first, tree.source)]
                else:
                    yield tree

    def _text(self, piece: Piece, encoding: str) -> Piece:
        """Return a piece; one that is a bare text in JSON, as a row with that text."""
        if isinstance(piece, Unparsed) and piece.text[:80].lstrip()[:1] in (b'"', '"'):
            piece = row_of(piece, file=self.file, encoding=encoding)
        if isinstance(piece, Unreadable) and piece.refusal.reason == "not_an_object" and isinstance(piece.raw, str):
            return RawRow({"text": piece.raw}, piece.source)
        return piece

    def _record(self, piece: Piece, encoding: str) -> RawRow | None:
        """Return a piece as a record, if it may be one that holds several rows."""
        if isinstance(piece, Unparsed):
            mark, unicode = MARKS
            marked = mark.search(piece.text) if isinstance(piece.text, bytes) else unicode.search(piece.text)
            piece = row_of(piece, file=self.file, encoding=encoding) if marked else piece
        return piece if isinstance(piece, RawRow) else None

    def _rows_of(self, raw: RawRow, shown: dict[str, Any] | None = None) -> list[Piece]:
        """Return the rows a record holds; none where it is a row itself.

        Args:
            raw: The record.
            shown: What is shown of it where it holds none, if not all.
        """
        found = unfold(raw.row, self.rows)
        if found is None:
            return []
        shape, (rows, left, refusal) = found
        told = self.told.setdefault(shape, Told())
        told.add(Told(1, len(rows), Counter(left)))
        if refusal is not None:
            return [Unreadable(shown or raw.row, raw.source, refusal, understood=True)]
        return [RawRow(row, raw.source) for row in rows]
