"""What travels through this stage: a row as read, a row that can't be read, a refusal with its reason."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from luthier.core.example import Source


class Refusal(NamedTuple):
    """Why a row is dropped: a key of `reasons.REASONS` and what exactly is wrong with this row."""

    reason: str
    detail: str
    matched: Source | None = None
    """The row, or the item of a test, that it equals or comes near to, where that is why."""


@dataclass(frozen=True, slots=True)
class RawRow:
    """A row as the file holds it."""

    row: dict[str, Any]
    source: Source


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A piece of a file that should have been a row. It counts as a row that came in."""

    raw: Any
    source: Source
    refusal: Refusal
    understood: bool = False
    """Whether it was read, but holds no row: a record of several rows that has none."""


Read = RawRow | Unreadable


class Unparsed(NamedTuple):
    """A line of JSON as it stands in the file. Parsing it is work that another process can do."""

    text: str | bytes
    number: int
    """Its place in the file, from 1."""


Piece = RawRow | Unreadable | Unparsed
"""What readers yield."""
