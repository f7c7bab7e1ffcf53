"""Tokens on disk: written once in shards, mapped into memory by whoever trains or measures.

A shard is a folder, there whole or not at all:

    ids.npy      int32 (T,)     all texts one after another
    learned.npy  bool (T,)      which of them are targets
    rows.npy     int64 (R, 6)   first and past token, place in `files`, line, tokens cut, tokens learned
    labels.npy   float64 (R,)   what `Encoded.label` says
    shard.json   its key, names of the source files and classes, counts, and every row that was left out, whole or in
                 part
"""

import json
from bisect import bisect_right
from collections import Counter, OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from luthier.core.example import Source
from luthier.core.files import publish_folder, write_json
from luthier.tokens.render import Encoded

OPEN = 100
"""Shards mapped at a time: a process may hold about a thousand open files."""


@dataclass(slots=True)
class Shard:
    """A shard in the making, and the account of what went into it."""

    texts: int = 1
    """Rows of an example: 2 of a pair, the better ending first."""
    classes: tuple[str, ...] = ()
    """Names of the classes, in the order of their numbers."""
    examples: int = 0
    rows: list[Encoded] = field(default_factory=list)
    left_out: list[tuple[Source, str]] = field(default_factory=list)
    partly: list[tuple[Source, str]] = field(default_factory=list)
    """Texts left out of examples of which another text is kept."""
    expanded: int = 0
    """Examples that became several texts."""
    without_stop: int = 0
    traits: Counter[str] = field(default_factory=Counter)
    first: dict[str, Source] = field(default_factory=dict)
    """Where each trait was seen first."""

    def write(self, folder: Path, key: str) -> None:
        """Put the shard in place."""
        files = {file: place for place, file in enumerate(dict.fromkeys(row.source.file for row in self.rows))}
        ends = np.cumsum([row.length for row in self.rows], dtype=np.int64)
        table = np.zeros((len(self.rows), 6), dtype=np.int64)
        for place, row in enumerate(self.rows):
            # Nothing precedes a first token, so it is no target.
            targets = int(row.learned[1:].sum())
            place_in = ends[place] - row.length, ends[place]
            table[place] = *place_in, files[row.source.file], row.source.line, row.cut, targets
        ids = np.concatenate([row.input_ids for row in self.rows] or [np.zeros(0, np.int32)])
        learned = np.concatenate([row.learned for row in self.rows] or [np.zeros(0, np.bool_)])
        with publish_folder(folder) as new:
            np.save(new / "ids.npy", ids, allow_pickle=False)
            np.save(new / "learned.npy", learned, allow_pickle=False)
            np.save(new / "rows.npy", table, allow_pickle=False)
            np.save(new / "labels.npy", np.array([row.label for row in self.rows]), allow_pickle=False)
            sizes = {file.name: file.stat().st_size for file in sorted(new.iterdir())}
            account = {"key": key, "sizes": sizes, "files": [*files], **self._account(ids, table)}
            write_json(new / "shard.json", account)

    def _account(self, ids: NDArray[np.int32], table: NDArray[np.int64]) -> dict[str, Any]:
        lengths = [row.length for row in self.rows]
        cut = [row.cut for row in self.rows if row.cut]
        return {
            "texts": self.texts,
            "classes": [*self.classes],
            "examples": self.examples,
            "rows": len(self.rows),
            "tokens": len(ids),
            "learned": int(table[:, 5].sum()),
            "longest": max(lengths, default=0),
            "highest": int(ids.max()) if len(ids) else -1,
            "truncated": len(cut),
            "cut": sum(cut),
            "expanded": self.expanded,
            "without_stop": self.without_stop,
            "traits": {name: [count, *_place(self.first[name])] for name, count in self.traits.items()},
            "left_out": [[*_place(source), reason] for source, reason in self.left_out],
            "partly": [[*_place(source), reason] for source, reason in self.partly],
        }


def _place(source: Source) -> tuple[str, int]:
    return source.file, source.line


