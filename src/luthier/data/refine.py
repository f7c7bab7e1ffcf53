"""A batch of rows to what becomes of each: all that takes time, and nothing that needs to know other batches.

So batches can be refined in any number of processes, or machines, with the same result.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from luthier.core.example import Example
from luthier.data.batches import Batch
from luthier.data.clean import Cleaner
from luthier.data.clean.step import Notes
from luthier.data.clean.vocabulary import Vocabulary
from luthier.data.convert import Converter, Seen
from luthier.data.held_back import own_part
from luthier.data.jsonl import example_line
from luthier.data.kept import Numbers
from luthier.data.keys import parted, prompt_key, value_key
from luthier.data.leakage.look import Found, Leaks
from luthier.data.learned import endings, label_of
from luthier.data.lengths import UNKNOWN, Tokenizer, measure
from luthier.data.near.compared import compared
from luthier.data.near.shingles import Shingles
from luthier.data.readers.nested import SPLIT
from luthier.data.rows import RawRow, Refusal
from luthier.data.traits import spot
from luthier.recipe.data import Data
from luthier.recipe.methods import Rows


@dataclass(frozen=True, slots=True)
class Refused:
    """A row of a batch that is dropped."""

    place: int
    """Which one of the batch."""
    refusal: Refusal
    readable: bool


@dataclass(frozen=True, slots=True)
class Refined:
    """What becomes of a batch: `n` examples in the order of their rows, and the rows that give none."""

    refused: Sequence[Refused]
    places: Sequence[int]
    """Which row of the batch each example was made of. A pair may give two examples."""
    lines: Sequence[bytes]
    """The example as it is written."""
    keys: Numbers
    """Shape (n, 2), unsigned 64 bit: what is the same for equal examples."""
    columns: dict[str, Numbers | Shingles]
    """What else is remembered of each example, by name, each of length n. See `Kept`."""
    labels: Sequence[str]
    """Class or verdict of each example; empty where rows have none."""
    seen: Seen
    notes: dict[str, Notes]
    leaks: Found = field(default_factory=Found)


class Refiner:
    """Makes of each batch what becomes of it. It remembers nothing of earlier batches.

    Args:
        data: The recipe's section.
        rows: What the objective learns from.
        tokenizer: The model's.
        leaks: Looks for items of tests, if any were named.
    """

    def __init__(self, data: Data, rows: Rows, tokenizer: Tokenizer = UNKNOWN, leaks: Leaks | None = None) -> None:
        self.rows = rows
        self._seed = data.split.seed
        self._values = {"group_key": data.split.group_by, "stratum_key": data.split.stratum_column}
        self._own = data.split.own == "auto" and not data.valid_sources and not data.test_sources
        self._leaks = leaks
        self._near = compared(data.clean, rows)
        self._converter = Converter(data, rows)
        self._count = tokenizer.counter() if tokenizer.counter else None
        self._cleaner = Cleaner(data.clean, Vocabulary(tokenizer.special, self._count))

    def refine(self, batch: Batch) -> Refined:
        """Return what becomes of the rows of a batch."""
        refused: list[Refused] = []
        converted = self._convert(batch, refused)
        cleaned, notes = self._cleaner.clean([example for _, example in converted])
        found = self._drop_leaks(cleaned)
        examples: list[Example] = []
        places: list[int] = []
        lines: list[bytes] = []
        for (place, _), result in zip(converted, cleaned, strict=True):
            if isinstance(result, Refusal):
                refused.append(Refused(place, result, readable=True))
                continue
            for example in as_learned(result, self.rows):
                line = example_line(example)
                if isinstance(line, Refusal):
                    refused.append(Refused(place, line, readable=True))
                    continue
                examples.append(example)
                places.append(place)
                lines.append(line)
        keys, columns = self._numbers(examples)
        columns |= self._value_keys(batch, examples, places)
        if self._own:
            columns["own_part"] = np.array([own_part(example.tags.get(SPLIT)) for example in examples], np.uint8)
        labels = [label for example in examples if (label := label_of(example)) is not None]
        refused.sort(key=lambda each: each.place)
        return Refined(refused, places, lines, keys, columns, labels, self._converter.seen, notes, found)

    def _convert(self, batch: Batch, refused: list[Refused]) -> list[tuple[int, Example]]:
        """Return the examples of a batch with the places of their rows; add to `refused` what gives none."""
        self._converter.seen = Seen()
        converted = []
        for place, row in enumerate(batch.rows()):
            if isinstance(row, RawRow):
                result = self._converter.convert(row)
                if isinstance(result, Refusal):
                    refused.append(Refused(place, result, readable=True))
                else:
                    converted.append((place, result))
            else:
                refused.append(Refused(place, row.refusal, readable=row.understood))
        return converted

    def _drop_leaks(self, cleaned: list[Example | Refusal]) -> Found:
        """Put refusals in the place of rows that hold items of tests. Return what was found."""
        if self._leaks is None:
            return Found()
        left = [place for place, result in enumerate(cleaned) if isinstance(result, Example)]
        leaks, found = self._leaks.look([example for example in cleaned if isinstance(example, Example)])
        for place, leak in zip(left, leaks, strict=True):
            if leak is not None and self._leaks.options.action == "drop":
                cleaned[place] = leak.refusal()
        return found

    def _value_keys(self, batch: Batch, examples: Sequence[Example], places: Sequence[int]) -> dict[str, Numbers]:
        """Return numbers made of what the rows hold in the columns that decide the split, whatever its length."""
        wanted = {name: column for name, column in self._values.items() if column is not None}
        if not wanted or not examples:
            return {}
        rows = [row.row if isinstance(row, RawRow) else {} for row in batch.rows()]
        return {
            name: np.array(
                [
                    value_key(rows[place].get(column, example.tags.get(column)), seed=self._seed)
                    for place, example in zip(places, examples, strict=True)
                ],
                np.uint64,
            )
            for name, column in wanted.items()
        }

    def _numbers(self, examples: Sequence[Example]) -> tuple[Numbers, dict[str, Numbers | Shingles]]:
        """Return the keys of examples and the columns."""
        if not examples:
            return np.empty((0, 2), np.uint64), {}
        parts = [parted(example) for example in examples]
        keys = _halves([part.key() for part in parts])
        columns: dict[str, Numbers | Shingles] = {
            "line": np.array([example.source.line for example in examples], np.uint64),
            "key": keys[:, 0],
            "prompt_key": np.array([prompt_key(part.prompt, seed=self._seed) for part in parts], np.uint64),
            "turns": np.array([len(example.messages) for example in examples], np.uint32),
            "traits": np.array([spot(example) for example in examples], np.uint64),
            **{f"{part}_tokens": counts for part, counts in measure(examples, self._count).items()},
        }
        if self.rows in ("pair", "judged"):
            columns["opposite"] = _halves([part.opposite() or b"\0" * 16 for part in parts])[:, 0]
            columns |= endings(examples, self.rows)
        if self._near:
            columns |= self._near.sign(examples)
        return keys, columns


def as_learned(example: Example, rows: Rows) -> list[Example]:
    """Return the example, or where a pair has come and the objective wants judged answers, both of its answers."""
    if not example.rejected or rows != "judged":
        return [example]
    good = replace(example, rejected=(), margin=None, label=True)
    return [good, replace(good, messages=example.rejected, label=False)]


def _halves(digests: Sequence[bytes]) -> Numbers:
    """Return digests of 16 bytes as two numbers each: shape (n, 2)."""
    return np.frombuffer(b"".join(digests), ">u8").reshape(-1, 2).astype(np.uint64)
