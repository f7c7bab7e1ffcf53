"""Everything the stage found out, for its report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from luthier.core.example import Example
from luthier.core.report import Check
from luthier.data.account import Account
from luthier.data.clean.step import Notes
from luthier.data.convert import Seen
from luthier.data.diversity import Diversity
from luthier.data.histograms import Counted
from luthier.data.leakage.account import Searched
from luthier.data.output import Rewritten
from luthier.recipe.data import Part
from luthier.recipe.methods import Rows


@dataclass(frozen=True, slots=True)
class FileRead:
    """What became of one source file."""

    name: str
    encoding: str
    size: int
    rows: int
    kept: int
    part: Part = "train"
    """What its rows are for; those of `train` may be held back."""
    told: tuple[str, ...] = ()
    """How it was read, where the name doesn't say it all."""


@dataclass(frozen=True, slots=True)
class Limit:
    """What is longer than training takes."""

    max_length: int
    rows: int
    share: float
    too_long: str
    """What training does with it."""


@dataclass(frozen=True, slots=True)
class Effort:
    """What preparing took: all of a report that differs when the same is done again."""

    processes: int
    why: str
    """Why so many."""
    seconds: float
    rows_per_second: int
    peak_memory_bytes: int
    """The most that this process held, and the most that each of the others held, added up."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Everything the stage found out."""

    files: Sequence[FileRead]
    account: Account
    seen: Seen
    steps: Mapping[str, Notes]
    checks: Sequence[Check]
    splits: Mapping[str, int]
    tokens: Mapping[str, Mapping[str, Any]]
    counted: str
    """How tokens were counted."""
    limit: Limit
    lengths: Counted
    """Histogram of the tokens of each part."""
    turns: Counted | None
    """Histogram of the turns, where there are conversations."""
    looked: Diversity
    written: Mapping[str, Mapping[str, Any]]
    fingerprint: str
    example: Example
    rows: Rows
    labels: Mapping[str, int]
    """How many rows of each class or verdict, where rows have one."""
    leaks: Sequence[Searched] = ()
    """Of each file of a test what rows hold of it."""
    rewritten: Rewritten | None = None
    """What was written in another format, where one was asked for."""
    effort: Effort | None = None
    """Known when everything else is."""
