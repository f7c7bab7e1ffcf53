"""The account of every row: what came in is kept or dropped with a reason, and the numbers must add up."""

import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from luthier.core.example import Source
from luthier.core.report import Record
from luthier.data.jsonl import any_line
from luthier.data.reasons import REASONS
from luthier.data.rows import Refusal
from luthier.data.written import Written

MOST_SHOWN, MOST_ALIKE = 2000, 200
"""Dropped rows that people are shown in the report, and how many of them for one reason from one file."""

SHOWN_TEXT = 400
"""Characters of a dropped row that are shown."""

CUT = re.compile(r"(`|: )[^`]*…")
"""A piece of a row, cut short: of a row that holds what is private, it may end within that."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """The first row that was dropped for a reason, to show to people."""

    source: Source
    detail: str
    row: Any


class Account:
    """Counts rows and writes the dropped ones to a file.

    Args:
        file: Where the lines of `dropped.jsonl` go.
        shown: Hides what is private in rows, and in what is said of them.
    """

    def __init__(self, file: Written, shown: Callable[[Any], Any]) -> None:
        self.rows_in = 0
        self.kept = 0
        self.by_reason: Counter[str] = Counter()
        self.first: dict[str, Dropped] = {}
        self.samples: list[Record] = []
        """Some of the dropped rows, of every reason and file."""
        self._alike: Counter[tuple[str, str]] = Counter()
        self._file = file
        self._shown = shown

    @property
    def dropped(self) -> int:
        """How many rows were dropped."""
        return self.by_reason.total()

    def drop(self, row: Any, source: Source, refusal: Refusal) -> None:
        """Record a dropped row, with the row it matches if that is why."""
        assert refusal.reason in REASONS, refusal.reason
        self.by_reason[refusal.reason] += 1
        detail = self._shown(refusal.detail)
        if (shown := self._shown(row)) != row:
            row, detail = shown, CUT.sub(r"\1…", detail)
        self.first.setdefault(refusal.reason, Dropped(source, detail, row))
        self._sample(refusal.reason, source, row, detail)
        line = {
            "source": source.file,
            "line": source.line,
            "reason": refusal.reason,
            "detail": detail,
        }
        if refusal.matched is not None:
            line["matched"] = {"source": refusal.matched.file, "line": refusal.matched.line}
        self._file.write(any_line({**line, "row": row}))

    def _sample(self, reason: str, source: Source, row: Any, detail: str) -> None:
        case = reason, source.file
        if self._alike[case] < MOST_ALIKE and (len(self.samples) < MOST_SHOWN or self.by_reason[reason] == 1):
            self._alike[case] += 1
            self.samples.append(Record(reason, source.file, source.line, beginning(row, SHOWN_TEXT), detail))

    def settle(self) -> None:
        """Check, once the file is closed, that no row was lost and none counted twice."""
        assert self.rows_in == self.kept + self.dropped, (self.rows_in, self.kept, self.dropped)
        with self._file.path.open("rb") as handle:
            lines = sum(1 for _ in handle)
        assert lines == self.dropped, (lines, self.dropped)

    def as_dict(self) -> dict[str, Any]:
        """Return the `rows` of the report."""
        reasons = dict(self.by_reason.most_common())
        return {"in": self.rows_in, "kept": self.kept, "dropped": self.dropped, "by_reason": reasons}


def beginning(row: Any, width: int) -> str:
    """Return the beginning of a row as the file has it, or as JSON."""
    if isinstance(row, str):
        return row[:width]
    try:
        text = json.dumps(row, ensure_ascii=False)
    except RecursionError:
        return "(nested too deep to show)"
    return text if len(text) <= width else text[: width - 1] + "…"
