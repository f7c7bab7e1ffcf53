"""How often the statistics of `luthier evaluate` are right, by simulation: intervals, false alarms, detectable changes.

    python benchmarks/simulation.py [--pairs 2000] [--rows 30 100 1000] [--only WORD]

A world draws pairs of models on the same rows, of which the true difference is known. Of each number of rows: how often
the 95 % interval of the difference holds the truth; how often the tuned model is called better though nothing changed;
and how often a difference is called what it is, half of them better and half worse, that is as large as such rows are
said to show (the median of what is stated without a difference). The functions are the package's own, with 1,000
resamples instead of 2,000 to 10,000.
"""

import argparse
import datetime
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from statistics import mean, median
from typing import NamedTuple

import numpy as np

from luthier.core.report import Number
from luthier.evaluate import contrast as contrast_module
from luthier.evaluate import stats
from luthier.evaluate.contrast import contrast, judged
from luthier.evaluate.metrics.metric import Metric

HERE = Path(__file__).parent
LABELS = 4

STATED = 500
"""Pairs without a difference whose detectable one is asked for."""

RESAMPLES = 1_000

Random = np.random.Generator


class Told(NamedTuple):
    """What one comparison said; more is better."""

    change: Number
    detectable: float | None
    verdict: str


def of_figures(metric: Metric, base: np.ndarray, tuned: np.ndarray, seed: int) -> Told:
    found = contrast(metric, base, tuned, seed=seed)
    assert found is not None
    return Told(found.change, found.detectable, judged(found, found.p, better=1, percent=True))


# --- worlds: of a number of rows and a true difference ---------------------------------------------------------------


def likelihood(lengths: float, tails: Callable[[Random, int], np.ndarray]) -> Callable[[Random, int, float, int], Told]:
    """Nats per token: log-normal lengths, the difference of a row noisier where it is short."""

    def draw(random: Random, rows: int, gain: float, seed: int) -> Told:
        tokens = np.maximum(1, np.round(np.exp(random.normal(3, lengths, rows))))
        differences = tokens * (0.3 * tails(random, rows) / np.sqrt(1 + tokens / 20) - gain)
        (found,) = stats.ratios(differences[None], tokens, seed=seed)
        change = Number(-found.value, rows, -found.high, -found.low)
        stated = stats.detectable(differences, tokens) if not gain and seed < STATED else None
        return Told(change, stated, stats.verdict(found))

    return draw


def right_or_wrong(base: float, moved: float) -> Callable[[Random, int, float, int], Told]:
    """Answers that are right or wrong, of which a share is right by one model only."""
    metric = Metric("right", "right", lambda *_: np.zeros((0, 2)))

    def draw(random: Random, rows: int, gain: float, seed: int) -> Told:
        change = max(moved, abs(gain))
        gained, lost = (change + gain) / 2, (change - gain) / 2
        cells = random.multinomial(rows, [base - lost, gained, lost, 1 - base - gained])
        first, second = (np.repeat(flags, cells).astype(float) for flags in ((1, 0, 1, 0), (1, 1, 0, 0)))
        ones = np.ones(rows)
        return of_figures(metric, np.column_stack([first, ones]), np.column_stack([second, ones]), seed)

    return draw


def scores(random: Random, rows: int, gain: float, seed: int) -> Told:
    """Scores from 0 to 1, most of them near an end, of which half stay as they were."""
    base, other = random.beta(0.6, 0.6, (2, rows))
    tuned = np.where(random.random(rows) < 0.5, base, other) + gain
    metric, ones = Metric("score", "score", lambda *_: np.zeros((0, 2))), np.ones(rows)
    return of_figures(metric, np.column_stack([base, ones]), np.column_stack([tuned, ones]), seed)


def overlap(random: Random, rows: int, gain: float, seed: int) -> Told:
    """A score of the whole, as BLEU is: pieces found of pieces written, in answers of very different length."""
    pieces = np.maximum(4, np.round(np.exp(random.normal(3, 0.7, rows))))
    skill = random.beta(2, 2, rows)
    drawn = random.beta(2, 2, rows)
    base = random.binomial(pieces.astype(int), skill)
    tuned = random.binomial(pieces.astype(int), np.where(random.random(rows) < 0.6, skill, drawn)) + gain * pieces
    # Two further figures, so that rows are not taken for means.
    rest = np.zeros((rows, 2))
    metric = Metric("overlap", "overlap", lambda *_: np.zeros((0, 4)), score=lambda sums: sums[:, 0] / sums[:, 1])
    return of_figures(metric, np.column_stack([base, pieces, rest]), np.column_stack([tuned, pieces, rest]), seed)


