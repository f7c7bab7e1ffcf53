"""What scores of whole texts are worth: reward models on held-out pairs, classifiers on held-out texts.

Their base has no head, so it has no answer to compare with. The baseline is what needs no model: chance for pairs, the
most frequent class for classes.

Shapes: R texts, P pairs, K classes, S resamples.
"""
# ruff: noqa: N803, N806 - names end in the letters of their shape

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from luthier.core.errors import DataError, Failed
from luthier.core.files import publish_folder
from luthier.core.progress import Progress
from luthier.core.publish import write_report
from luthier.core.report import Block, Finding, Number, Paragraph, Report, Section, Table
from luthier.core.text import plural
from luthier.evaluate.account import shown
from luthier.evaluate.candidates import with_adapter
from luthier.evaluate.pairs import OWN
from luthier.evaluate.regression import findings as gate_findings
from luthier.evaluate.regression import refusals
from luthier.evaluate.stats import FEWEST, Verdict, mcnemar, mean, resampled, share, smallest_share
from luthier.model.forward import batching, precise
from luthier.model.generate import without_dropout
from luthier.model.heads import kept, scores
from luthier.model.load import load_scorer, stored_as
from luthier.model.quantised import Quantised
from luthier.recipe.evaluate import Gate
from luthier.tokens.pack import lengths_of, stream
from luthier.tokens.render import Encoded

SHOWN = 20
"""Classes and confusions in a table for people; the report's JSON has all classes."""

CHANCE = 0.5
"""Share of pairs that a coin ranks right."""

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]


class Found(NamedTuple):
    """What an evaluation found, before it is a report."""

    verdict: Verdict
    summary: str
    metrics: list[dict[str, Any]]
    detectable: dict[str, float | None]
    sections: tuple[Section, ...]
    findings: tuple[Finding, ...]
    more: dict[str, Any]


def evaluate_scores(  # noqa: PLR0913 - each is a fact of its own
    *,
    recipe_model: str,
    base_path: Path,
    tuned_path: Path,
    rows: Sequence[Encoded],
    classes: Sequence[str],
    usual: int,
    gate: Gate,
    capacity: int,
    precision: str,
    out: Path,
    progress: Progress,
) -> Report:
    """Score held-out texts with the trained model, write `out` in one step, and return the report.

    Args:
        recipe_model: Name of the base model, as the user wrote it.
        base_path: Its folder.
        tuned_path: The trained adapter or model.
        rows: Held-out texts, or pairs of them, the better ending first.
        classes: Names of the classes, in the order of their numbers; empty for pairs.
        usual: The most frequent class of the training rows; of no use for pairs.
        gate: What the user asks of the result.
        capacity: Tokens of a forward pass.
        precision: `bf16`, `fp16` or `fp32`, as training computed.
        out: Folder for `report.json`, `.md` and `.html`; replaced when all is done.
        progress: Somebody who watches.

    Raises:
        DataError: There is no held-out row.
        ModelError: A model can't be loaded.
        Failed: A score is not a number.
    """
    if not len(rows):
        raise DataError("no held-out row can be scored", hint="hold rows back with `data.split.valid`")
    scores_RK = row_scores(
        _loaded(base_path, tuned_path, precision), rows, capacity=capacity, precision=precision, progress=progress
    )
    wrong = np.flatnonzero(~np.isfinite(scores_RK).all(axis=1)).tolist()
    if wrong:
        raise Failed(
            f"the scores of {len(wrong)} of {plural(len(rows), 'text')} are not numbers",
            hint="train with a smaller `train.learning_rate`, or with `--set train.precision=fp32`",
            place=str(rows[wrong[0]].source),
        )
    if classes:
        labels_R = np.array([row.label for row in rows], dtype=np.int64)
        found = of_classes(scores_RK, labels_R, classes, usual=usual)
    else:
        found = of_pairs(scores_RK[:, 0], lengths_of(rows))
    values = {
        metric["name"]: Number(metric["value"], metric["n"], metric["low"], metric["high"]) for metric in found.metrics
    }
    refused = [*refusals(gate, found.verdict, values)]
    report = Report(
        title="Scores on held-out rows",
        summary=found.summary,
        data={
            "models": {"base": recipe_model, "tuned": str(tuned_path)},
            "verdict": found.verdict,
            "detectable": found.detectable,
            "metrics": found.metrics,
            "benchmarks": [],
            "regression": [_lost(metric) for metric in found.metrics if found.verdict == "worse"][:1],
            "gate": {"refused": refused},
            "samples": [],
            **found.more,
        },
        sections=found.sections,
        findings=(*gate_findings([], refused), *found.findings),
    )
    with publish_folder(out) as folder:
        write_report(report, folder)
    return report


