"""Did training move a model towards what people prefer? Held-out pairs and judged answers, base against tuned.

Shapes: R texts, P pairs, Q prompts.
"""
# ruff: noqa: N803, N806, N815 - names end in the letters of their shape

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from luthier.core.report import Finding, Number
from luthier.core.text import plural
from luthier.evaluate.account import Metric, shown
from luthier.evaluate.likelihood import RowNll
from luthier.evaluate.stats import FEWEST, MARGIN, Verdict, detectable, mcnemar, ratios, share
from luthier.tokens.render import Encoded

CHANCE = 0.5
"""Share of pairs a coin ranks right."""

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Preferred:
    """What held-out preferences say of a training."""

    verdict: Verdict
    summary: str
    metrics: tuple[Metric, ...]
    detectable: dict[str, float | None]
    findings: tuple[Finding, ...]
    method: str
    likely_R: Flags
    """The texts people liked, whose perplexity is told too. Shape (R,)."""


def prompts_of(texts: Sequence[Encoded]) -> NDArray[np.int64]:
    """Return the number of each pair's prompt, shape (P,): pairs that share one aren't independent."""
    found: dict[bytes, int] = {}
    return np.array(
        [found.setdefault(_prompt(texts[at]), len(found)) for at in range(0, len(texts), 2)], dtype=np.int64
    )


def _prompt(text: Encoded) -> bytes:
    return bytes(text.input_ids[: int(np.argmax(text.learned))].tobytes())


def of_pairs(base: RowNll, tuned: RowNll, prompt_P: NDArray[np.int64], *, per_token: bool) -> Preferred:
    """Return how both models rank held-out pairs; texts 2i are the better endings, 2i + 1 the worse.

    Args:
        base: Of every text under the base.
        tuned: The same under the tuned model.
        prompt_P: From `prompts_of`.
        per_token: Whether the objective compares likelihoods per token, or as sums: it decides the verdict.
    """
    margins = {name: _margins(model) for name, model in (("base", base), ("tuned", tuned))}
    (base_sum_P, base_mean_P), (tuned_sum_P, tuned_mean_P) = margins["base"], margins["tuned"]
    by_sum = _ranked("ranked_right", "pairs ranked right, by log-probability", base_sum_P, tuned_sum_P, prompt_P)
    by_mean = _ranked(
        "ranked_right_per_token",
        "pairs ranked right, by log-probability per token",
        base_mean_P,
        tuned_mean_P,
        prompt_P,
    )
    grown_P = tuned_sum_P - base_sum_P
    before, after, change = _by_prompt(np.stack([base_sum_P, tuned_sum_P, grown_P]), prompt_P)
    more = share(int((grown_P > 0).sum()), len(grown_P))
    chosen = by_mean if per_token else by_sum
    metrics = (
        *((by_mean, by_sum) if per_token else (by_sum, by_mean)),
        Metric("margin", "log-probability of the better less the worse ending, nats", before, after, False, change),
        Metric("margin_grew", "pairs whose margin grew", Number(CHANCE, more.n), more, percent=True),
    )
    pair = (base_mean_P, tuned_mean_P) if per_token else (base_sum_P, tuned_sum_P)
    right_base_P, right_tuned_P = (margin_P > 0 for margin_P in pair)
    chance = mcnemar(int((right_tuned_P & ~right_base_P).sum()), int((right_base_P & ~right_tuned_P).sum()))
    assert chosen.change is not None
    verdict = _verdict(chosen.change, chance)
    gains_P = right_tuned_P.astype(np.float64) - right_base_P
    sums_Q, counts_Q = _sums(gains_P[None], prompt_P)
    way = " per token" if per_token else ""
    return Preferred(
        verdict=verdict,
        summary=(
            f"{verdict.capitalize()}: {shown(chosen.tuned, as_percent=True)} of "
            f"{plural(len(grown_P), 'held-out pair')} are ranked right by log-probability{way}, with the base "
            f"{shown(chosen.base, as_percent=True)}; the margin {'grew' if change.value > 0 else 'fell'} by "
            f"{shown(_size(change))} nats."
        ),
        metrics=metrics,
        detectable={"ranked_right": detectable(sums_Q[0], counts_Q)},
        findings=tuple(_of_pairs(verdict, change, len(grown_P))),
        method=(
            "A pair is ranked right when the better ending has the higher log-probability: as a sum over its tokens, "
            "or per token, so that length doesn't count. Intervals are 95 %, over prompts: Wilson's where each has one "
            f"pair, else resampled. By McNemar's exact test the change of ranking has p = {chance:.2g}. Perplexity is "
            "that of the better endings; it may rise while pairs are ranked better."
        ),
        likely_R=np.arange(len(base.nll_R)) % 2 == 0,
    )


def _margins(model: RowNll) -> tuple[Floats, Floats]:
    """Return log p of the better ending less that of the worse, summed and per token: shape (P,) each."""
    mean_R = model.nll_R / model.tokens_R
    return model.nll_R[1::2] - model.nll_R[0::2], mean_R[1::2] - mean_R[0::2]


def _ranked(name: str, label: str, base_P: Floats, tuned_P: Floats, prompt_P: NDArray[np.int64]) -> Metric:
    right_KP = np.stack([base_P > 0, tuned_P > 0]).astype(np.float64)
    base, tuned, change = _by_prompt(np.stack([*right_KP, right_KP[1] - right_KP[0]]), prompt_P)
    if len(np.unique(prompt_P)) == len(prompt_P):
        base, tuned = (share(int(right_P.sum()), len(right_P)) for right_P in right_KP)
    return Metric(name, label, base, tuned, percent=True, change=change)