def macro_f1(random: Random, rows: int, gain: float, seed: int) -> Told:
    """F1 over four classes that are equally frequent and equally hard, so that it is accuracy in the long run."""
    labels = random.integers(LABELS, size=rows)
    right, moved = 0.6, max(0.3, abs(gain))
    gained, lost = (moved + gain) / 2, (moved - gain) / 2
    case = random.choice(4, size=rows, p=[right - lost, gained, lost, 1 - right - gained])
    wrong = (labels + random.integers(1, LABELS, size=(2, rows))) % LABELS
    base, tuned = np.where(np.isin(case, (0, 2)), labels, wrong[0]), np.where(case < 2, labels, wrong[1])

    def figures(told: np.ndarray) -> np.ndarray:
        hits, true, said = (
            np.eye(LABELS)[labels] * (labels == told)[:, None],
            np.eye(LABELS)[labels],
            np.eye(LABELS)[told],
        )
        return np.concatenate([hits, true, said], axis=1)

    def score(sums: np.ndarray) -> np.ndarray:
        hits, true, said = np.split(sums, 3, axis=1)
        with np.errstate(all="ignore"):
            return np.nanmean(2 * hits / (true + said), axis=1)

    return of_figures(Metric("f1", "f1", lambda *_: np.zeros((0, 12)), score), figures(base), figures(tuned), seed)


WORLDS: dict[str, Callable[[Random, int, float, int], Told]] = {
    "perplexity": likelihood(0.5, lambda random, rows: random.normal(0, 1, rows)),
    "perplexity, long and short rows, heavy tails": likelihood(0.9, lambda random, rows: random.standard_t(4, rows)),
    "perplexity, long and short rows, skewed": likelihood(0.9, lambda random, rows: 1 - random.exponential(1, rows)),
    "right or wrong, 30 % change": right_or_wrong(0.5, 0.3),
    "right or wrong, 10 % change": right_or_wrong(0.7, 0.1),
    "scores of answers": scores,
    "overlap of the whole": overlap,
    "F1 over classes": macro_f1,
}


class Line(NamedTuple):
    """One world at one number of rows."""

    world: str
    rows: int
    covered: float
    """Without a difference."""
    covered_changed: float
    """With the detectable one."""
    false_better: float
    detectable: float
    detected: float


def simulated(world: str, rows: int, pairs: int) -> Line:
    draw, random = WORLDS[world], np.random.default_rng(rows)
    none = [draw(random, rows, 0.0, seed) for seed in range(pairs)]
    gain = median(told.detectable for told in none if told.detectable is not None)
    up = [draw(random, rows, gain, seed) for seed in range(0, pairs, 2)]
    down = [draw(random, rows, -gain, seed) for seed in range(1, pairs, 2)]
    return Line(
        world,
        rows,
        covered(none, 0.0),
        (covered(up, gain) + covered(down, -gain)) / 2,
        share(none, "better"),
        gain,
        (share(up, "better") + share(down, "worse")) / 2,
    )


def covered(told: list[Told], truth: float) -> float:
    """A change of every row alike has no interval, and is none that could miss."""
    return mean(
        one.change.low is None or one.change.low - 1e-12 <= truth <= one.change.high + 1e-12  # type: ignore[operator]
        for one in told
    )


def share(told: list[Told], verdict: str) -> float:
    return mean(one.verdict == verdict for one in told)


def table(lines: list[Line], pairs: int) -> str:
    error = 1.96 * math.sqrt(0.05 * 0.95 / pairs) * 100
    head = (
        f"# Statistics by simulation\n\n{pairs:,} pairs a line; coverage is known to ± {error:.1f} points, what is"
        f" detected to ± {1.96 * math.sqrt(0.16 / pairs) * 100:.1f}.\n\n"
        "| world | rows | interval covers, nothing changed | interval covers, changed | falsely better | detectable |"
        " detected |\n| --- | --- | --- | --- | --- | --- | --- |\n"
    )
    return head + "".join(
        f"| {line.world} | {line.rows:,} | {line.covered:.1%} | {line.covered_changed:.1%} | {line.false_better:.1%} |"
        f" {line.detectable:.3g} | {line.detected:.1%} |\n"
        for line in lines
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=2000)
    parser.add_argument("--rows", type=int, nargs="+", default=[30, 100, 1000])
    parser.add_argument("--only", default="")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    asked = parser.parse_args()
    stats.RESAMPLES = stats.FEWEST_RESAMPLES = contrast_module.RESAMPLES = RESAMPLES
    lines = []
    for world in WORLDS:
        for rows in asked.rows if asked.only in world else ():
            began = time.monotonic()
            lines.append(simulated(world, rows, asked.pairs))
            print(lines[-1], f"{time.monotonic() - began:.0f} s", flush=True)
    name = asked.out / f"{datetime.datetime.now().astimezone():%Y-%m-%d-%H%M}-simulation"
    name.with_suffix(".md").write_text(table(lines, asked.pairs), encoding="utf-8")
    found = {"pairs": asked.pairs, "lines": [line._asdict() for line in lines]}
    name.with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(table(lines, asked.pairs))


if __name__ == "__main__":
    main()