def _loaded(base: Path, tuned: Path, precision: str) -> Any:
    dtype = stored_as(precision)
    if not (tuned / "adapter_config.json").is_file():
        return load_scorer(tuned, dtype=dtype)
    model = load_scorer(base, head=kept(tuned), dtype=dtype, quantised=Quantised.of(tuned))
    return with_adapter(model, tuned)


def row_scores(model: Any, rows: Sequence[Encoded], *, capacity: int, precision: str, progress: Progress) -> Floats:
    """Return the scores of every row, shape (R, K): one pack in memory at a time, dropout off."""
    parts: dict[int, Floats] = {}
    progress.start("score", len(rows), "row")
    with torch.no_grad(), without_dropout(model), precise(model, precision):
        padded = batching(model).way == "padded"
        for pack in stream(rows, range(len(rows)), capacity, padded=padded):
            parts |= dict(zip(pack.members.tolist(), scores(model, pack).double().cpu().numpy(), strict=True))
            progress.update(len(parts))
    progress.end()
    return np.stack([parts[place] for place in range(len(rows))])


# Pairs -----------------------------------------------------------------------------------------------------


def of_pairs(scores_R: Floats, lengths_R: Labels) -> Found:
    """Return how well scores rank held-out pairs; rows 2i are the better endings, rows 2i + 1 the worse.

    Args:
        scores_R: Of every row. Shape (R,).
        lengths_R: Its tokens: who always prefers the longer ending may already do well. Shape (R,).
    """
    gap_P = scores_R[0::2] - scores_R[1::2]
    longer_P = lengths_R[0::2] > lengths_R[1::2]
    count = len(gap_P)
    right, margin, longer = (
        share(int((gap_P > 0).sum()), count),
        mean(gap_P.tolist()),
        share(int(longer_P.sum()), count),
    )
    verdict = _against(right, CHANCE)
    told = {"better": "Better", "worse": "Worse"}.get(verdict, "Not shown to be better")
    return Found(
        verdict,
        f"{told} than chance: the better ending scores higher in {shown(right, as_percent=True)} of "
        f"{plural(count, 'held-out pair')}; chance is 50 %.",
        [
            _metric("accuracy", right, Number(CHANCE, count)),
            _metric("margin", margin, Number(0.0, count)),
            _metric("longer_is_better", longer, Number(CHANCE, count)),
        ],
        {"accuracy": smallest_share(CHANCE, count)},
        (
            Section(
                "Numbers",
                (
                    Table(
                        "",
                        ("measure", "value", "chance"),
                        (
                            ("pairs ranked right", shown(right, as_percent=True), "50 %"),
                            ("score of the better less that of the worse, mean", shown(margin), "0"),
                            ("pairs whose better ending is longer", shown(longer, as_percent=True), ""),
                        ),
                    ),
                    Paragraph(
                        "The base model has no head, so it ranks by chance. Intervals are 95 %: Wilson's for shares, "
                        "resampled pairs (studentised bootstrap) for the mean."
                    ),
                ),
            ),
        ),
        tuple(_of_pairs(verdict, right, longer)),
        {"pairs": count},
    )


def _of_pairs(verdict: Verdict, right: Number, longer: Number) -> Sequence[Finding]:
    found = _few(right.n, "pair")
    if verdict != "better":
        found.append(
            Finding(
                "warning" if verdict == "worse" else "note",
                "these pairs don't show that the scores are better than chance",
                "train longer or on more pairs, and look at how they were judged",
            )
        )
    simple = max(longer.value, 1 - longer.value)
    if right.low is not None and right.low <= simple and simple > CHANCE:
        which = "longer" if longer.value > CHANCE else "shorter"
        found.append(
            Finding(
                "note", f"always preferring the {which} ending ranks {simple:.0%} right: length may be all it learned"
            )
        )
    return found


