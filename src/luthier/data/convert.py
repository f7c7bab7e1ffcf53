"""Rows to examples, row by row: which shape, which columns, what else the row says."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from luthier.core.errors import DataError
from luthier.core.example import Example, Message
from luthier.core.text import did_you_mean, one_line
from luthier.data.formats import FORMATS, Format, evened_name
from luthier.data.formats.turns import tools_of
from luthier.data.rows import RawRow, Refusal
from luthier.recipe.schema import Data, Fields

LONGEST_TAG = 64
"""Texts in other columns up to this many characters are kept as tags; longer ones are hardly labels."""

MOST_SHAPES = 1000
"""Different sets of columns that are remembered; files whose every row has its own are possible."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What rows with a certain set of columns are."""

    name: str
    format: Format
    columns: dict[str, str]
    others: tuple[str, ...]
    """Columns that play no part."""


@dataclass(slots=True)
class Seen:
    """What was met while converting one file or all."""

    formats: Counter[str] = field(default_factory=Counter)
    mappings: Counter[tuple[str, tuple[tuple[str, str], ...]]] = field(default_factory=Counter)
    unused: Counter[str] = field(default_factory=Counter)
    trimmed: int = 0


class Converter:
    """Turns rows into examples and remembers what it met.

    Args:
        data: The recipe's section; its format and fields decide.

    Raises:
        DataError: `fields` are given for a format whose rows hold a list of turns.
    """

    def __init__(self, data: Data) -> None:
        self.wanted = data.format
        self.fields = data.fields
        self.seen = Seen()
        self._shapes: dict[tuple[str, ...], Shape | None] = {}
        if data.fields and data.format in ("openai", "sharegpt"):
            raise DataError(
                f"`data.fields` names columns for prompt and answer, but `{data.format}` rows hold turns",
                hint="remove `data.fields`, or set `data.format` to `completion`",
            )

    def convert(self, raw: RawRow) -> Example | Refusal:
        """Return the row's example, or why it gives none."""
        shape = self._shape(raw.row)
        if shape is None:
            return self._unknown(raw.row)
        messages = shape.format.to_messages(raw.row, shape.columns)
        if isinstance(messages, Refusal):
            return messages
        tools = tools_of(raw.row[shape.columns["tools"]]) if "tools" in shape.columns else ()
        if isinstance(tools, Refusal):
            return tools
        kept = _up_to_the_last_answer(messages)
        if not kept:
            return Refusal("no_answer", "no turn of the assistant")
        self.seen.trimmed += len(kept) < len(messages)
        self.seen.formats[shape.name] += 1
        self.seen.mappings[shape.name, tuple(shape.columns.items())] += 1
        tags = self._tags(raw.row, shape.others) if shape.others else {}
        return Example(messages=tuple(kept), source=raw.source, tags=tags, tools=tools)

    def _shape(self, row: dict[str, Any]) -> Shape | None:
        names = tuple(row)
        try:
            return self._shapes[names]
        except KeyError:
            shape = _find(names, self.wanted, self.fields)
            if len(self._shapes) < MOST_SHAPES:
                self._shapes[names] = shape
            return shape

    def _unknown(self, row: dict[str, Any]) -> Refusal:
        names = ", ".join(f"`{one_line(name, 40)}`" for name in [*row][:12]) or "none"
        return Refusal("unknown_format", f"the columns are {names}")

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


def unusable(name: str, columns: Sequence[str], data: Data) -> DataError:
    """Return the error for a file of which no row fits: the columns seen, and what to set."""
    seen = ", ".join(f"`{one_line(column, 40)}`" for column in columns[:12])
    if data.fields:
        wrong = [column for column in data.fields.model_dump().values() if column and column not in columns]
        near = did_you_mean(wrong[0], columns) if wrong else None
        missing = ", ".join(f"`{column}`" for column in wrong)
        hint = f"did you mean `{near}`?" if near else "correct `data.fields`"
        return DataError(f"no row has the column {missing}; the columns are {seen}", hint=hint, place=name)
    what = "that luthier knows" if data.format == "auto" else f"of the format `{data.format}`"
    return DataError(
        f"no row has columns {what}; the columns are {seen}",
        hint="say which hold what: `--set data.fields='{prompt: COLUMN, answer: COLUMN}'`"
        " (a CSV file's first line must be the column names)",
        place=name,
    )


def _find(names: tuple[str, ...], wanted: str, fields: Fields | None) -> Shape | None:
    evened = {evened_name(name): name for name in reversed(names)}
    if fields:
        return _by_fields(names, wanted, fields)
    for name, format_ in FORMATS.items():
        if wanted in ("auto", name) and (columns := format_.columns(evened)):
            others = tuple(column for column in names if column not in columns.values())
            return Shape(name, format_, columns, others)
    return None


def _by_fields(names: tuple[str, ...], wanted: str, fields: Fields) -> Shape | None:
    """Return the shape the user described. Context and system may be missing in a row; the others may not."""
    if fields.prompt not in names or fields.answer not in names:
        return None
    name = "completion" if wanted == "auto" else wanted
    columns = {part: column for part, column in fields.model_dump().items() if column in names}
    others = tuple(column for column in names if column not in columns.values())
    return Shape(name, FORMATS[name], columns, others)


def _up_to_the_last_answer(messages: list[Message]) -> list[Message]:
    """Return the conversation without what follows the last answer: nothing there is learned."""
    end = len(messages)
    while end and messages[end - 1].role != "assistant":
        end -= 1
    return messages[:end]
