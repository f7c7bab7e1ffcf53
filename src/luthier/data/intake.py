"""The one place where batches meet: rows are counted, compared with all earlier ones, kept or dropped, in order."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import compress
from pathlib import Path

import numpy as np
import orjson

from luthier.core.example import Example
from luthier.core.progress import Progress
from luthier.data.account import Account
from luthier.data.batches import Batch
from luthier.data.clean import duplicates
from luthier.data.clean.privacy.hiding import Show
from luthier.data.clean.step import Notes
from luthier.data.convert import Seen
from luthier.data.kept import Kept, Numbers
from luthier.data.leakage.look import Found
from luthier.data.near.compared import Compared
from luthier.data.near.settle import NearRows, look
from luthier.data.refine import Refined
from luthier.data.rows import RawRow, Refusal
from luthier.data.semantic import settle as semantic
from luthier.data.semantic.embeddings import Embed, Embeddings
from luthier.data.semantic.settle import SameRows
from luthier.data.written import Written
from luthier.recipe.data import SemanticDuplicates

KEPT = ".kept"
"""Folder of the columns while rows come."""

WAITING = ".kept.jsonl"
"""Kept rows until all are known: only then are those found that come near to others, and is any split sure."""


class Intake:
    """Takes in batches in the order of the files.

    Args:
        folder: Where `dropped.jsonl`, the waiting rows and the columns are written.
        unique: Whether rows that equal an earlier one are dropped.
        shown: Hides what is private in dropped rows.
    """

    def __init__(self, folder: Path, *, unique: bool, shown: Show) -> None:
        self.dropped = Written(folder / "dropped.jsonl")
        self.waiting = Written(folder / WAITING)
        self.kept = Kept(folder / KEPT)
        self.seen = Seen()
        self.notes: dict[str, Notes] = {}
        self.leaks = Found()
        self.held_out = 0
        """How many of the kept rows, the first ones, are of files that are held out."""
        self.labels: dict[str, int] = {}
        """Number of each class or verdict."""
        self._size = 0
        self._duplicates = duplicates.Duplicates() if unique else None
        self.account = Account(self.dropped, shown)

    def take_in(self, batch: Batch, refined: Refined) -> Counter[str | None]:
        """Keep or drop the rows of the batch that comes next. Return how many were dropped by reason; None is kept."""
        self.seen.add(refined.seen)
        self.seen.unfold(batch.unfolded)
        for name, notes in refined.notes.items():
            self.notes.setdefault(name, Notes()).add(notes)
        self.leaks.add(refined.leaks)
        dropped = [(refused.place, refused.refusal) for refused in refined.refused]
        stay = np.arange(len(refined.places))
        if self._duplicates and len(stay):
            numbers, new = self._duplicates.match(refined.keys)
            stay = np.flatnonzero(new)
            self._keep(batch, refined, stay)
            dropped += [
                (refined.places[index], self._equal(int(numbers[index]))) for index in np.flatnonzero(~new).tolist()
            ]
        else:
            self._keep(batch, refined, stay)
        self.account.rows_in += len(refined.refused) + len(refined.places)
        for place, refusal in sorted(dropped, key=lambda drop: drop[0]):
            self._drop(batch, place, refusal)
        return Counter({None: len(stay)}) + Counter(refusal.reason for _, refusal in dropped)

    def _equal(self, number: int) -> Refusal:
        """Return the reason for dropping a row that equals a kept one."""
        matched = self.kept.source(number)
        if number < self.held_out:
            return Refusal("held_out", f"equal to {matched}, which is held out", matched)
        return duplicates.refusal(matched)

    def _keep(self, batch: Batch, refined: Refined, stay: Numbers) -> None:
        if not len(stay):
            return
        lines = [refined.lines[index] for index in stay]
        ends = np.cumsum([0, *map(len, lines)], dtype=np.uint64) + np.uint64(self._size)
        columns = {name: values[stay] for name, values in refined.columns.items()}
        if refined.labels:
            numbers = [self.labels.setdefault(refined.labels[index], len(self.labels)) for index in stay]
            columns["label"] = np.array(numbers, np.uint32)
        self.kept.add(batch.file, {**columns, "begin": ends[:-1]})
        for line in lines:
            self.waiting.write(line)
        self._size = int(ends[-1])
        self.account.kept += len(stay)

    def _drop(self, batch: Batch, place: int, refusal: Refusal) -> None:
        row = batch.row(place)
        self.account.drop(row.row if isinstance(row, RawRow) else row.raw, row.source, refusal)

    def take_out(self, rows: Numbers, why: Callable[[int], Refusal]) -> None:
        """Drop rows that were kept; those behind them move up. No more can be taken in then.

        The file of dropped rows gets them as they would have been written: the rows as read are gone.

        Args:
            rows: Their numbers, ascending.
            why: Gives the reason for each.
        """
        self.waiting.close()
        begins = self.kept["begin"]
        with self.waiting.path.open("rb") as lines:
            for row in rows.tolist():
                lines.seek(int(begins[row]))
                self.account.drop(json.loads(lines.readline()), self.kept.source(row), why(row))
        self.account.kept -= len(rows)
        self.kept.leave_out(rows)

    def take_out_near(self, compared: Compared) -> NearRows:
        """Find the rows that are near an earlier one, and drop them if so asked. No more can be taken in then."""
        found, why = look(self.kept, compared)
        if compared.drop:
            self.take_out(found.rows, why)
        return found

    def take_out_same(self, asked: SemanticDuplicates, embed: Embed, progress: Progress) -> SameRows:
        """Find the rows that say nearly the same as an earlier one, and drop them if so asked. Then as above."""
        examples = (Example.from_dict(orjson.loads(line)) for line in self.waiting_lines())
        file = self.waiting.path.with_suffix(".vectors")
        found, why = semantic.look(self.kept, examples, asked, Embeddings(file, embed, asked.embed), progress)
        if asked.action == "drop":
            self.take_out(found.rows, why)
        return found

    def waiting_lines(self) -> Iterator[bytes]:
        """Yield the lines of the kept rows. No more can be taken in then."""
        self.waiting.close()
        stays = np.zeros(self.waiting.rows, np.bool_)
        stays[self.kept.left] = True
        with self.waiting.path.open("rb") as lines:
            yield from compress(lines, stays.tolist())

    def close(self) -> None:
        """Close the files; what waits is deleted."""
        self.dropped.close()
        self.waiting.close()
        self.waiting.path.unlink()
        self.kept.close()
