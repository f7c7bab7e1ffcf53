"""Rows to examples, row by row: which shape, which columns, what else the row says."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from luthier.core.example import Example, Message, Source
from luthier.core.text import one_line
from luthier.data import media
from luthier.data.formats import evened_name, kto
from luthier.data.formats.parts import Parts
from luthier.data.formats.turns import are_texts, has_turns
from luthier.data.nested.unfolded import Told
from luthier.data.rows import RawRow, Refusal
from luthier.data.shapes import Shape, shape_of, shapes_of
from luthier.data.unsuited import LOOKS, other_shape
from luthier.recipe.data import MADE_FROM, Data
from luthier.recipe.methods import Rows

LONGEST_TAG = 64
"""Texts in other columns up to this many characters are kept as tags; longer ones are hardly labels."""

MOST_SHAPES = 1000
"""Different sets of columns that are remembered; files whose every row has its own are possible."""

IN_TURN = ("turns", "data", "utterances")
"""Columns whose lists of texts two people said in turn, unless `question_id` makes them MT-Bench's questions."""

MOST_NAMES = 1000
"""Different mappings and unused columns that are told apart in the report: the first; of the rest, how many rows."""

ONE_CLASS = "a classifier learns one for each text, `--set train.objective=sft` all of them"


@dataclass(slots=True)
class Seen:
    """What was met while converting some rows or all."""

    formats: Counter[str] = field(default_factory=Counter)
    mappings: Counter[tuple[str, tuple[tuple[str, str], ...]]] = field(default_factory=Counter)
    unused: Counter[str] = field(default_factory=Counter)
    verdicts: Counter[bool] = field(default_factory=Counter)
    """Rows learned as conversations that are marked as good or bad answers."""
    other_mappings: int = 0
    """Rows with further mappings."""
    other_unused: int = 0
    """Cells in further columns that play no part."""
    trimmed: int = 0
    unfolded: dict[str, Told] = field(default_factory=dict)
    """What records with several rows became, by their shape."""

    def add(self, later: "Seen") -> None:
        """Take in what was met in the rows that come next."""
        self.formats += later.formats
        self.other_mappings += later.other_mappings + _add(self.mappings, later.mappings)
        self.other_unused += later.other_unused + _add(self.unused, later.unused)
        self.verdicts += later.verdicts
        self.trimmed += later.trimmed
        self.unfold(later.unfolded)

    def unfold(self, told: Mapping[str, Told]) -> None:
        """Take in what records with several rows became."""
        for shape, later in told.items():
            self.unfolded.setdefault(shape, Told()).add(later)


def _add(seen: Counter[Any], later: Counter[Any]) -> int:
    """Add the counts of what is known, or among the first that are. Return the sum of the others."""
    others = 0
    for name, count in later.items():
        if name in seen or len(seen) < MOST_NAMES:
            seen[name] += count
        else:
            others += count
    return others


