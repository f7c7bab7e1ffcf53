"""What was lost on the way: capabilities before and after, and whether the result passes the user's gate."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from luthier.core.report import Finding, Level, Number, Section, Setting, Table
from luthier.core.text import plural
from luthier.evaluate.account import LESS, Metric, in_bits, points, ratio_told, shown
from luthier.evaluate.answers import Answered
from luthier.evaluate.contrast import SAME
from luthier.evaluate.losses import Loss
from luthier.evaluate.pairs import OWN
from luthier.evaluate.stats import FEWEST, MARGIN, Paired, Verdict, perplexity
from luthier.recipe.benchmarks import Benchmark
from luthier.recipe.evaluate import Capability, Gate

Status = Literal["OK", "WARN", "FAIL"]


@dataclass(frozen=True, slots=True)
class Kept:
    """One measure of one capability, before and after."""

    name: str
    measure: str
    label: str
    base: Number
    tuned: Number
    change: Number
    """Of perplexity a ratio, else a difference."""
    percent: bool
    status: Status

    def as_dict(self) -> dict[str, Any]:
        """Return the entry of the report's `regression`."""
        numbers = {name: getattr(self, name).as_dict() for name in ("base", "tuned", "change")}
        return {"name": self.name, "measure": self.measure, **numbers, "status": self.status}


def of_capability(asked: Capability, loss: Loss, answered: Answered | None) -> list[Kept]:
    """Return the loss and the main metric of a capability's rows, each with what it means.

    A loss above `warn` is told, whether it is certain or not; one above `fail` fails when its interval leaves out 0.
    However certain, a smaller loss is none in practice.
    """
    found = []
    if loss.per_token is not None:
        lost, surely = (math.expm1(change or 0.0) for change in _change(loss.per_token))
        found.append(_of_perplexity(asked.name, loss.per_token, status_of(lost, surely, asked)))
    elif loss.per_byte is not None:
        lost, surely = ((change or 0.0) / loss.per_byte.base.value for change in _change(loss.per_byte))
        found.append(_of_bytes(asked.name, loss.per_byte, status_of(lost, surely, asked)))
    for metric in answered.metrics[:1] if answered else ():
        change = metric.change
        if change is None or not metric.percent:
            continue
        surely = 0.0 if change.high is None else -change.high
        found.append(_of_metric(asked.name, metric, status_of(-change.value, surely, asked)))
    return found


def _change(paired: Paired) -> tuple[float, float | None]:
    return paired.difference.value, paired.difference.low


def status_of(lost: float, surely: float, asked: Capability | Benchmark) -> Status:
    """Return what a loss means.

    Args:
        lost: The loss, as a share.
        surely: The least it is, by its interval; 0 or less: it may be chance.
        asked: Where it warns and fails.
    """
    if asked.fail is not None and lost > asked.fail and surely > 0:
        return "FAIL"
    return "WARN" if lost > asked.warn else "OK"


def of_own_rows(loss: Loss, verdict: Verdict, metrics: Sequence[Metric]) -> list[Kept]:
    """Return the loss on the rows it was trained for, and every metric that is worse; none of it fails by itself.

    What is worse for certain, by no more than counts as no change, is told as such and no reason to warn.
    """
    found = []
    if loss.paired is not None:
        likely = loss.paired.verdict == "worse" and (loss.per_token is None or loss.paired.difference.value > MARGIN)
        preferred = verdict == "worse" and loss.paired.verdict != "worse"
        status: Status = "WARN" if likely or preferred else "OK"
        found = [(_of_perplexity if loss.per_token else _of_bytes)(OWN, loss.paired, status)]
    return [
        *found,
        *(
            _of_metric(OWN, metric, "OK" if metric.percent and abs(metric.change.value) <= SAME else "WARN")
            for metric in metrics
            if metric.verdict == "worse" and metric.change is not None
        ),
    ]


def _of_bytes(name: str, paired: Paired, status: Status) -> Kept:
    base, tuned, change = (in_bits(number) for number in (paired.base, paired.tuned, paired.difference))
    return Kept(name, "bits_per_byte", "bits per byte", base, tuned, change, False, status)


def _of_perplexity(name: str, paired: Paired, status: Status) -> Kept:
    base, tuned, change = (perplexity(number) for number in (paired.base, paired.tuned, paired.difference))
    return Kept(name, "perplexity", "perplexity", base, tuned, change, False, status)


def _of_metric(name: str, metric: Metric, status: Status) -> Kept:
    assert metric.change is not None, "what has a verdict has a change"
    return Kept(name, metric.name, metric.label, metric.base, metric.tuned, metric.change, metric.percent, status)


def refusals(gate: Gate, verdict: Verdict, values: Mapping[str, Number]) -> Iterator[str]:
    """Yield, in words, what the user's gate says no to.

    Args:
        gate: What must be.
        verdict: What the comparison says.
        values: The tuned model's numbers, by name.
    """
    if gate.verdict == "better" and verdict != "better":
        yield f"the tuned model must be better, and is {verdict}"
    if gate.verdict == "not_worse" and verdict == "worse":
        yield "the tuned model must not be worse, and is"
    for name, limit, least in (
        *((name, limit, True) for name, limit in gate.at_least.items()),
        *((name, limit, False) for name, limit in gate.at_most.items()),
    ):
        word = "least" if least else "most"
        if name not in values:
            known = ", ".join(values)
            yield f"`{name}` must be at {word} {limit:g}, and was not measured: there are {known}"
        elif not (values[name].value >= limit if least else values[name].value <= limit):
            yield f"`{name}` must be at {word} {limit:g}, and is {shown(values[name])}"


def findings(kept: Sequence[Kept], refused: Sequence[str]) -> Iterator[Finding]:
    """Yield what a person must know."""
    for text in refused:
        hint = "add rows or better ones, or change the settings, or `evaluate.gate`"
        yield Finding("gate", f"the gate says no: {text}", hint)
    few = {one.name: one.tuned.n for one in kept if one.name != OWN and one.tuned.n < FEWEST}
    for name, count in few.items():
        text = f"{name}: {plural(count, 'row')} can't show whether it is lost; at least {FEWEST} are needed"
        hint = "raise its `limit`; of a capability also name more files, and raise `evaluate.answers`"
        yield Finding("warning", text, hint)
    for one in kept:
        if one.name != OWN and one.status != "OK":
            lost = f"{one.name}: {one.label} went from {_told(one.base, one)} to {_told(one.tuned, one)}"
            hint = (
                f"mix rows like those of {one.name} into the training data, or train less: a smaller rate, fewer epochs"
            )
            level: Level = "gate" if one.status == "FAIL" else "warning"
            yield Finding(level, lost, hint, (Setting("data.sources", also="MORE.jsonl"), *LESS))


def sections(kept: Sequence[Kept]) -> Iterator[Section]:
    """Yield the regression check as a table; nothing where nothing could be checked."""
    rows = tuple(
        (one.name, one.label, _told(one.base, one), _told(one.tuned, one), _changed(one), one.status) for one in kept
    )
    if rows:
        columns = ("capability", "measure", "base", "fine-tuned", "change", "status")
        yield Section("Regression check", (Table("", columns, rows),))


def _changed(one: Kept) -> str:
    return ratio_told(one.change) if one.measure == "perplexity" else points(one.change, as_share=one.percent)


def _told(number: Number, one: Kept) -> str:
    return shown(number, as_percent=one.percent)
