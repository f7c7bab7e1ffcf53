"""Answers of base and tuned model to the same prompt, as an evaluation kept them: what judges and people look at."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from luthier.core.errors import RunError
from luthier.core.files import digest

ANSWERS = "answers.jsonl"

OWN = "held-out rows"
"""Name of the rows the model was trained for."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One prompt and what both models answered."""

    source: str
    """Where the prompt is from: `file:line`."""
    prompt: str
    expected: str
    base: str
    tuned: str

    @property
    def key(self) -> str:
        """Return what a judgement of it is kept under: another answer is another pair."""
        return digest([self.prompt, self.expected, self.base, self.tuned])

    @property
    def alike(self) -> bool:
        """Whether both models answered the same."""
        return self.base == self.tuned


def read_pairs(folder: Path) -> list[Pair]:
    """Return what both models answered to held-out rows, in the order of the rows.

    Args:
        folder: What an evaluation wrote.

    Raises:
        RunError: No answers were kept there.
    """
    path = folder / ANSWERS
    hint = "evaluate again, with `evaluate.answers` above 0"
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
        found = [_pair(row) for row in rows if row["set"] == OWN]
    except (OSError, ValueError, KeyError, TypeError) as error:
        problem = f"the answers of this evaluation can't be read ({type(error).__name__})"
        raise RunError(problem, hint=hint, place=str(path)) from error
    if not found:
        raise RunError("this evaluation asked nothing, so there are no answers to judge", hint=hint, place=str(path))
    return found


def _pair(row: dict[str, Any]) -> Pair:
    place = f"{row['source']['file']}:{row['source']['line']}"
    return Pair(place, row["prompt"], row["expected"], row["base"], row["tuned"])


def chosen(pairs: list[Pair], count: int) -> list[Pair]:
    """Return at most `count` pairs, those with the smallest keys: as good as drawn, and more of them include fewer."""
    return sorted(pairs, key=lambda pair: (pair.key, pair.source))[:count]