# Classes ---------------------------------------------------------------------------------------------------


def of_classes(scores_RK: Floats, labels_R: Labels, classes: Sequence[str], *, usual: int) -> Found:
    """Return how well scores tell the classes of held-out texts.

    Args:
        scores_RK: Of every text and class. Shape (R, K).
        labels_R: The number of each text's class. Shape (R,).
        classes: Their names.
        usual: The class a baseline without a model always answers.
    """
    answers_R = scores_RK.argmax(axis=1)
    right_R, base_R = answers_R == labels_R, labels_R == usual
    count = len(labels_R)
    accuracy, baseline = share(int(right_R.sum()), count), share(int(base_R.sum()), count)
    chance = mcnemar(int((right_R & ~base_R).sum()), int((base_R & ~right_R).sum()))
    verdict: Verdict = "undecided"
    if count >= FEWEST and chance < 0.05:
        verdict = "better" if accuracy.value > baseline.value else "worse"
    macro = macro_f1(labels_R, answers_R, len(classes))
    always = _f1(labels_R, np.full_like(labels_R, usual), len(classes))
    each = per_class(labels_R, answers_R, classes)
    told = {"better": "Better", "worse": "Worse"}.get(verdict, "Not shown to be better")
    numbers = Table(
        "",
        ("measure", "value", "always the most frequent class"),
        (
            (
                "classified right (accuracy, micro F1)",
                shown(accuracy, as_percent=True),
                shown(baseline, as_percent=True),
            ),
            ("macro F1", shown(macro), f"{np.nanmean(always):.3f}"),
        ),
    )
    method = Paragraph(
        f"The base model has no head, so the baseline always answers `{classes[usual]}`, the class most frequent in "
        f"training. By McNemar's exact test the difference has p = {chance:.2g}. Intervals are 95 %: Wilson's for "
        "shares, resampled texts for macro F1, the mean over classes of the harmonic mean of precision and recall."
    )
    return Found(
        verdict,
        f"{told} than always answering the most frequent class: {shown(accuracy, as_percent=True)} of "
        f"{plural(count, 'held-out text')} in {plural(len(classes), 'class')} are classified right, "
        f"the baseline {baseline.value:.0%}.",
        [
            _metric("accuracy", accuracy, baseline),
            _metric("micro_f1", accuracy, baseline),
            _metric("macro_f1", macro, Number(float(np.nanmean(always)), count)),
        ],
        {"accuracy": smallest_share(baseline.value, count)},
        (
            Section("Numbers", (numbers, method)),
            Section("Classes, the worst first", (_class_table(each),)),
            *_confused(labels_R, answers_R, classes),
        ),
        tuple(_of_classes(verdict, each, count)),
        {"texts": count, "mcnemar_p": chance, "classes": each, "confusions": confusions(labels_R, answers_R, classes)},
    )


def _of_classes(verdict: Verdict, each: Sequence[dict[str, Any]], count: int) -> Sequence[Finding]:
    found = _few(count, "text")
    if verdict != "better":
        found.append(
            Finding(
                "warning" if verdict == "worse" else "note",
                "these texts don't show that the model classifies better than the most frequent class",
                "train longer, or with a larger `train.learning_rate`",
            )
        )
    never = [entry["class"] for entry in each if entry["n"] and not entry["recall"]["value"]]
    if never:
        names = ", ".join(f"`{name}`" for name in never[:5])
        found.append(
            Finding(
                "note",
                f"never found: {len(never)} of {plural(len(each), 'class')} ({names})",
                "give more examples, or weigh rare classes: `train.objective={kind: classify, weights: balanced}`",
            )
        )
    return found


