"""Rows that hold items of tests: found, a batch at a time, by one index that every process can have."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from luthier.core.example import Example, Source
from luthier.core.text import one_line
from luthier.data.leakage.evaluations import Evaluation, read_evaluations
from luthier.data.leakage.index import Index, Match, build
from luthier.data.leakage.items import Part
from luthier.data.leakage.texts import texts_of
from luthier.data.leakage.words import chunks
from luthier.data.rows import Refusal
from luthier.recipe.data import Decontaminate

MOST_SAMPLES = 5
"""Leaks of each file that are shown."""

WIDE = 160
"""Characters of what row and item share that are shown."""


class Leak(NamedTuple):
    """A row that holds an item."""

    row: Source
    item: Source
    part: Part
    covered: int
    """Words of the question or answer that the row has too, in runs."""
    of: int
    """Words that count: all but those in runs which many items share."""
    span: str

    @property
    def coverage(self) -> float:
        """Return the share of the part that the row holds."""
        return self.covered / self.of

    def refusal(self) -> Refusal:
        """Return the reason for dropping the row."""
        held = f"holds {self.covered} of {self.of} words of the {self.part} at {self.item}"
        return Refusal("leaked", f"{held}: {one_line(self.span, WIDE)}", self.item)


@dataclass(slots=True)
class Found:
    """What was found in one batch or, added up in the order of the rows, in all. Files and items by number."""

    total: int = 0
    """Rows that hold an item of any file."""
    rows: Counter[int] = field(default_factory=Counter)
    """Rows that hold an item of the file."""
    partly: Counter[int] = field(default_factory=Counter)
    """Rows that share a run of words with an item of the file, but less of it than counts as a leak."""
    items: Counter[int] = field(default_factory=Counter)
    """Rows that hold the item."""
    samples: dict[int, list[Leak]] = field(default_factory=dict)
    """The first leaks of each file."""

    def add(self, later: "Found") -> None:
        """Take in what was found in the rows that come next."""
        self.total += later.total
        self.rows += later.rows
        self.partly += later.partly
        self.items += later.items
        for file, leaks in later.samples.items():
            kept = self.samples.setdefault(file, [])
            kept += leaks[: MOST_SAMPLES - len(kept)]


@dataclass(frozen=True, slots=True)
class Leaks:
    """Looks for the items of tests in rows. It keeps nothing between batches."""

    options: Decontaminate
    index: Index
    names: tuple[str, ...]
    """The files."""
    items: tuple[tuple[int, int], ...]
    """File and line of every item."""
    unchecked: frozenset[int]
    """Items that can't be looked for: too short, or without words of their own."""
    not_understood: tuple[int, ...]
    """Rows of each file that gave no item."""

    def look(self, examples: Sequence[Example]) -> tuple[list[Leak | None], Found]:
        """Return for each row the item that it holds most of, or None, and what was found in all of them."""
        texts = [text_of(example) for example in examples]
        matches: dict[int, dict[int, Match]] = defaultdict(dict)
        for indices, words in chunks(texts):
            for match in self.index.matches(words):
                of_row = matches[indices[match.row]]
                earlier = of_row.get(match.text)
                if earlier is None or earlier.covered < match.covered:  # a long text comes in pieces
                    of_row[match.text] = match
        found = Found()
        leaks: list[Leak | None] = [None] * len(examples)
        for row in sorted(matches):
            leaks[row] = self._judge(examples[row].source, [*matches[row].values()], found)
        return leaks, found

    def _judge(self, row: Source, matches: Sequence[Match], found: Found) -> Leak | None:
        """Return the greatest of a row's matches that are leaks, after counting them all."""
        of_files: dict[int, Leak] = {}
        partly: set[int] = set()
        items: set[int] = set()
        for match in sorted(matches, key=lambda match: (match.covered / match.of, match.of), reverse=True):
            text = self.index.texts[match.text]
            if match.covered < match.of * (self.options.code_coverage if text.code else self.options.coverage):
                partly |= text.files
                continue
            items |= {*text.items}
            for number in text.items:
                file = self.items[number][0]
                of_files.setdefault(
                    file, Leak(row, self.source(number), text.part, match.covered, match.of, match.span)
                )
        found.total += bool(items)
        found.items.update(items)
        found.rows.update(of_files.keys())
        found.partly.update(partly - of_files.keys())
        for file, leak in of_files.items():
            samples = found.samples.setdefault(file, [])
            if len(samples) < MOST_SAMPLES:
                samples.append(leak)
        return next(iter(of_files.values()), None)

    def source(self, item: int) -> Source:
        """Return where an item stands."""
        file, line = self.items[item]
        return Source(self.names[file], line)


def looker(options: Decontaminate) -> Leaks | None:
    """Return what looks for the items of the tests that the recipe names, or None when it names none.

    Raises:
        DataError: A file is missing, can't be read, or holds nothing to look for.
        Problems: Several of those.
    """
    return leaks_of(read_evaluations(options.against, options.fields), options) if options.against else None


def leaks_of(evaluations: Sequence[Evaluation], options: Decontaminate) -> Leaks:
    """Return what looks for the items of `evaluations`."""
    texts, unchecked = texts_of(evaluations, ngram=options.ngram)
    return Leaks(
        options=options,
        index=build(texts, ngram=options.ngram),
        names=tuple(evaluation.name for evaluation in evaluations),
        items=tuple((file, item.source.line) for file, each in enumerate(evaluations) for item in each.items),
        unchecked=frozenset(unchecked),
        not_understood=tuple(evaluation.not_understood for evaluation in evaluations),
    )


def text_of(example: Example) -> str:
    """Return all that is said: an item may begin in one turn and end in the next."""
    turns = (*example.messages, *example.rejected[example.shared :]) if example.rejected else example.messages
    return "\n".join(message.text for message in turns)
