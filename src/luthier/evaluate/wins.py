"""Which rows the tuned model gained and lost most, to be read side by side.

Shapes: C conversations, Q questions.
"""
# ruff: noqa: N803, N806, N815 - names end in the letters of their shape

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from luthier.core.charts import ticks
from luthier.core.example import Source
from luthier.core.markdown import short_number
from luthier.core.report import Block, Comparison, Histogram, Paragraph, Section, Table
from luthier.core.text import one_line
from luthier.evaluate.answers import Answered
from luthier.evaluate.held_out import Question
from luthier.evaluate.likelihood import RowNll
from luthier.evaluate.subject import Told

SHOWN = 3
"""Rows of each kind that are shown."""

BARS = 16
"""Bars of a histogram, about."""

WIDE = 70
"""Characters of a prompt in a table."""

LEAST = 1e-3
"""Nats per token up to which a row is as likely as before: computing in another order moves it as far."""


class Ranked(NamedTuple):
    """Rows by what they gained."""

    gain_N: NDArray[np.float64]
    won: NDArray[np.int64]
    """Those that gained, the most first."""
    lost: NDArray[np.int64]
    """Those that lost, the most first."""

    @property
    def counts(self) -> dict[str, int]:
        """Return how many rows are won, lost and tied."""
        won, lost = len(self.won), len(self.lost)
        return {"won": won, "lost": lost, "tied": len(self.gain_N) - won - lost}


def ranked(gain_N: NDArray[np.float64], least: float = 0.0) -> Ranked:
    """Return which rows gained and lost more than `least`; of equals the earlier first."""
    order = np.argsort(-gain_N, kind="stable")
    won, lost = order[gain_N[order] > least], np.argsort(gain_N, kind="stable")
    return Ranked(gain_N, won, lost[gain_N[lost] < -least])


def wins(
    conversations: Sequence[Source],
    questions: Sequence[Question],
    likely: tuple[RowNll, RowNll] | None,
    answered: Answered | None,
    answers: Mapping[str, Sequence[str]],
) -> Told:
    """Return what the rows that moved most add to the report.

    Args:
        conversations: Where the rows are from. C of them.
        questions: Those that were asked. Q of them.
        likely: Every conversation under the base and the tuned model, where both tell. Shape (C,) each.
        answered: What the answers are worth.
        answers: Those of `base` and `tuned` to every question.
    """
    data: dict[str, Any] = {}
    blocks: list[Block] = []
    if answered is not None and answered.figures:
        found, part = _of_answers(questions, answered, answers)
        data["answers"], blocks = found, [*part]
    data["likelihood"] = None
    if likely is not None:
        data["likelihood"], part = _of_likelihood(conversations, questions, *likely)
        blocks += part
    sections = (Section("Rows won and lost", tuple(blocks), detail=True),) if blocks else ()
    return Told({"wins": data}, sections=sections)


def _of_likelihood(
    conversations: Sequence[Source], questions: Sequence[Question], base: RowNll, tuned: RowNll
) -> tuple[dict[str, Any], Iterator[Block]]:
    """Return how many rows became more and less likely, how far, and which moved most."""
    used_C = np.flatnonzero(base.tokens_R)
    nats_2C = np.stack([model.nll_R[used_C] / model.tokens_R[used_C] for model in (base, tuned)])
    found = ranked(nats_2C[0] - nats_2C[1], LEAST)
    prompts = {str(question.example.source): question.prompt for question in questions}
    moved = [*found.won[:SHOWN].tolist(), *found.lost[:SHOWN].tolist()]
    rows = [(str(conversations[used_C[at]]), *nats_2C[:, at].tolist()) for at in moved]

    def blocks() -> Iterator[Block]:
        won, lost, tied = found.counts.values()
        most = " Those that moved most:" * bool(rows)
        yield _changes(-found.gain_N)
        yield Paragraph(f"{won:,} rows became more likely, {lost:,} less, {tied:,} stayed.{most}")
        if rows:
            cells = (
                (source, one_line(prompts.get(source, ""), WIDE), short_number(was), short_number(now))
                for source, was, now in rows
            )
            yield Table("", ("row", "prompt", "nats per token, base", "fine-tuned"), tuple(cells))

    return found.counts | {"rows": [dict(zip(("source", "base", "tuned"), row, strict=True)) for row in rows]}, blocks()


def _changes(change_N: NDArray[np.float64]) -> Histogram:
    """Return how many rows changed by how much."""
    edges = ticks(min(float(change_N.min()), 0.0), max(float(change_N.max()), LEAST), BARS)
    counts, _ = np.histogram(change_N, edges)
    return Histogram(
        "Change of loss, row by row: left of 0 the tuned model finds the row more likely",
        "nats per token, tuned less base",
        tuple(edges),
        (("rows", tuple(counts.tolist())),),
        limit=0.0,
        limit_name="no change",
    )


def _of_answers(
    questions: Sequence[Question], answered: Answered, answers: Mapping[str, Sequence[str]]
) -> tuple[dict[str, Any], Iterator[Block]]:
    """Return the account of the main metric, and the answers that gained and lost most."""
    metric, base_QK, tuned_QK = answered.figures[0]
    # One row's figures are a sum as any other; a row that doesn't count has no score.
    score_2Q = np.nan_to_num(np.stack([metric.score(figures) for figures in (base_QK, tuned_QK)]))
    found = ranked((score_2Q[1] - score_2Q[0]) * metric.better, 1e-9)

    def entry(place: int) -> dict[str, Any]:
        question, (was, now) = questions[place], score_2Q[:, place].tolist()
        return {
            "source": {"file": question.example.source.file, "line": question.example.source.line},
            "prompt": question.prompt,
            "expected": question.expected,
            "base": answers["base"][place],
            "tuned": answers["tuned"][place],
            "score": {"base": was, "tuned": now},
        }

    def blocks() -> Iterator[Block]:
        counts = found.counts
        yield Paragraph(
            f"By “{metric.label}” the tuned model won {counts['won']:,} rows, lost {counts['lost']:,}, and tied on "
            f"{counts['tied']:,}."
        )
        for title, places in (("Won", found.won), ("Lost", found.lost)):
            for place in places[:SHOWN].tolist():
                one = entry(place)
                was, now = (short_number(value) for value in one["score"].values())
                yield Comparison(
                    f"{title}: {one['prompt']}",
                    (("expected", one["expected"]), (f"base ({was})", one["base"]), (f"tuned ({now})", one["tuned"])),
                )

    rows = {
        name: [entry(place) for place in places[:SHOWN].tolist()]
        for name, places in (("best", found.won), ("worst", found.lost))
    }
    return {"metric": metric.name, **found.counts, **rows}, blocks()
