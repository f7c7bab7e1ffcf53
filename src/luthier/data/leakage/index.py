"""The items of test sets as sorted numbers, to be found in texts fast.

A text of at least `ngram` words is known by each of its runs of that many words; what is told is how much of it such
runs cover. Runs that many texts of a file share (instructions, templates) are left out of both; a text of which less
than half is left, and one of 5 to `ngram` - 1 words, is known as a whole only. (13 words: Brown et al. 2020,
arXiv:2005.14165, appendix C; coverage instead of a single hit: Touvron et al. 2023, arXiv:2307.09288, A.6.)
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from luthier.data.leakage.texts import ALIKE, LEAST, MANY, Text, portions
from luthier.data.leakage.words import Numbers, Places, Words, run_number, runs, within

MANY_SHARE = 0.01
HALF = 0.5
"""A run is common when more texts of a file share it than `MANY`, or than half of them if these are fewer, and in large
files more than this share; two may always."""


@dataclass(frozen=True, slots=True)
class Table:
    """From the number of a run to the texts it stands in. K runs, E entries."""

    keys: Numbers
    """Sorted. (K,)"""
    first: Places
    """Where in the entries those of each run begin, and the end of all. (K + 1,)"""
    text: Places
    """(E,)"""
    place: Places
    """How many words of the text stand before the run. (E,)"""
    maybe: NDArray[np.bool_]
    """Whether a key begins with these bits: most runs of most rows end here."""

    def find(self, numbers: Numbers) -> tuple[Places, Places]:
        """Return the places of the runs that are known, and their entries; a run comes once for each entry."""
        shift = np.uint64(65 - len(self.maybe).bit_length())
        at = np.flatnonzero(self.maybe[numbers >> shift])
        key = np.searchsorted(self.keys, numbers[at])
        known = self.keys[np.minimum(key, len(self.keys) - 1)] == numbers[at]
        at, key = at[known], key[known]
        count = self.first[key + 1] - self.first[key]
        step = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        return np.repeat(at, count), np.repeat(self.first[key], count) + step


class Match(NamedTuple):
    """A text of a test that was found in a row."""

    row: int
    text: int
    covered: int
    """How many words of the text, of those that count."""
    of: int
    """How many count."""
    span: str
    """The longest stretch that both have."""


@dataclass(frozen=True, slots=True)
class Index:
    """What is looked for. T texts."""

    ngram: int
    texts: Sequence[Text]
    counting: Places
    """Words of each text in runs that are not common. (T,)"""
    whole: Numbers
    """The number of each text as one run. (T,)"""
    length: Places
    """Words of each text. (T,)"""
    by_runs: Table | None
    by_whole: dict[int, Table]
    """Texts known as a whole, by the length of the run under which they are found."""

    def matches(self, rows: Words) -> Iterator[Match]:
        """Yield what the rows hold of the texts: of each row and text one match, the texts word by word compared."""
        if self.by_runs:
            yield from self._by_runs(rows, self.by_runs)
        for length, table in self.by_whole.items():
            yield from self._by_whole(rows, table, length)

    def _by_runs(self, rows: Words, table: Table) -> Iterator[Match]:
        at, entry = _found(rows, table, self.ngram)
        text, place, row = table.text[entry], table.place[entry], rows.row[at]
        order = np.lexsort((place, text, row))
        at, text, place, row = at[order], text[order], place[order], row[order]
        begins = np.flatnonzero(np.diff(text, prepend=-1) | np.diff(row, prepend=-1))
        for first, last in pairwise([*begins.tolist(), len(at)]):
            number = int(text[first])
            spelled = self.texts[number].words.split(" ")
            pairs = zip(at[first:last].tolist(), place[first:last].tolist(), strict=True)
            stretches = _stretches(_truly(pairs, rows, spelled, self.ngram), self.ngram)
            if stretches:
                start, end = max(stretches, key=lambda stretch: stretch[1] - stretch[0])
                covered = sum(end - start for start, end in stretches)
                yield Match(int(row[first]), number, covered, int(self.counting[number]), " ".join(spelled[start:end]))

    def _by_whole(self, rows: Words, table: Table, length: int) -> Iterator[Match]:
        at, entry = _found(rows, table, length)
        text = table.text[entry]
        start, count = at - table.place[entry], self.length[table.text[entry]]
        inside = (start >= 0) & (start + count <= len(rows.number))
        text, start, count = text[inside], start[inside], count[inside]
        same = (rows.row[start] == rows.row[start + count - 1]) & (
            run_number(rows.number, start, count) == self.whole[text]
        )
        told = set()
        for number, first in zip(text[same].tolist(), start[same].tolist(), strict=True):
            row, size = int(rows.row[first]), int(self.length[number])
            spelled = rows.spelled(first, first + size)
            if (row, number) not in told and spelled == self.texts[number].words.split(" "):
                told.add((row, number))
                yield Match(row, number, size, size, " ".join(spelled))


def build(texts: Sequence[Text], *, ngram: int) -> Index:
    """Return the index of texts.

    Args:
        texts: As `texts_of` gives them.
        ngram: Words in a run.
    """
    number, row = _words_of(texts)
    length = np.bincount(row, minlength=len(texts))
    offset = np.cumsum(length) - length
    run, inside = runs(number, ngram), within(row, ngram)
    rare = inside & ~np.isin(run, _common(run[inside], row[: len(run)][inside], texts))
    counting = _covered(rare, row, ngram, len(texts))
    in_runs = counting * 2 >= np.maximum(length, 1)
    as_a_whole = np.array([text.part == "question" for text in texts], np.bool_) & ~in_runs

    def table(at: Places, numbers: Numbers) -> Table | None:
        return _table(numbers[at], row[at], at - offset[row[at]])

    whole = {
        size: table(_rarest(runs(number, size), row, size, as_a_whole & of_size), runs(number, size))
        for size, of_size in ((ngram, length >= ngram), (LEAST, length < ngram))
    }
    return Index(
        ngram=ngram,
        texts=texts,
        counting=counting,
        whole=run_number(number, offset, length),
        length=length,
        by_runs=table(np.flatnonzero(rare & in_runs[row[: len(rare)]]), run),
        by_whole={size: found for size, found in whole.items() if found},
    )


def _words_of(texts: Sequence[Text]) -> tuple[Numbers, Places]:
    """Return the words of all texts and which text each belongs to. Both (W,)."""
    numbers, rows, before = [np.empty(0, np.uint64)], [np.empty(0, np.int64)], 0
    for found in portions([text.words for text in texts]):
        numbers.append(found.number)
        rows.append(found.row + before)
        before += found.rows
    return np.concatenate(numbers), np.concatenate(rows)


def _common(run: Numbers, row: Places, texts: Sequence[Text]) -> Numbers:
    """Return the runs that many texts of one file share."""
    order = np.lexsort((row, run))
    run, row = run[order], row[order]
    once = np.ones(len(run), np.bool_)
    once[1:] = (run[1:] != run[:-1]) | (row[1:] != row[:-1])
    run, row = run[once], row[once]
    common = [np.empty(0, np.uint64)]
    for file in sorted({file for text in texts for file in text.files}):
        of_file = np.array([file in text.files for text in texts], np.bool_)
        different, count = np.unique(run[of_file[row]], return_counts=True)
        size = int(of_file.sum())
        common.append(different[count > max(ALIKE, min(MANY, HALF * size), MANY_SHARE * size)])
    return np.concatenate(common)


def _covered(begins: NDArray[np.bool_], row: Places, length: int, texts: int) -> Places:
    """Return how many words of each text lie in runs that begin where `begins` says. (T,)."""
    edges = np.zeros(len(row) + 1, np.int64)
    at = np.flatnonzero(begins)
    np.add.at(edges, at, 1)
    np.add.at(edges, at + length, -1)
    return np.bincount(row[np.cumsum(edges)[:-1] > 0], minlength=texts)


def _rarest(run: Numbers, row: Places, size: int, wanted: NDArray[np.bool_]) -> Places:
    """Return the place of the run of each wanted text that stands in the fewest places, so that few are compared."""
    at = np.flatnonzero(within(row, size))
    _, kind, count = np.unique(run[at], return_inverse=True, return_counts=True)
    order = np.lexsort((count[kind], row[at]))
    at = at[order][np.flatnonzero(np.diff(row[at][order], prepend=-1))]
    return at[wanted[row[at]]]


def _table(run: Numbers, text: Places, place: Places) -> Table | None:
    if not len(run):
        return None
    order = np.argsort(run, kind="stable")
    keys, first = np.unique(run[order], return_index=True)
    bits = max(8, (8 * len(keys)).bit_length())
    maybe = np.zeros(1 << bits, np.bool_)
    maybe[keys >> np.uint64(64 - bits)] = True
    return Table(keys, np.append(first, len(run)), text[order], place[order], maybe)


def _found(rows: Words, table: Table, length: int) -> tuple[Places, Places]:
    """Return where runs of the rows are known, and their entries in the table."""
    at, entry = table.find(runs(rows.number, length))
    inside = rows.row[at] == rows.row[at + length - 1]
    return at[inside], entry[inside]


def _truly(pairs: Iterable[tuple[int, int]], rows: Words, spelled: Sequence[str], length: int) -> Iterator[int]:
    """Yield the places in a text of the runs that rows and text share word by word. Equal numbers may be chance."""
    before = (-2, -2)
    for at, place in pairs:
        fresh = length if before != (at - 1, place - 1) else 1  # of a run that goes on, only the last word is new
        end = at + length
        if rows.spelled(end - fresh, end) == spelled[place + length - fresh : place + length]:
            before = at, place
            yield place


def _stretches(places: Iterable[int], length: int) -> list[tuple[int, int]]:
    """Return the stretches that runs of `length` words cover, given where they begin, in order."""
    stretches: list[tuple[int, int]] = []
    for place in places:
        if stretches and place <= stretches[-1][1]:
            stretches[-1] = (stretches[-1][0], place + length)
        else:
            stretches.append((place, place + length))
    return stretches
