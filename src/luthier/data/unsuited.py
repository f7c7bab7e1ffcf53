"""Rows that an objective can't learn from: what they look like, what would learn from them, and what to set."""

import json
import shlex
from collections.abc import Sequence
from typing import NamedTuple

from luthier.core.errors import DataError
from luthier.core.text import did_you_mean, one_line
from luthier.data.shapes import shapes_of
from luthier.recipe.data import MADE_FROM, NEEDED, Data
from luthier.recipe.data import Format as Name
from luthier.recipe.methods import Rows


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


def other_shape(columns: Sequence[str], data: Data, rows: Rows) -> Other | None:
    """Return the shape of rows that are none the objective learns from, and the objective that does."""
    if data.fields or data.format != "auto":
        return None
    for kind, objective in OBJECTIVES.items():
        shapes = shapes_of(tuple(columns), data, MADE_FROM[kind]) if kind != rows else []
        if shapes:
            return Other(shapes[0].name, objective)
    return None


def unusable(name: str, columns: Sequence[str], data: Data, rows: Rows) -> DataError:
    """Return the error for a file of which no row fits: the columns seen, and what to set."""
    seen = ", ".join(f"`{one_line(column, 40)}`" for column in columns[:12])
    if other := other_shape(columns, data, rows):
        return DataError(
            f"the objective learns from {WANTED[rows]}, but these are {LOOKS[other.format]}; the columns are {seen}",
            hint=f"`--set train.objective={other.objective}` learns from them, or say which columns hold what:"
            f" `--set {_fields_of(rows, columns)}`",
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
        hint=f"say which hold what: `--set {_fields_of(rows, columns)}`"
        " (a CSV file's first line must be the column names)",
        place=name,
    )


def _fields_of(rows: Rows, columns: Sequence[str]) -> str:
    """Return what sets fields, for a shell, filled in with the first columns: a guess, to be put right."""
    needed = NEEDED.get(MADE_FROM[rows][0], ()) if rows != "conversation" else NEEDED["completion"]
    guessed = [name if name.isidentifier() else json.dumps(one_line(name, 40)) for name in columns[: len(needed)]]
    filled = [*guessed, *["COLUMN"] * len(needed)]
    fields = ", ".join(f"{part}: {column}" for part, column in zip(needed, filled, strict=False))
    return shlex.quote(f"data.fields={{{fields}}}")
