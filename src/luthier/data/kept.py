"""What is remembered of every kept row: numbers only, in a file a column, so that memory stays flat.

A column has the rows in the order in which they came. It is mapped when it is asked for, and forgotten after.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from luthier.core.example import Source
from luthier.data.near.shingles import Shingles

Numbers = NDArray[Any]


class Kept:
    """Columns over the kept rows. Each has an entry a row: a number, as many as every row has, or shingles.

    Args:
        folder: Where the files of the columns are written. It must not be there yet.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        self._columns: dict[str, tuple[BinaryIO, Numbers]] = {}
        """The file of each column, and no rows of it, which tell kind and shape."""
        self._count = 0
        self._shingles: dict[str, int] = {}
        """How many shingles each column of them holds."""
        self._left: Numbers | None = None
        """The rows that are left, where some were left out, by the number they came with."""
        self._files: list[str] = []

    def __len__(self) -> int:
        return self._count if self._left is None else len(self._left)

    def add(self, file: str, columns: Mapping[str, Numbers | Shingles]) -> None:
        """Take in rows of one file. `line` must be among their columns, which are the same each time."""
        if not self._files or self._files[-1] != file:
            self._files.append(file)
        count = len(columns["line"])
        for name, values in {**columns, "file": np.full(count, len(self._files) - 1, np.uint32)}.items():
            assert len(values) == count, name
            if isinstance(values, Shingles):
                before = self._shingles.get(name)
                self._write(name, values.hashes)
                self._write(f"{name}.bounds", values.bounds if before is None else values.bounds[1:] + before)
                self._shingles[name] = (before or 0) + len(values.hashes)
            else:
                self._write(name, values)
        self._count += count

    def _write(self, name: str, values: Numbers) -> None:
        handle, like = self._columns.get(name) or self._begin(name, values)
        handle.write(np.ascontiguousarray(values, like.dtype).data)
        handle.flush()

    def _begin(self, name: str, values: Numbers) -> tuple[BinaryIO, Numbers]:
        column = (self._folder / name).open("w+b"), values[:0].copy()
        self._columns[name] = column
        return column

    def __contains__(self, name: str) -> bool:
        return name in self._columns

    def __getitem__(self, name: str) -> Numbers:
        """Return a column, of shape (rows, …), mapped from its file. Not to be kept while rows are added."""
        column = self._mapped(name, (self._count, *self._columns[name][1].shape[1:]))
        return column if self._left is None else column[self._left]

    def _mapped(self, name: str, shape: tuple[int, ...]) -> Numbers:
        handle, like = self._columns[name]
        return np.asarray(np.memmap(handle, like.dtype, "r", shape=shape)) if shape[0] else np.empty(shape, like.dtype)

    def shingles(self, name: str) -> Shingles:
        """Return a column of shingles, mapped from its files. Possible until rows are left out.

        Pages that were looked at are held as long as it is: who looks at many rows asks again from time to time.
        """
        assert self._left is None
        hashes = self._mapped(name, (self._shingles[name],))
        return Shingles(hashes, self._mapped(f"{name}.bounds", (self._count + 1,)))

    def file(self, number: int) -> str:
        """Return the name of a file by its number in the column `file`. A file may have several numbers."""
        return self._files[number]

    def source(self, index: int) -> Source:
        """Return where a row came from; possible at any time."""
        index = index if self._left is None else int(self._left[index])
        return Source(self._files[self._number("file", index)], self._number("line", index))

    @property
    def left(self) -> Numbers:
        """The numbers with which the rows came, those that were left out missing."""
        return np.arange(self._count) if self._left is None else self._left

    def leave_out(self, rows: Numbers) -> None:
        """Forget rows; those behind them move up. None can be added then."""
        self._left = np.delete(self.left, rows)

    def _number(self, name: str, index: int) -> int:
        handle, like = self._columns[name]
        raw = os.pread(handle.fileno(), like.itemsize, index * like.itemsize)
        return int(np.frombuffer(raw, like.dtype)[0])

    def contradictions(self) -> Numbers:
        """Return, for every row whose prompt an earlier row answers otherwise, the earlier row and it: shape (n, 2).

        Of preferences and judged answers a prompt has many; there, for every row whose contrary stands before it.
        """
        keys = self["key"]
        if "opposite" in self:
            first, groups = _first_of_each(self["opposite"])
            at = np.minimum(np.searchsorted(groups, keys), len(groups) - 1)
            rows = np.flatnonzero((groups[at] == keys) & (first[at] < np.arange(len(keys))))
            earlier = first[at[rows]]
        else:
            prompts = self["prompt_key"]
            first, groups = _first_of_each(prompts)
            beginning = first[np.searchsorted(groups, prompts)]
            rows = np.flatnonzero(keys[beginning] != keys)
            earlier = beginning[rows]
        return np.stack([earlier, rows], axis=1)

    def close(self) -> None:
        """Close and delete the files."""
        for name, (handle, _) in self._columns.items():
            handle.close()
            (self._folder / name).unlink()
        self._folder.rmdir()


def _first_of_each(values: Numbers) -> tuple[Numbers, Numbers]:
    """Return the first row of each different value, and the values, sorted."""
    groups, first = np.unique(values, return_index=True)
    return first, groups
