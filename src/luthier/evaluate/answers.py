"""What the answers of base and tuned model are worth: every metric of both, compared, and what to say of it."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import compress

import numpy as np

from luthier.core.example import Message
from luthier.core.report import Block, Finding, Setting
from luthier.core.text import plural
from luthier.evaluate.account import Metric as Told
from luthier.evaluate.account import held_back
from luthier.evaluate.contrast import Contrast, contrast, holm, judged, rows_for
from luthier.evaluate.metrics.choose import chosen
from luthier.evaluate.metrics.metric import Expected, Floats, Metric
from luthier.evaluate.metrics.structure import call_of
from luthier.recipe.metrics import Metric as Options
from luthier.recipe.options import locate

WANTED = 0.05
"""Change of a share, five points, that a comparison of answers should be able to show."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What the answers are worth."""

    metrics: tuple[Told, ...]
    details: tuple[Block, ...]
    findings: tuple[Finding, ...]
    why: str
    """Why these metrics."""
    count: int
    """How many prompts were answered."""
    figures: tuple[tuple[Metric, Floats, Floats], ...] = ()
    """Each metric with the figures of every answer of base and tuned model."""


def expected_of(turn: Message) -> Expected:
    """Return what a turn of the assistant asks of an answer."""
    older = turn.extra.get("function_call")
    found = (call_of(call) for call in turn.extra.get("tool_calls") or ([older] if older else []))
    return Expected(turn.text, tuple(call for call in found if call is not None))


def score(
    expected: Sequence[Expected], base: Sequence[str], tuned: Sequence[str], options: Sequence[Options]
) -> Answered | None:
    """Return what the answers of both models to the same prompts are worth; None where there are none.

    Args:
        expected: What each answer should be.
        base: The base's answers.
        tuned: The tuned model's.
        options: The metrics asked for; none means those that fit.
    """
    found = scored(expected, base, tuned, options)
    return None if found is None else found.answered()


@dataclass(frozen=True, slots=True)
class Scored:
    """Every metric of the answers of two models, before it is said what the changes mean."""

    expected: Sequence[Expected]
    base: Sequence[str]
    tuned: Sequence[str]
    figures: Sequence[tuple[Metric, Floats, Floats]]
    found: Sequence[tuple[Metric, Contrast]]
    why: str

    @property
    def ps(self) -> list[float | None]:
        """Return how likely each change is by chance, counted alone."""
        return [compared.p for _, compared in self.found]

    def answered(self, also: Sequence[float | None] = (), limit: int | None = None) -> Answered:
        """Return what the answers are worth.

        Args:
            also: How likely whatever else was tested is by chance.
            limit: How many were to be asked: there may have been more rows than that.
        """
        metrics = told(self.found, also)
        texts = [spoken(want) for want in self.expected]
        details = [one.details for one, _ in self.found if one.details and any(texts)]
        columns = [*compress(self.expected, texts)], [*compress(self.base, texts)], [*compress(self.tuned, texts)]
        return Answered(
            metrics=metrics,
            details=tuple(block for detail in details for block in detail(*columns)),
            findings=(
                *_silent(self.base, self.tuned),
                *_findings(self.found, metrics, limited=limit is not None and limit <= len(self.expected)),
            ),
            why=self.why,
            count=len(self.expected),
            figures=(*self.figures,),
        )


def spoken(want: Expected) -> bool:
    """Return whether a text is expected: an answer that should only call a function is none to score."""
    return not want.calls or bool(want.text.strip())


def scored(
    expected: Sequence[Expected], base: Sequence[str], tuned: Sequence[str], options: Sequence[Options]
) -> Scored | None:
    """Return every metric of the answers, see `score`."""
    if not expected:
        return None
    asked, why = (tuple(options), "the recipe names them") if options else chosen(expected)
    metrics = [*_apart(metric for option in asked for metric in locate(option)(option))]
    figures = [(metric, _figures(metric, expected, base), _figures(metric, expected, tuned)) for metric in metrics]
    found = [(metric, one) for metric, was, now in figures if (one := contrast(metric, was, now))]
    return Scored(expected, base, tuned, figures, found, why)


def _figures(metric: Metric, expected: Sequence[Expected], answers: Sequence[str]) -> Floats:
    """Return the figures of every answer; those of one that is no text to score are 0, so that it doesn't count."""
    found = np.asarray(metric.figures(expected, answers), dtype=np.float64)
    return found if metric.of_calls else found * np.array([spoken(want) for want in expected])[:, None]


def _apart(metrics: Iterable[Metric]) -> Iterator[Metric]:
    """Yield metrics, of the same name numbered: two patterns are `regex` and `regex_2`."""
    seen: Counter[str] = Counter()
    for metric in metrics:
        seen[metric.name] += 1
        number = seen[metric.name]
        if number == 1:
            yield metric
        else:
            yield replace(metric, name=f"{metric.name}_{number}", label=f"{metric.label} ({number})")


def told(found: Sequence[tuple[Metric, Contrast]], also: Sequence[float | None] = ()) -> tuple[Told, ...]:
    """Return comparisons as the report has them; their tests count together, and with others."""
    ps = holm([*(compared.p for _, compared in found), *also])[: len(found)]
    return tuple(
        Told(
            metric.name,
            metric.label,
            compared.base,
            compared.tuned,
            metric.percent,
            compared.change,
            p,
            judged(compared, p, better=metric.better, percent=metric.percent),
            compared.detectable,
        )
        for (metric, compared), p in zip(found, ps, strict=True)
    )


def _silent(base: Sequence[str], tuned: Sequence[str]) -> Iterator[Finding]:
    """Yield that a model mostly says nothing, whose scores tell of something else than its knowledge."""
    for name, answers in (("base", base), ("tuned", tuned)):
        empty = sum(not answer.strip() for answer in answers)
        if 2 * empty >= len(answers):
            yield Finding(
                "warning",
                f"{empty} of {len(answers)} {name} answers are empty",
                "a model that ends at once may expect another chat template; one that a server runs may need a larger"
                " `evaluate.max_new_tokens`, where it thinks before it answers",
            )


def _findings(found: Sequence[tuple[Metric, Contrast]], told: Sequence[Told], *, limited: bool) -> Iterator[Finding]:
    worse, better = (", ".join(one.label for one in told if one.verdict == of) for of in ("worse", "better"))
    if worse:
        yield Finding("warning", f"answers are worse by: {worse}", "look at them side by side: what did it unlearn?")
    if better:
        yield Finding("ok", f"answers are better by: {better}")
    # The first metric is the one the rows are about.
    for (metric, compared), one in zip(found[:1], told, strict=False):
        needed = rows_for(compared, WANTED)
        if (
            one.verdict == "undecided"
            and metric.percent
            and needed
            and compared.detectable
            and compared.detectable > WANTED
        ):
            points = f"{compared.detectable * 100:.0f} points"
            yield Finding(
                "note",
                f"{plural(compared.change.n, 'answer')} show a change of {points} of “{metric.label}”; a change of "
                f"{WANTED * 100:.0f} would take about {needed:,}",
                "raise `evaluate.answers`" if limited else "hold more rows back with `data.split.valid`, or add rows",
                (Setting("evaluate.answers", f"{needed}"),) if limited else held_back(needed / compared.change.n),
            )
