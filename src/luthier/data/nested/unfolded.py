"""What becomes of a record that holds more than one row."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

from luthier.data.rows import Refusal


class Unfolded(NamedTuple):
    """The rows of a record, in its order."""

    rows: Sequence[dict[str, Any]]
    left: Mapping[str, int] = MappingProxyType({})
    """What the record holds besides, by what it is, and how often."""
    refusal: Refusal | None = None
    """Why there is no row: the record then counts as one."""


@dataclass(slots=True)
class Told:
    """What records of one shape became."""

    records: int = 0
    rows: int = 0
    left: Counter[str] = field(default_factory=Counter)
    """What they hold besides and no row has, counted."""

    def add(self, later: "Told") -> None:
        """Take in what the records that come next became."""
        self.records += later.records
        self.rows += later.rows
        self.left.update(later.left)