def _by_prompt(values_KP: Floats, prompt_P: NDArray[np.int64]) -> list[Number]:
    """Return the means over pairs, with intervals over prompts."""
    return ratios(*_sums(values_KP, prompt_P))


def _sums(values_KP: Floats, prompt_P: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Return the sums over each prompt's pairs, shape (K, Q), and how many it has, shape (Q,)."""
    sums_KQ = np.stack([np.bincount(prompt_P, weights=values_P) for values_P in values_KP])
    return sums_KQ.astype(np.float64), np.bincount(prompt_P).astype(np.float64)


def _verdict(change: Number, chance: float) -> Verdict:
    """Return what McNemar's test says; without a difference, whether the interval leaves room for one."""
    if change.low is None or change.high is None:
        return "undecided"
    if chance < 0.05:
        return "better" if change.value > 0 else "worse"
    return "same" if max(-change.low, change.high) <= MARGIN else "undecided"


def _size(change: Number) -> Number:
    """Return a change without its sign."""
    if change.value >= 0 or change.low is None or change.high is None:
        return Number(abs(change.value), change.n, change.low, change.high)
    return Number(-change.value, change.n, -change.high, -change.low)


def _of_pairs(verdict: Verdict, margin: Number, count: int) -> Sequence[Finding]:
    found = _few(count, "pair")
    if verdict == "worse":
        found.append(
            Finding(
                "warning",
                "the tuned model ranks held-out pairs worse than its base",
                "train with a smaller `train.learning_rate` or fewer `train.epochs`, and look at the data",
            )
        )
    elif verdict != "better" and (margin.low or 0) > 0:
        found.append(
            Finding(
                "note",
                "the margin grew for certain, though not enough to rank more pairs right",
                "hold more pairs back with `data.split.valid`, or train longer",
            )
        )
    return found


def of_judged(base: RowNll, tuned: RowNll, good_R: Flags) -> Preferred:
    """Return whether good answers gained on bad ones: by how much more likely each became, in nats an answer.

    Args:
        base: Of every answer under the base.
        tuned: The same under the tuned model.
        good_R: Which were called good. Shape (R,).
    """
    gained_R = base.nll_R - tuned.nll_R
    metrics = [
        Metric(f"{name}_logp", f"log-probability per token of {name} answers", *_likelihood(base, tuned, chosen_R))
        for name, chosen_R in (("good", good_R), ("bad", ~good_R))
        if chosen_R.any()
    ]
    moved = share(int(((gained_R > 0) == good_R).sum()), len(good_R))
    metrics.append(Metric("moved_right", "answers that moved as judged", Number(CHANCE, moved.n), moved, percent=True))
    gap, least = _gap(gained_R[good_R], gained_R[~good_R])
    verdict: Verdict = "undecided"
    if gap is not None and gap.low is not None and gap.high is not None:
        verdict = "better" if gap.low > 0 else "worse" if gap.high < 0 else "undecided"
    found = _few(min(int(good_R.sum()), int((~good_R).sum())), "good or bad answer")
    if verdict == "worse":
        found.append(
            Finding(
                "warning",
                "bad answers gained on good ones",
                "train with a smaller `train.learning_rate` or fewer `train.epochs`, and look at the data",
            )
        )
    if gap is not None:
        metrics.append(
            Metric("gap", "gain of good answers over bad ones, nats", Number(0.0, gap.n), gap, percent=False)
        )
    told = "one kind of answers is missing" if gap is None else f"good answers gained {shown(gap)} nats on bad ones"
    return Preferred(
        verdict=verdict,
        summary=f"{verdict.capitalize()}: on {plural(len(good_R), 'held-out answer')}, {told}.",
        metrics=tuple(metrics),
        detectable={"gap_nats": least},
        findings=tuple(found),
        method=(
            "An answer gains what its log-probability rose by from base to tuned model. Intervals are 95 %, from "
            "resampled answers; that of the gap joins those of both kinds (Zou and Donner 2008). Perplexity is that of "
            "good answers."
        ),
        likely_R=good_R,
    )


def _likelihood(base: RowNll, tuned: RowNll, chosen_R: Flags) -> tuple[Number, Number, bool, Number]:
    """Return log p per token of some answers: base, tuned, that it is no share, and the change."""
    counts_R = base.tokens_R[chosen_R].astype(np.float64)
    sums_KR = -np.stack([base.nll_R, tuned.nll_R, tuned.nll_R - base.nll_R])[:, chosen_R]
    before, after, change = ratios(sums_KR, counts_R)
    return before, after, False, change


def _gap(good: Floats, bad: Floats) -> tuple[Number | None, float | None]:
    """Return the difference of two means with its interval (MOVER), and the smallest that shows.

    Source: Zou and Donner 2008, Statistics in Medicine 27, pages 1693-1702, equation 3.
    """
    if not len(good) or not len(bad):
        return None, None
    one, other = (ratios(values[None], np.ones(len(values)))[0] for values in (good, bad))
    value, count = one.value - other.value, one.n + other.n
    if one.low is None or one.high is None or other.low is None or other.high is None:
        return Number(value, count), None
    low = value - math.hypot(one.value - one.low, other.high - other.value)
    high = value + math.hypot(one.high - one.value, other.value - other.low)
    parts = [detectable(values, np.ones(len(values))) or 0.0 for values in (good, bad)]
    return Number(value, count, low, high), math.hypot(*parts)


def _few(count: int, noun: str) -> list[Finding]:
    if count >= FEWEST:
        return []
    text = f"{count} {noun}{'' if count == 1 else 's'} can't carry a verdict; at least {FEWEST} are needed"
    return [Finding("warning", text, "hold more rows back with `data.split.valid`")]
