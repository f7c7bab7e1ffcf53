"""Rows to examples, row by row: which shape, which columns, what else the row says."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from luthier.core.errors import DataError
from luthier.core.example import Example, Message, Source
from luthier.core.text import did_you_mean, one_line
from luthier.data.formats import FORMATS, Format, evened_name, kto
from luthier.data.formats.parts import Parts
from luthier.data.formats.turns import has_turns
from luthier.data.nested.unfolded import Told
from luthier.data.rows import RawRow, Refusal
from luthier.recipe.data import MADE_FROM, NEEDED, Data, Fields
from luthier.recipe.data import Format as Name
from luthier.recipe.methods import Rows

LONGEST_TAG = 64
"""Texts in other columns up to this many characters are kept as tags; longer ones are hardly labels."""

MOST_SHAPES = 1000
"""Different sets of columns that are remembered; files whose every row has its own are possible."""


ONE_CLASS = "a classifier learns one for each text, `--set train.objective=sft` all of them"


@dataclass(frozen=True, slots=True)
class Shape:
    """What rows with a certain set of columns are."""

    name: Name
    format: Format
    columns: dict[str, str]
    others: tuple[str, ...]
    """Columns that play no part."""
    verdict: str | None
    """Column of conversations that may say whether the answer is a good one."""


@dataclass(slots=True)
class Seen:
    """What was met while converting some rows or all."""

    formats: Counter[str] = field(default_factory=Counter)
    mappings: Counter[tuple[str, tuple[tuple[str, str], ...]]] = field(default_factory=Counter)
    unused: Counter[str] = field(default_factory=Counter)
    verdicts: Counter[bool] = field(default_factory=Counter)
    """Rows learned as conversations that are marked as good or bad answers."""
    trimmed: int = 0
    unfolded: dict[str, Told] = field(default_factory=dict)
    """What records with several rows became, by their shape."""

    def add(self, later: "Seen") -> None:
        """Take in what was met in the rows that come next."""
        self.formats += later.formats
        self.mappings += later.mappings
        self.unused += later.unused
        self.verdicts += later.verdicts
        self.trimmed += later.trimmed
        self.unfold(later.unfolded)

    def unfold(self, told: Mapping[str, Told]) -> None:
        """Take in what records with several rows became."""
        for shape, later in told.items():
            self.unfolded.setdefault(shape, Told()).add(later)


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

    def convert(self, raw: RawRow) -> Example | Refusal:
        """Return the row's example, or why it gives none."""
        for shape in self._candidates(raw.row):
            parts = shape.format.parts(raw.row, shape.columns)
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
            shapes = _find(names, self.data, MADE_FROM[self.rows])
            if len(self._shapes) < MOST_SHAPES:
                self._shapes[names] = shapes
        if not shapes and self.data.format == "auto" and not self.data.fields and self.rows == "conversation":
            turns = [name for name in names if has_turns(row[name])]
            return [_shape("openai", {"messages": turns[0]}, names)] if len(turns) == 1 else []
        return shapes

    def _unknown(self, row: dict[str, Any]) -> Refusal:
        names = ", ".join(f"`{one_line(name, 40)}`" for name in [*row][:12]) or "none"
        other = _other([*row], self.data, self.rows)
        told = f"; {LOOKS[other.format]}" if other else ""
        return Refusal("unknown_format", f"the columns are {names}{told}")

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


class Other(NamedTuple):
    """A shape that rows have, and the objective that learns from it."""

    format: Name
    objective: str


OBJECTIVES: dict[Rows, str] = {
    "pair": "dpo",
    "judged": "kto",
    "class": "classify",
    "text": "pretrain",
    "conversation": "sft",
}
"""The usual objective for each kind of rows, to hint at; those whose rows are the most telling first."""