class Stored(Sequence[Encoded]):
    """The texts of one split, mapped from its shards; a row is read when it is asked for.

    Args:
        folder: Where the shards are.
        shards: How many.
    """

    def __init__(self, folder: Path, shards: int) -> None:
        self.folders = [folder / shard_name(number) for number in range(shards)]
        self.accounts: list[dict[str, Any]] = [
            json.loads((shard / "shard.json").read_text(encoding="utf-8")) for shard in self.folders
        ]
        self._ends = np.cumsum([account["rows"] for account in self.accounts], dtype=np.int64).tolist()
        self._mapped: OrderedDict[int, tuple[Any, Any]] = OrderedDict()

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    @overload
    def __getitem__(self, place: int) -> Encoded: ...
    @overload
    def __getitem__(self, place: slice) -> list[Encoded]: ...
    def __getitem__(self, place: int | slice) -> Encoded | list[Encoded]:
        if isinstance(place, slice):
            return [self[one] for one in range(*place.indices(len(self)))]
        if place < 0:
            place += len(self)
        if not 0 <= place < len(self):
            raise IndexError(place)
        shard = bisect_right(self._ends, place)
        ids, learned = self._shard(shard)
        first, past, file, line, cut, _ = self._table[place].tolist()
        source = Source(self.accounts[shard]["files"][file], line)
        return Encoded(ids[first:past], learned[first:past], source, cut=cut, label=float(self.labels[place]))

    def _shard(self, number: int) -> tuple[Any, Any]:
        """Return ids and flags of a shard, mapped. Only the last used stay open: each takes two file descriptors."""
        if number in self._mapped:
            self._mapped.move_to_end(number)
            return self._mapped[number]
        # An empty file can't be mapped.
        mode: Literal["r"] | None = "r" if self.accounts[number]["tokens"] else None
        ids, learned = (np.load(self.folders[number] / f"{name}.npy", mmap_mode=mode) for name in ("ids", "learned"))
        self._mapped[number] = ids, learned
        if len(self._mapped) > OPEN:
            self._mapped.popitem(last=False)
        return ids, learned

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Return the tokens of each row, shape (R,)."""
        return self._table[:, 1] - self._table[:, 0]

    @property
    def learned(self) -> NDArray[np.int64]:
        """Return how many tokens of each row are learned, shape (R,)."""
        return self._table[:, 5]

    @cached_property
    def labels(self) -> NDArray[np.float64]:
        """Return the label of each row, shape (R,); NaN where it has none."""
        return np.concatenate([np.zeros(0), *(np.load(folder / "labels.npy") for folder in self.folders)])

    @property
    def texts(self) -> int:
        """Return how many rows make an example: 2 of a pair, else 1."""
        return int(self.accounts[0]["texts"]) if self.accounts else 1

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the names of the classes, in the order of their numbers."""
        return tuple(self.accounts[0]["classes"]) if self.accounts else ()

    @cached_property
    def _table(self) -> NDArray[np.int64]:
        tables = [np.load(folder / "rows.npy") for folder in self.folders]
        return np.concatenate(tables or [np.zeros((0, 6), np.int64)])

    def total(self, what: str) -> int:
        """Return a count over all shards, such as `rows`, `tokens`, `learned` or `truncated`."""
        return sum(int(account[what]) for account in self.accounts)

    def most(self, what: str) -> int:
        """Return the largest of all shards: `longest` or `highest`."""
        return max((int(account[what]) for account in self.accounts), default=0)

    def left_out(self, *, partly: bool = False) -> Iterator[tuple[Source, str]]:
        """Yield every row that can't be learned, with its reason; or those of which only a part can't."""
        for account in self.accounts:
            for file, line, reason in account["partly" if partly else "left_out"]:
                yield Source(file, line), reason

    def traits(self) -> dict[str, tuple[int, Source]]:
        """Return what is to be told of some rows: how many show it, and the first of them."""
        found: dict[str, tuple[int, Source]] = {}
        for account in self.accounts:
            for name, (count, file, line) in account["traits"].items():
                before, first = found.get(name, (0, Source(file, line)))
                found[name] = before + count, first
        return found


def shard_name(number: int) -> str:
    """Return the folder of a shard."""
    return f"{number:05d}"