class Converter:
    """Turns rows into examples, each on its own, and counts in `seen` what it met.

    Args:
        data: The recipe's section; its format and fields decide.
        rows: What the objective learns from: only shapes that give it are tried.
    """

    def __init__(self, data: Data, rows: Rows = "conversation") -> None:
        self.data = data
        self.rows = rows
        self.seen = Seen()
        self._shapes: dict[tuple[str, ...], list[Shape]] = {}
        self._refusals: dict[tuple[str, ...], Refusal] = {}

    def convert(self, raw: RawRow) -> Example | Refusal:
        """Return the row's example, or why it gives none."""
        for shape in self._candidates(raw.row):
            parts = shape.format.parts(raw.row, shape.columns)
            if not isinstance(parts, Refusal) and shape.media:
                parts = media.shown(raw.row, shape.media, [*parts.messages, *parts.rejected]) or parts
            if not isinstance(parts, Refusal):
                parts = self._learned(parts, raw.row, shape)
            if isinstance(parts, Refusal):
                if parts.reason == "unknown_format":
                    continue
                return parts
            self.seen.formats[shape.name] += 1
            self.seen.mappings[shape.name, tuple(shape.columns.items())] += 1
            self.seen.unused.update(parts.left)
            tags = self._tags(raw.row, shape.others) if shape.others else {}
            return _example(parts, raw.source, tags)
        return self._unknown(raw.row)

    def _learned(self, parts: Parts, row: dict[str, Any], shape: Shape) -> Parts | Refusal:
        """Return what the objective learns of a row, or why there is nothing to learn."""
        if self.rows == "text":
            return parts
        if self.rows == "class":
            many = len(parts.classes)
            column = shape.columns["label"]
            return parts if many == 1 else Refusal("does_not_fit", f"`{column}` holds {many} classes; {ONE_CLASS}")
        if self.rows == "conversation":
            answer = [Message("assistant", ", ".join(parts.classes))] if parts.classes else []
            # Of a preference, the better ending is learned.
            parts = parts._replace(messages=[*parts.messages, *answer], classes=(), rejected=(), margin=None)
            verdict = kto.judged(row[shape.verdict], shape.verdict) if shape.verdict else None
            if isinstance(verdict, bool):
                self.seen.verdicts[verdict] += 1
        whole = [turns for turns in (parts.messages, parts.rejected) if turns]
        said = [_up_to_the_last_answer(turns) for turns in whole]
        if not said or not all(said):
            return Refusal("no_answer", "no turn of the assistant")
        self.seen.trimmed += sum(map(len, said)) < sum(map(len, whole))
        return parts._replace(messages=said[0], rejected=said[1] if len(said) > 1 else ())

    def _candidates(self, row: dict[str, Any]) -> list[Shape]:
        """Return the shapes a row may have: those its columns' names speak for, else what a value speaks for."""
        names = tuple(row)
        shapes = self._shapes.get(names)
        if shapes is None:
            shapes = shapes_of(names, self.data, MADE_FROM[self.rows])
            if len(self._shapes) < MOST_SHAPES:
                self._shapes[names] = shapes
        if not shapes and self.data.format == "auto" and not self.data.fields and self.rows == "conversation":
            turns = [name for name in names if has_turns(row[name])] or [
                name for name in names if evened_name(name) in IN_TURN and are_texts(row[name])
            ]
            if "question_id" in names:
                turns = [name for name in turns if not are_texts(row[name])]
            return [shape_of("openai", {"messages": turns[0]}, names)] if len(turns) == 1 else []
        return shapes

    def _unknown(self, row: dict[str, Any]) -> Refusal:
        names = tuple(row)
        if names not in self._refusals:
            if len(self._refusals) >= MOST_SHAPES:
                self._refusals.clear()
            seen = ", ".join(f"`{one_line(name, 40)}`" for name in names[:12]) or "none"
            other = other_shape(names, self.data, self.rows)
            told = f"; {LOOKS[other.format]}" if other else ""
            self._refusals[names] = Refusal("unknown_format", f"the columns are {seen}{told}")
        return self._refusals[names]

    def _tags(self, row: dict[str, Any], others: Sequence[str]) -> dict[str, str]:
        tags = {}
        for name in others:
            value = row[name]
            if isinstance(value, str) and len(value) <= LONGEST_TAG:
                if value.strip():
                    tags[name] = value.strip()
            elif value is not None:
                self.seen.unused[name] += 1
        return tags


def _example(parts: Parts, source: Source, tags: dict[str, str]) -> Example:
    return Example(
        messages=tuple(parts.messages),
        source=source,
        tags=tags,
        tools=parts.tools,
        rejected=tuple(parts.rejected),
        label=parts.classes[0] if parts.classes else parts.label,
        margin=parts.margin,
    )


def _up_to_the_last_answer(messages: Sequence[Message]) -> Sequence[Message]:
    """Return the conversation without what follows the last answer: nothing there is learned."""
    end = len(messages)
    while end and messages[end - 1].role != "assistant":
        end -= 1
    return messages[:end]