WANTED: dict[Rows, str] = {
    "conversation": "conversations",
    "pair": "pairs of a better and a worse ending",
    "judged": "judged answers, or pairs of a better and a worse one",
    "class": "texts with a class",
    "text": "plain text",
}
"""What an objective learns from, for messages."""

LOOKS: dict[Name, str] = {
    "openai": "rows with turns",
    "sharegpt": "rows with turns",
    "alpaca": "questions with answers",
    "completion": "questions with answers",
    "qa": "questions about texts",
    "choice": "questions with answers to choose from",
    "summary": "texts with summaries",
    "translation": "texts in two languages",
    "transcript": "transcripts of conversations",
    "preference": "pairs of a better and a worse ending",
    "kto": "judged answers",
    "classification": "texts with a class",
    "text": "plain text",
}
"""What rows of a shape are, for messages."""


def _other(columns: Sequence[str], data: Data, rows: Rows) -> Other | None:
    """Return the shape of rows that are none the objective learns from, and the objective that does."""
    if data.fields or data.format != "auto":
        return None
    for kind, objective in OBJECTIVES.items():
        shapes = _find(tuple(columns), data, MADE_FROM[kind]) if kind != rows else []
        if shapes:
            return Other(shapes[0].name, objective)
    return None


def unusable(name: str, columns: Sequence[str], data: Data, rows: Rows) -> DataError:
    """Return the error for a file of which no row fits: the columns seen, and what to set."""
    seen = ", ".join(f"`{one_line(column, 40)}`" for column in columns[:12])
    if other := _other(columns, data, rows):
        return DataError(
            f"the objective learns from {WANTED[rows]}, but these are {LOOKS[other.format]}; the columns are {seen}",
            hint=f"`--set train.objective={other.objective}` learns from them, or say which columns hold what:"
            f" `--set data.fields='{_fields_of(rows)}'`",
            place=name,
        )
    if data.fields:
        wrong = [column for column in data.fields.model_dump().values() if column and column not in columns]
        near = did_you_mean(wrong[0], columns) if wrong else None
        missing = ", ".join(f"`{column}`" for column in wrong)
        hint = f"did you mean `{near}`?" if near else "correct `data.fields`"
        return DataError(f"no row has the column {missing}; the columns are {seen}", hint=hint, place=name)
    what = "that luthier knows" if data.format == "auto" else f"of the format `{data.format}`"
    return DataError(
        f"no row has columns {what}; the columns are {seen}",
        hint=f"say which hold what: `--set data.fields='{_fields_of(rows)}'`"
        " (a CSV file's first line must be the column names)",
        place=name,
    )


def _fields_of(rows: Rows) -> str:
    needed = NEEDED.get(MADE_FROM[rows][0], ()) if rows != "conversation" else NEEDED["completion"]
    return "{" + ", ".join(f"{part}: COLUMN" for part in needed) + "}"


def _find(names: tuple[str, ...], data: Data, formats: Sequence[Name]) -> list[Shape]:
    """Return the shapes that rows with these columns may have, the likeliest first."""
    evened: dict[str, str] = {}
    for name in names:
        evened.setdefault(evened_name(name), name)
    shapes = []
    for shape in formats:
        if data.format not in ("auto", shape):
            continue
        columns = _by_fields(names, shape, data.fields) if data.fields else FORMATS[shape].columns(evened)
        if columns:
            shapes.append(_shape(shape, columns, names))
    return shapes


def _shape(name: Name, columns: dict[str, str], names: Sequence[str]) -> Shape:
    others = tuple(column for column in names if column not in columns.values())
    return Shape(name, FORMATS[name], columns, others, kto.verdict({evened_name(other): other for other in others}))


def _by_fields(names: tuple[str, ...], name: Name, fields: Fields) -> dict[str, str] | None:
    """Return the columns the user described, when a row has those the format needs; others may be missing."""
    columns = {part: column for part, column in fields.model_dump().items() if column in names}
    return columns if name in NEEDED and columns.keys() >= {*NEEDED[name]} else None


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
