"""Where a model got better or worse: the same comparison within parts of the rows, such as one language or one class.

A part of few rows says nothing by itself, so small groups are put together. All parts count together (Holm): of many,
one looks worse by chance.

Shapes: C conversations, Q questions, K figures of an answer.
"""
# ruff: noqa: N803, N806 - names end in the letters of their shape

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from luthier.core.example import Example
from luthier.core.report import Block, Finding, Intervals, Paragraph, Section, Setting, Table
from luthier.core.text import one_line, plural
from luthier.evaluate.account import Metric, points, ratio_told, shown
from luthier.evaluate.answers import Answered, told
from luthier.evaluate.contrast import LEVEL, contrast, holm
from luthier.evaluate.held_out import last_answer
from luthier.evaluate.likelihood import RowNll
from luthier.evaluate.metrics.choose import ROWS_A_CLASS, WORDS_OF_A_CLASS
from luthier.evaluate.stats import FEWEST, Paired, Verdict, chance, paired, perplexity
from luthier.evaluate.subject import Told

MOST = 8
"""Groups of a kind that are told apart; the rows of all others are one group."""

WIDE = 60
"""Characters of a group's name."""


BUILT_IN = ("language", "length", "class", "file")
"""Kinds that are no tags."""

LONE = "by which these rows have fewer than two parts (languages need `luthier[data]`)"


@dataclass(frozen=True, slots=True)
class Slice:
    """A part of the rows."""

    by: str
    """What it is a part by: `language`, `length`, `class`, `file`, or the name of a tag."""
    name: str
    places: NDArray[np.int64]
    """Which conversations, in order."""

    @property
    def told(self) -> str:
        """Return what people call it."""
        return f"{self.by}: {one_line(self.name, WIDE)}"


@dataclass(frozen=True, slots=True)
class Line:
    """What a slice says."""

    part: Slice
    rows: int
    paired: Paired | None
    """How likely both models find its rows; None where one of them doesn't tell, or their tokens are others."""
    p: float | None
    """Of such a change of likelihood by chance, as it counts among all slices."""
    verdict: Verdict | None
    metrics: Sequence[Metric]

    def as_dict(self) -> dict[str, Any]:
        """Return the entry of the report's `slices`."""
        likely = None
        if self.paired is not None:
            numbers = self.paired.base, self.paired.tuned, self.paired.difference
            base, tuned, change = (perplexity(number).as_dict() for number in numbers)
            likely = {"base": base, "tuned": tuned, "change": change, "p": self.p, "verdict": self.verdict}
        return {
            "by": self.part.by,
            "name": self.part.name,
            "rows": self.rows,
            "perplexity": likely,
            "metrics": [metric.as_dict() for metric in self.metrics],
        }


def slices(
    examples: Iterable[Example], asked: Literal["auto"] | Sequence[str], language: Callable[[Example], str] | None
) -> list[Slice]:
    """Return the parts of the rows, those of a kind one after the other; none of a kind that has one group only.

    Args:
        examples: The rows that were measured, in order.
        asked: Kinds by name; `auto` for all there are.
        language: Tells the language of a row, where something can.
    """
    return [part for name, groups in _kinds(list(examples), asked, language) if groups for part in _parts(name, groups)]


def missing(
    examples: Iterable[Example], asked: Literal["auto"] | Sequence[str], parts: Sequence[Slice]
) -> list[Finding]:
    """Return, as findings, the kinds that the recipe names and that part no rows."""
    tags = {tag for row in examples for tag in row.tags}
    found = {part.by for part in parts}
    return [
        Finding(
            "warning",
            f"`evaluate.slices` names `{name}`, "
            + (LONE if name in tags or name in BUILT_IN else "a tag that no row has"),
            f"name one of {', '.join([*BUILT_IN, *sorted(tags)])}",
        )
        for name in ([] if asked == "auto" else asked)
        if name not in found
    ]


