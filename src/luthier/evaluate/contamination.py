"""How many rows the models are judged by stand in what the tuned model learned, and what the result is without them.

Shapes: C rows.
"""
# ruff: noqa: N806 - names end in the letters of their shape

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from luthier.core.example import Example
from luthier.core.report import Finding, Level, Paragraph, Section, Setting, Table
from luthier.core.text import plural
from luthier.evaluate.account import ratio_told, shown
from luthier.evaluate.advice import quoted
from luthier.evaluate.likelihood import RowNll
from luthier.evaluate.stats import Paired, paired, perplexity, share
from luthier.evaluate.subject import Told

Seen = Callable[[Sequence[Example]], Sequence[str]]
"""Says of each row how it stands in the training data: one of `KINDS`, or nothing."""

KINDS = {
    "row": "the row itself",
    "prompt": "its prompt",
    "near": "most of its prompt",
    "words": "13 words in a row",
}
"""How a row may stand in the training data, from all of it to the least of it."""


@dataclass(frozen=True, slots=True)
class Judged:
    """Some rows that models are judged by."""

    name: str
    kinds: Sequence[str]
    """From `Seen`. C of them."""
    likely: tuple[RowNll, RowNll] | None
    """Each row under base and tuned model, where both tell. Shape (C,) each."""
    files: Sequence[str] = ()
    """Where they are, if they are not held back from the training data."""

    @property
    def without(self) -> Paired | None:
        """Return how the models compare on rows that are not in the training data; None where there are none."""
        if self.likely is None:
            return None
        base, tuned = self.likely
        clean_C = np.array([not kind for kind in self.kinds])
        tokens_C = base.tokens_R[clean_C]
        return paired(base.nll_R[clean_C], tuned.nll_R[clean_C], tokens_C) if tokens_C.any() else None

    def as_dict(self) -> dict[str, Any]:
        """Return the entry of the report's `contamination`."""
        counts, clean = Counter(self.kinds), self.without
        found = len(self.kinds) - counts[""]
        change = None if clean is None else perplexity(clean.difference).as_dict()
        return {
            "name": self.name,
            "rows": len(self.kinds),
            **{kind: counts[kind] for kind in KINDS},
            "share": share(found, len(self.kinds)).as_dict(),
            "without": {"change": change, "verdict": None if clean is None else clean.verdict},
        }


def told(judged: Sequence[Judged], whole: Paired | None) -> Told:
    """Return what the check adds to the report.

    Args:
        judged: All sets of rows, the held-out ones first.
        whole: How the models compare on all held-out rows, where both tell how likely they are.
    """
    own = judged[0]
    shares = [share(sum(map(bool, one.kinds)), len(one.kinds)) for one in judged]
    rows = []
    for one, number in zip(judged, shares, strict=True):
        counts, clean = Counter(one.kinds), one.without
        change = ratio_told(perplexity(clean.difference)) if clean and any(one.kinds) else ""
        rows.append(
            (
                one.name,
                f"{len(one.kinds):,}",
                *(f"{counts[kind]:,}" for kind in KINDS),
                shown(number, as_percent=True),
                change,
            )
        )
    columns = ("rows", "looked at", *KINDS.values(), "in all", "perplexity without them")
    note = (
        "What of each row's prompt also stands, word for word, in a row that was learned; where there is none, of its "
        "text. Answers alone are no sign, and other wordings are not found."
    )
    return Told(
        {"contamination": [one.as_dict() for one in judged]},
        {"contaminated": shares[0]},
        sections=(
            Section(
                "Rows seen in training", (Table("", columns, tuple(rows)), Paragraph(note)), detail=not any(own.kinds)
            ),
        ),
        findings=(*_findings(judged, whole),),
    )


def _findings(judged: Sequence[Judged], whole: Paired | None) -> Iterator[Finding]:
    for number, one in enumerate(judged):
        counts = Counter(one.kinds)
        found = len(one.kinds) - counts[""]
        if not found:
            continue
        text = f"{one.name}: {found:,} of {plural(len(one.kinds), 'row')} stand in the training data"
        clean = one.without
        if number == 0 and clean is not None and whole is not None:
            changed = clean.verdict != whole.verdict
            text += f"; without them the result is {'' if changed else 'still '}“{clean.verdict}”"
        serious = any(counts[kind] for kind in ("row", "prompt", "near"))
        level: Level = "warning" if serious else "note"
        if not serious:
            yield Finding(level, text)
        elif one.files:
            against = Setting("data.decontaminate.against", also=", ".join(map(quoted, one.files)))
            yield Finding(level, text, "take them out of the training data: `data.decontaminate.against`", (against,))
        else:
            yield Finding(
                level,
                text,
                "keep rows that belong together on one side: `data.split.group_by` names their column; a file of "
                "its own belongs into `data.decontaminate.against` when you train",
                (Setting("data.split.group_by", "COLUMN"),),
            )


def unknown() -> Told:
    """Return what is said where nobody named the training data."""
    return Told(
        {"contamination": None},
        findings=(
            Finding(
                "note",
                "whether a model was trained on these rows is not known",
                "say what it learned from, and they are looked for",
                (Setting("evaluate.trained_on", "[FILE]"),),
            ),
        ),
    )