def per_class(labels_R: Labels, answers_R: Labels, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Return for each class how many texts it has, precision and recall with Wilson's intervals, and F1."""
    true_K, told_K, hits_K = _counts(labels_R, answers_R, len(classes))
    f1_K = _f1(labels_R, answers_R, len(classes))

    def part(hits: int, count: int) -> dict[str, Any] | None:
        return share(hits, count).as_dict() if count else None

    return [
        {
            "class": name,
            "n": int(true_K[k]),
            "precision": part(int(hits_K[k]), int(told_K[k])),
            "recall": part(int(hits_K[k]), int(true_K[k])),
            "f1": None if math.isnan(f1_K[k]) else float(f1_K[k]),
        }
        for k, name in enumerate(classes)
    ]


def confusions(labels_R: Labels, answers_R: Labels, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Return the largest confusions: texts of one class that were taken for another, at most `SHOWN`."""
    wrong_R = labels_R != answers_R
    pairs, counts = np.unique(np.stack([labels_R[wrong_R], answers_R[wrong_R]]), axis=1, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:SHOWN]
    return [
        {"class": classes[pairs[0, at]], "taken_for": classes[pairs[1, at]], "n": int(counts[at])}
        for at in order.tolist()
    ]


def macro_f1(labels_R: Labels, answers_R: Labels, classes: int, *, seed: int = 0) -> Number:
    """Return the mean F1 over classes that occur, with a 95 % interval over resampled texts."""

    def of(labels: Labels, answers: Labels) -> float:
        return float(np.nanmean(_f1(labels, answers, classes)))

    return resampled(lambda drawn_R: of(labels_R[drawn_R], answers_R[drawn_R]), len(labels_R), seed=seed)


def _counts(labels_R: Labels, answers_R: Labels, classes: int) -> tuple[Labels, Labels, Labels]:
    """Return how many texts each class has, was told, and was told rightly: shape (K,) each."""
    hits_R = labels_R[labels_R == answers_R]
    true_K, told_K, hits_K = (np.bincount(values, minlength=classes) for values in (labels_R, answers_R, hits_R))
    return true_K, told_K, hits_K


def _f1(labels_R: Labels, answers_R: Labels, classes: int) -> Floats:
    """Return 2 * hits / (texts + told) of each class, shape (K,); NaN for one that neither occurs nor was told."""
    true_K, told_K, hits_K = _counts(labels_R, answers_R, classes)
    both_K = true_K + told_K
    found: Floats = np.divide(2.0 * hits_K, both_K, out=np.full(classes, np.nan), where=both_K > 0)
    return found


def _class_table(each: Sequence[dict[str, Any]]) -> Table:
    def told(number: dict[str, Any] | None) -> str:
        return shown(Number(**number), as_percent=True) if number else "–"

    worst = sorted((entry for entry in each if entry["n"]), key=lambda entry: (entry["f1"], entry["class"]))[:SHOWN]
    return Table(
        "",
        ("class", "texts", "precision", "recall", "F1"),
        tuple(
            (entry["class"], f"{entry['n']:,}", told(entry["precision"]), told(entry["recall"]), f"{entry['f1']:.2f}")
            for entry in worst
        ),
    )


def _confused(labels_R: Labels, answers_R: Labels, classes: Sequence[str]) -> tuple[Section, ...]:
    rows = tuple(
        (entry["class"], entry["taken_for"], f"{entry['n']:,}") for entry in confusions(labels_R, answers_R, classes)
    )
    blocks: tuple[Block, ...] = (Table("", ("class", "taken for", "texts"), rows),)
    return (Section("Largest confusions", blocks),) if rows else ()


def _metric(name: str, number: Number, baseline: Number) -> dict[str, Any]:
    return {"name": name, **number.as_dict(), "base": baseline.as_dict(), "tuned": number.as_dict()}


def _lost(metric: dict[str, Any]) -> dict[str, Any]:
    """Return the entry of the report's `regression`, as `regression.Kept` has it."""
    numbers = {"base": metric["base"], "tuned": metric["tuned"], "change": None}
    return {"name": OWN, "measure": metric["name"], **numbers, "status": "WARN"}


def _against(number: Number, chance: float) -> Verdict:
    """Return what a share's interval says about chance."""
    if number.n < FEWEST or number.low is None or number.high is None:
        return "undecided"
    return "better" if number.low > chance else "worse" if number.high < chance else "undecided"


def _few(count: int, noun: str) -> list[Finding]:
    if count >= FEWEST:
        return []
    text = f"{plural(count, noun)} can't carry a verdict; at least {FEWEST} are needed"
    return [Finding("warning", text, "hold more rows back with `data.split.valid`")]