def _kinds(
    rows: Sequence[Example], asked: Literal["auto"] | Sequence[str], language: Callable[[Example], str] | None
) -> Iterator[tuple[str, list[str]]]:
    """Yield each kind that is asked for, with the group of every row."""
    kinds: dict[str, list[str]] = {}
    if language is not None and (asked == "auto" or "language" in asked):
        kinds["language"] = [language(row) for row in rows]
    kinds |= {"length": _lengths(rows), "class": _classes(rows), "file": [row.source.file for row in rows]}
    for tag in sorted({tag for row in rows for tag in row.tags} - kinds.keys()):
        kinds[tag] = [row.tags.get(tag, "none") for row in rows]
    yield from ((name, groups) for name, groups in kinds.items() if asked == "auto" or name in asked)


def _lengths(rows: Sequence[Example]) -> list[str]:
    """Return the quarter each row is in by the length of its prompt, or of a text; the shortest come first."""
    sizes = [sum(len(turn.text) for turn in row.messages[: max(1, last_answer(row))]) for row in rows]
    edges = sorted({int(edge) for edge in np.quantile(sizes, [0.25, 0.5, 0.75])})
    lows = [0, *(edge + 1 for edge in edges)]
    names = [f"{low:,} to {high:,} characters" for low, high in zip(lows, edges, strict=False)]
    return [[*names, f"{lows[-1]:,} characters and more"][np.searchsorted(edges, size)] for size in sizes]


def _classes(rows: Sequence[Example]) -> list[str]:
    """Return each row's class: its label, or what should be answered, where that is one of a few; else nothing."""
    if any(isinstance(row.label, str) for row in rows):
        return [str(row.label) for row in rows]
    if any(last_answer(row) < 0 for row in rows):
        return []
    texts = [row.messages[last_answer(row)].text.strip() for row in rows]
    short = median(len(text.split()) for text in texts) <= WORDS_OF_A_CLASS
    return texts if short and len({*texts}) * ROWS_A_CLASS <= len(texts) else []


def _parts(by: str, groups: Sequence[str]) -> list[Slice]:
    """Return the groups of one kind: the largest, or lengths in their order, and the rest as one."""
    counts = Counter(groups)
    large = [name for name, count in counts.most_common() if count >= FEWEST][:MOST]
    if by == "length":
        large.sort(key=lambda name: int(name.split()[0].replace(",", "")))
    rest = len(counts) - len(large)
    others = f"{rest:,} others" if rest != 1 else (counts.keys() - {*large}).pop()
    names = [*large, *([others] if rest else [])]
    if len(names) < 2:
        return []
    group_C = np.array([group if group in large else others for group in groups])
    return [Slice(by, name, np.flatnonzero(group_C == name)) for name in names]


def compared(
    parts: Sequence[Slice], likely: tuple[RowNll, RowNll] | None, answered: Answered | None, of: Sequence[int]
) -> list[Line]:
    """Return what each slice says.

    Args:
        parts: The slices.
        likely: Every conversation under the base and under the tuned model, where both tell. Shape (C,) each.
        answered: What the answers are worth.
        of: Which conversation each question is of. Shape (Q,).
    """
    if likely is None:
        every = _metrics(parts, answered, np.array(of, dtype=np.int64))
        return [Line(part, len(part.places), None, None, None, some) for part, some in zip(parts, every, strict=True)]
    base, tuned = likely
    parts = [part for part in parts if base.tokens_R[part.places].any()]
    found, ps = [], []
    for part in parts:
        nll, other, tokens = base.nll_R[part.places], tuned.nll_R[part.places], base.tokens_R[part.places]
        found.append(paired(nll, other, tokens))
        used = tokens > 0
        ps.append(chance((other - nll)[used], tokens[used].astype(np.float64)))
    metrics = _metrics(parts, answered, np.array(of, dtype=np.int64))
    return [
        Line(part, one.base.n, one, p, _verdict(one, p), of_part)
        for part, one, p, of_part in zip(parts, found, holm(ps), metrics, strict=True)
    ]


def _verdict(found: Paired, p: float | None) -> Verdict:
    """Return what a slice says among all: by its own interval, one of 20 would be better or worse by chance."""
    if p is not None and p >= LEVEL and found.verdict in ("better", "worse"):
        return "undecided"
    return found.verdict


