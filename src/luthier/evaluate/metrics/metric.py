"""A metric: figures of each answer that add up, and the score of a sum.

Everything a comparison needs follows from that: the score of all answers, of resampled ones, and of answers that
changed places between two models. Shapes: R rows, K figures of an answer, S sums.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from luthier.core.report import Block

Floats = NDArray[np.float64]

Details = Callable[["Sequence[Expected]", Sequence[str], Sequence[str]], "tuple[Block, ...]"]
"""Takes what is expected and the answers of base and tuned model; returns what else to show of them."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What the answer to a row should be."""

    text: str
    calls: tuple[tuple[str, Any], ...] = ()
    """Functions it calls: name and arguments, read as JSON where they are."""


def ratio(sums: Floats) -> Floats:
    """Return first figure by second, shape (S,): a mean, where the second counts rows."""
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Floats = sums[:, 0] / sums[:, 1]
    return found


@dataclass(frozen=True, slots=True)
class Metric:
    """One measure of answers."""

    name: str
    label: str
    figures: Callable[[Sequence[Expected], Sequence[str]], Floats]
    """Figures of each answer: shape (R, K)."""
    score: Callable[[Floats], Floats] = ratio
    """Takes sums over answers, shape (S, K), and returns the score of each, shape (S,)."""
    percent: bool = True
    better: int = 1
    """Whether more is better (1) or worse (−1)."""
    details: Details | None = None
    of_calls: bool = False
    """Whether it also scores answers that should call functions; others score texts."""


def each(of: Callable[[Expected, str], float | bool | None]) -> Callable[[Sequence[Expected], Sequence[str]], Floats]:
    """Return the figures of a mean over rows; one of which `of` gives None doesn't count."""

    def figures(expected: Sequence[Expected], answers: Sequence[str]) -> Floats:
        values = [of(wanted, answer) for wanted, answer in zip(expected, answers, strict=True)]
        return np.array([(0.0, 0.0) if value is None else (float(value), 1.0) for value in values]).reshape(-1, 2)

    return figures
