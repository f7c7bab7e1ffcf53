"""The embeddings of all rows, made by a function of the user's, in a file.

Shapes: R rows, B texts of a batch, D numbers of an embedding.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from luthier.core.errors import Failed, LuthierError

BATCH = 256
"""Texts that the function gets at once."""

OPTION = "data.clean.semantic_duplicates.embed"

Vectors = NDArray[np.float32]
Embed = Callable[[list[str]], Any]


class Embeddings:
    """Embeddings of length 1, in a file, of which some are read at a time.

    Args:
        path: The file, which is written anew and deleted in the end.
        embed: Takes B texts and returns what becomes an array of shape (B, D).
        name: What the function is called in the recipe.
    """

    def __init__(self, path: Path, embed: Embed, name: str) -> None:
        self._embed = embed
        self._name = name
        self._path = path
        self._file = path.open("w+b")
        self._rows = 0
        self._numbers = 0

    def __len__(self) -> int:
        return self._rows

    def add(self, texts: Iterable[str], tell: Callable[[int], None]) -> None:
        """Embed texts, in order. `tell` hears how many are done.

        Raises:
            Failed: The function raises, or what it returns are no embeddings.
        """
        coming = iter(texts)
        while batch := [*islice(coming, BATCH)]:
            self._file.write(self._of(batch).data)
            self._rows += len(batch)
            tell(self._rows)
        self._file.flush()

    def __getitem__(self, rows: slice) -> Vectors:
        """Return those of rows that follow each other, shape (…, D)."""
        begin, end, _ = rows.indices(self._rows)
        count = max(0, end - begin) * self._numbers
        found = np.fromfile(self._path, np.float32, count, offset=begin * self._numbers * 4)
        return found.reshape(-1, self._numbers)

    def close(self) -> None:
        """Close and delete the file."""
        self._file.close()
        self._path.unlink()

    def _of(self, texts: list[str]) -> Vectors:
        try:
            found = np.asarray(self._embed(texts), np.float64)
        except LuthierError:
            raise
        except Exception as error:
            raise self._wrong(f"failed on {len(texts)} texts: {type(error).__name__}: {error}") from error
        self._check(found, texts)
        largest = np.abs(found).max(axis=1, keepdims=True)
        found /= largest  # squares of what is left neither overflow nor vanish
        vectors: Vectors = (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)
        return vectors

    def _check(self, found: NDArray[np.float64], texts: Sequence[str]) -> None:
        if found.ndim != 2 or len(found) != len(texts) or not found.shape[1]:
            raise self._wrong(f"returned an array of shape {found.shape} for {len(texts)} texts")
        self._numbers = self._numbers or found.shape[1]
        if found.shape[1] != self._numbers:
            raise self._wrong(f"returned {found.shape[1]} numbers a text, and {self._numbers} before")
        bad = {"numbers that are not finite": ~np.isfinite(found).all(axis=1), "nothing but zeros": ~found.any(axis=1)}
        for what, rows in bad.items():
            if rows.any():
                raise self._wrong(f"returned {what} for {texts[int(rows.argmax())][:60]!r}")

    def _wrong(self, what: str) -> Failed:
        return Failed(
            f"`{self._name}` {what}",
            hint="it takes a list of texts, and returns as many rows of equally many finite numbers, not all of them 0",
            place=OPTION,
        )