def _metrics(parts: Sequence[Slice], answered: Answered | None, of_Q: NDArray[np.int64]) -> list[list[Metric]]:
    """Return what every slice says by each metric, tested among all slices."""
    lines: list[list[Metric]] = [[] for _ in parts]
    for metric, base_QK, tuned_QK in answered.figures if answered else ():
        found = []
        for number, part in enumerate(parts):
            within_Q = np.isin(of_Q, part.places)
            one = contrast(metric, base_QK[within_Q], tuned_QK[within_Q])
            if one is not None:
                found.append((number, one))
        for (number, _), of_slice in zip(found, told([(metric, one) for _, one in found]), strict=True):
            lines[number].append(of_slice)
    return lines


def report(
    lines: Sequence[Line], whole: Verdict | None, metrics: Sequence[Metric], noun: str, *, untold: str = ""
) -> Told:
    """Return what slices add to the report.

    Args:
        lines: The slices.
        whole: What likelihood says of all rows.
        metrics: Of all rows.
        noun: What a row is.
        untold: Why slices have no perplexity.
    """
    data = {"slices": [line.as_dict() for line in lines]}
    if not lines:
        return Told(data)
    note = Paragraph(
        f"All slices count together (Holm). Fewer than {FEWEST} rows get no verdict; groups that small are “others”."
    )
    likely = [line for line in lines if line.paired is not None]
    first: Block = _of_likelihood(likely, noun) if likely else Paragraph(f"No perplexity of slices: {untold}.")
    drawn = (_drawn(likely),) if likely else ()
    blocks: tuple[Block, ...] = (*drawn, first, *_of_metric(lines), note)
    verdicts: dict[str, Verdict | None] = {"perplexity": whole, **{metric.name: metric.verdict for metric in metrics}}
    section = Section("Results by slice", blocks, detail=True)
    return Told(data, sections=(section,), findings=(*_findings(lines, verdicts, noun),))


def _drawn(lines: Sequence[Line]) -> Intervals:
    rows = ((line.part.told, (("change", line.paired.difference),)) for line in lines if line.paired is not None)
    title = "Change of loss by slice: left of 0 the tuned model is better"
    return Intervals(title, "nats per learned token, tuned less base, 95 % intervals", tuple(rows))


def _of_likelihood(lines: Sequence[Line], noun: str) -> Table:
    rows = []
    for line in lines:
        assert line.paired is not None, "only those that have one are shown"
        base, tuned = (shown(perplexity(number)) for number in (line.paired.base, line.paired.tuned))
        change = ratio_told(perplexity(line.paired.difference))
        verdict = (line.verdict or "") if line.rows >= FEWEST else "too few"
        rows.append((line.part.told, f"{line.paired.base.n:,}", base, tuned, change, verdict))
    return Table("Perplexity", ("slice", f"{noun}s", "base", "fine-tuned", "change", "verdict"), tuple(rows))


def _of_metric(lines: Sequence[Line]) -> Iterator[Table]:
    """Yield the table of the main metric."""
    for name in [line.metrics[0].name for line in lines if line.metrics][:1]:
        chosen = [(line, metric) for line in lines for metric in line.metrics if metric.name == name]
        rows = tuple(
            (
                line.part.told,
                f"{metric.tuned.n:,}",
                shown(metric.base, as_percent=metric.percent),
                shown(metric.tuned, as_percent=metric.percent),
                "" if metric.change is None else points(metric.change, as_share=metric.percent),
                (metric.verdict or "") if metric.tuned.n >= FEWEST else "too few",
            )
            for line, metric in chosen
        )
        title = chosen[0][1].label.capitalize()
        yield Table(title, ("slice", "answers", "base", "fine-tuned", "change", "verdict"), rows)


def _findings(lines: Sequence[Line], whole: dict[str, Verdict | None], noun: str) -> Iterator[Finding]:
    """Yield the slices that are worse where the whole isn't (Simpson 1951, JRSS B 13, pages 238-241)."""
    for line in lines:
        by = [("perplexity", "perplexity", line.verdict), *((m.name, m.label, m.verdict) for m in line.metrics)]
        hidden = [label for name, label, verdict in by if verdict == "worse" != whole.get(name)]
        if hidden:
            yield Finding(
                "warning",
                f"worse in a part that the whole hides: {line.part.told} ({plural(line.rows, noun)}) by "
                f"{', '.join(hidden)}",
                f"add rows like those of “{line.part.told}” to the training data, and evaluate again",
                (Setting("data.sources", also="MORE.jsonl"),),
            )
