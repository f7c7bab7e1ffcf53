"""What a comparison says to a person: the verdict first, then the evidence, then what to do."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from luthier.core.markdown import short_number
from luthier.core.report import Block, Comparison, Finding, Intervals, Number, Paragraph, Section, Setting, Table
from luthier.core.text import plural
from luthier.evaluate.stats import FEWEST, MARGIN, Paired, Verdict, perplexity

if TYPE_CHECKING:
    from luthier.evaluate.answers import Answered
    from luthier.evaluate.preferences import Preferred

FEW = 30
"""Below this many conversations an interval is told to be rough."""

BENCHMARKS = "Benchmark results"
"""Heading of what benchmarks say."""

SMALL = 0.01
"""Ratios below this are told as so many times lower: percents that all begin with 99.9 say nothing."""

NO_CHANGE = f"{MARGIN * 100:g} %"
"""The margin of practical equivalence, as people read it."""


LESS = (Setting("train.learning_rate", times=0.5), Setting("train.epochs", times=0.5))
"""How a run learns less, one change at a time: that tells what helped."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One more measure of both models."""

    name: str
    label: str
    base: Number
    tuned: Number
    percent: bool
    """Whether it is a share, shown in percent."""
    change: Number | None = None
    """Tuned less base, compared row by row."""
    p: float | None = None
    """Of such a change by chance, as it counts among all metrics (`contrast.holm`)."""
    verdict: Verdict | None = None
    detectable: float | None = None
    """Smallest true change these rows show."""

    def as_dict(self) -> dict[str, Any]:
        """Return `{name, value, n, low, high, base, tuned, change}`: the number itself is that of the tuned model."""
        change = None if self.change is None else self.change.as_dict()
        return {
            "name": self.name,
            **self.tuned.as_dict(),
            "base": self.base.as_dict(),
            "tuned": self.tuned.as_dict(),
            "change": change,
            "p": self.p,
            "verdict": self.verdict,
            "detectable": self.detectable,
        }


@dataclass(frozen=True, slots=True)
class Compared:
    """Everything one comparison found."""

    paired: Paired | None
    """How likely both find the rows; None where one of them doesn't tell."""
    rows: int
    """How many conversations were measured; where no likelihood was, how many were asked."""
    texts: int
    """How many texts the conversations became: more than they, where the template rewrites earlier turns."""
    tokens: int
    alike: bool
    """Whether both models gave every conversation exactly the same likelihood."""
    samples: Sequence[dict[str, Any]]
    metrics: Sequence[Metric]
    cut: Mapping[str, int]
    """How many sample answers of `base` and `tuned` were cut before a stop token."""
    clipped: int
    """How many sample prompts were longer than the model's context."""
    left_out: Mapping[str, int]
    """Conversations that were not measured: reason and number."""
    max_new_tokens: int
    setting: str
    """In which precision and with which chat template it was measured."""
    per_byte: bool = False
    """Whether that is per byte, because their tokens are others; else it is per token."""
    untold: str = ""
    """Why there is no perplexity to compare."""
    drawn: str = ""
    """How answers were drawn; empty where they are greedy."""
    slid: bool = False
    """Whether longer texts were read through a window."""
    noun: str = "conversation"
    """What was measured, in one word: plain text has documents."""
    preferred: "Preferred | None" = None
    """What held-out preferences say, where training learned from preferences."""
    answered: "Answered | None" = None
    """What the answers of both models are worth; None where nothing was asked."""

    @property
    def verdict(self) -> Verdict:
        """Return what preferences say, or else likelihood, or else the first metric of answers."""
        if self.preferred is not None:
            return self.preferred.verdict
        if self.paired is not None:
            return self.paired.verdict
        return self.main.verdict or "undecided" if self.main else "undecided"

    @property
    def main(self) -> Metric | None:
        """Return the metric of answers that the rows are about."""
        return self.answered.metrics[0] if self.answered and self.answered.metrics else None


def summary(found: Compared) -> str:
    """Return the verdict and what it rests on, in one or two sentences."""
    if found.preferred is not None:
        return found.preferred.summary
    paired = found.paired
    if paired is None:
        return _by_answers(found)
    if found.per_byte:
        return _by_bytes(found, paired)
    before, after = (short_number(perplexity(number).value) for number in (paired.base, paired.tuned))
    change = perplexity(paired.difference)
    moved = _moved(before, after, change.value)
    text = f"{paired.verdict.capitalize()}: perplexity on {plural(change.n, f'held-out {found.noun}')} {moved}"
    if change.low is None or change.high is None:
        return f"{text} ({percent(change.value)}). With fewer than {FEWEST} {found.noun}s this may be chance."
    told = (percent(change.value), percent(change.low), percent(change.high))
    if 0 < change.low <= change.high < SMALL:
        told = _times_lower(change.value, change.high, change.low)
    text += f" ({told[0]}, 95 % interval {told[1]} to {told[2]})"
    if paired.verdict == "same":
        return f"{text}; changes within ±{NO_CHANGE} count as none."
    if paired.verdict == "undecided":
        return f"{text}: these {found.noun}s can't tell the difference from chance."
    return f"{text}."


def _by_answers(found: Compared) -> str:
    """Return the verdict where nothing but answers can be compared."""
    main = found.main
    if main is None:
        return f"Undecided: {found.untold}, and no answers were compared."
    base, tuned = (shown(number, as_percent=main.percent) for number in (main.base, main.tuned))
    return f"{found.verdict.capitalize()}: {main.label} of {plural(main.tuned.n, 'answer')}: {tuned}; base {base}."


def _by_bytes(found: Compared, paired: Paired) -> str:
    """Return the verdict where two models read other tokens."""
    before, after, change = (shown(in_bits(number)) for number in (paired.base, paired.tuned, paired.difference))
    where = plural(paired.base.n, f"held-out {found.noun}")
    return f"{paired.verdict.capitalize()}: bits per byte on {where}: {after}; base {before}; change {change}."


def in_bits(nats: Number) -> Number:
    """Return a number in nats as bits."""
    low, high = (None if bound is None else bound / math.log(2) for bound in (nats.low, nats.high))
    return Number(nats.value / math.log(2), nats.n, low, high)


def _moved(before: str, after: str, ratio: float) -> str:
    if before == after:
        return f"stayed at {before}"
    return f"{'fell' if ratio < 1 else 'rose'} from {before} to {after}"


def percent(ratio: float) -> str:
    """Return a ratio as a change: 0.12 becomes `−88 %`, 1.004 becomes `+0.4 %`.

    Digits follow what is left: −99.97 % is not −100 %.
    """
    change = (ratio - 1) * 100
    near = min(abs(change), abs(100 + change)) if change < 0 else change
    digits = 0 if near >= 9.5 else 1 if near >= 0.95 else 2
    shown = f"{abs(change):,.{digits}f}"
    if not float(shown.replace(",", "")):
        return "0 %"
    return f"{'−' if change < 0 else '+'}{shown} %"


def findings(found: Compared) -> list[Finding]:
    """Return what a person should know beside the verdict, the most important first."""
    verdict: Iterable[Finding] = ()
    if found.preferred is not None:
        verdict = found.preferred.findings
    elif found.paired is not None:
        verdict = _of_the_verdict(found.paired, found.noun, per_byte=found.per_byte)
    answers = found.answered.findings if found.answered else ()
    return [*verdict, *answers, *_of_the_answers(found), *_of_the_data(found)]


def _of_the_verdict(paired: Paired, noun: str, *, per_byte: bool) -> Iterator[Finding]:
    count, detectable = paired.difference.n, paired.detectable
    more = "measure more rows: hold more back with `data.split.valid`, or name more with `--data`"
    if paired.verdict == "worse":
        yield Finding(
            "warning",
            f"the tuned model is worse than its base on {noun}s it did not learn from",
            "train less: a smaller `train.learning_rate` or fewer `train.epochs`; and look at the data",
            LESS,
        )
    if count < FEWEST:
        text = f"{plural(count, noun)} can't carry a verdict; at least {FEWEST} are needed"
        yield Finding("warning", text, more, held_back(FEW / count))
    elif count < FEW:
        text = f"with fewer than {FEW} {noun}s the interval is rough"
        yield Finding("note", text, more, held_back(FEW / count))
    if per_byte:
        return
    if paired.verdict == "undecided" and detectable is not None:
        seen = max(abs(paired.difference.value), MARGIN)
        factor = max((detectable / seen) ** 2, 1.0)
        hides, change = (
            percent(perplexity(Number(value, count)).value)
            for value in (-detectable, math.copysign(seen, paired.difference.value))
        )
        yield Finding(
            "note",
            f"a change smaller than {hides} of perplexity hides among {plural(count, noun)}; to be sure of {change} "
            f"takes about {math.ceil(count * factor):,}",
            more,
            held_back(factor),
        )
    if paired.verdict in ("better", "worse") and abs(paired.difference.value) <= MARGIN:
        yield Finding("note", f"the difference is real, and less than {NO_CHANGE} of perplexity")


def _of_the_answers(found: Compared) -> Iterator[Finding]:
    count = found.answered.count if found.answered else 0
    if found.alike:
        yield Finding(
            "warning",
            f"both models find every {found.noun} exactly as likely: they are the same, or nothing was learned",
            "if one was trained: train longer, or with a larger `train.learning_rate`",
            (Setting("train.epochs", times=2), Setting("train.learning_rate", times=2)),
        )
    elif found.samples and all(sample["base"] == sample["tuned"] for sample in found.samples):
        yield Finding(
            "note",
            f"both models gave the same answer to all {plural(len(found.samples), 'sample prompt')}",
            "train longer, or compare more prompts with `evaluate.answers`",
            (Setting("train.epochs", times=2),),
        )
    if found.cut["tuned"]:
        yield Finding(
            "warning" if 2 * found.cut["tuned"] >= count else "note",
            f"{found.cut['tuned']} of {count} tuned answers did not end within"
            f" {plural(found.max_new_tokens, 'token')} (base: {found.cut['base']} of {count})",
            "raise `evaluate.max_new_tokens` if long answers are expected; else train longer, or with"
            " `train.technique=full`: adapters can't teach a stop token that the base never saw",
            (Setting("evaluate.max_new_tokens", f"{2 * found.max_new_tokens}"),),
        )
    yield from of_repetition(found.metrics)
    if found.clipped:
        yield Finding(
            "note",
            f"{plural(found.clipped, 'prompt')} lost its beginning: the model's context is shorter",
        )


def of_repetition(metrics: Sequence[Metric]) -> Iterator[Finding]:
    """Yield that answers repeat themselves more, or end less often, where that is certain."""
    for metric in metrics:
        # Where nobody compared, intervals that don't meet are certain enough.
        fell = metric.tuned.high is not None and metric.base.low is not None and metric.tuned.high < metric.base.low
        if metric.name == "repetition" and metric.verdict == "worse":
            what = "answers repeat themselves more than the base's"
        elif metric.name == "answers_ended" and fell:
            what = "fewer answers end by themselves"
        else:
            continue
        was, now = (shown(number, as_percent=metric.percent) for number in (metric.base, metric.tuned))
        yield Finding(
            "warning",
            f"{what}: {now}; base {was}",
            "see with `luthier inspect` whether the end of an answer is learned, and train less",
            LESS,
        )


def held_back(times: float) -> tuple[Setting, ...]:
    """Return how a run holds more rows back."""
    return (Setting("data.split.valid", times=times),)


def _of_the_data(found: Compared) -> Iterator[Finding]:
    if found.untold:
        yield Finding("note", f"perplexity is not compared: {found.untold}")
    if found.left_out:
        reasons = "; ".join(f"{plural(count, found.noun)} {reason}" for reason, count in found.left_out.items())
        yield Finding("note", f"not measured: {reasons}")


def sections(found: Compared, benchmarks: Sequence[Section], others: Sequence[Section]) -> tuple[Section, ...]:
    """Return the numbers, the answers side by side, and how they came about.

    Args:
        found: What the comparison found.
        benchmarks: What benchmarks say.
        others: What else was measured.
    """
    none = Paragraph("None was run: name some in `evaluate.benchmarks`, such as [gsm8k].")
    task = (*_task_table(found), *(found.answered.details if found.answered else ()))
    nothing = (Paragraph("Nothing was asked: `evaluate.answers` is 0, or no row has an answer."),)
    measured = (
        Section("Perplexity comparison", (_likelihood(found),)),
        *(benchmarks or (Section(BENCHMARKS, (none,)),)),
        Section("Task-specific evaluation", task or nothing),
    )
    if found.preferred is not None:  # what the verdict rests on comes first
        measured = (measured[-1], *measured[:-1])
    answers: tuple[Block, ...] = tuple(
        Comparison(
            sample["prompt"],
            (("expected", sample["expected"]), ("base", sample["base"]), ("tuned", sample["tuned"])),
        )
        for sample in found.samples
    )
    samples = (Section("Sample outputs", answers),) if answers else ()
    return (*measured, *others, *samples)


def named(base: str, tuned: str) -> Section:
    """Return which models are compared, and when."""
    today = f"{datetime.now().astimezone():%Y-%m-%d}"
    return Section("Models", (Table("", ("", ""), (("Model", base), ("Fine-tuned", tuned), ("Date", today))),))


def by_weight(*said: Finding) -> tuple[Finding, ...]:
    """Return findings, the most serious first."""
    order = ("failure", "gate", "warning", "note", "ok")
    return tuple(sorted(said, key=lambda one: order.index(one.level)))


def method(found: Compared) -> Section:
    """Return how it was measured."""
    return Section("How it was measured", (Paragraph(_method(found)),))


def _likelihood(found: Compared) -> Block:
    paired = found.paired
    if paired is None:
        return Paragraph(f"Not compared: {found.untold}.")
    nats = [shown(number) for number in (paired.base, paired.tuned, paired.difference)]
    counts = [f"{number.n:,}" for number in (paired.base, paired.tuned, paired.difference)]
    models, verdicts = ("Base", "Fine-tuned", "Change"), ("", "", paired.verdict)
    if found.per_byte:
        columns = ("model", "nats per byte of what is learned", f"{found.noun}s", "verdict")
        return Table("", columns, tuple(zip(models, nats, counts, verdicts, strict=True)))
    base, tuned, change = (perplexity(number) for number in (paired.base, paired.tuned, paired.difference))
    likely = (shown(base), shown(tuned), ratio_told(change))
    told = ("model", "perplexity", "nats per learned token", f"{found.noun}s", "verdict")
    return Table("", told, tuple(zip(models, likely, nats, counts, verdicts, strict=True)))


def _task_table(found: Compared) -> tuple[Block, ...]:
    rows = tuple(
        (
            metric.label,
            f"{metric.tuned.n:,}",
            shown(metric.base, as_percent=metric.percent),
            shown(metric.tuned, as_percent=metric.percent),
            "" if metric.change is None else points(metric.change, as_share=metric.percent),
            metric.verdict or "",
        )
        for metric in found.metrics
    )
    if not rows:
        return ()
    table = Table("", ("metric", "n", "base", "fine-tuned", "change", "verdict"), rows)
    shares = [metric for metric in found.metrics if metric.percent]
    drawn = tuple((one.label, (("base", scaled(one.base)), ("fine-tuned", scaled(one.tuned)))) for one in shares)
    title = "Shares of answers, with their 95 % intervals"
    return (Intervals(title, "%", drawn, (0.0, 100.0)), table) if shares else (table,)


def scaled(number: Number) -> Number:
    """Return a share in percent."""
    low, high = (None if bound is None else bound * 100 for bound in (number.low, number.high))
    return Number(number.value * 100, number.n, low, high)


def shown(number: Number, *, as_percent: bool = False) -> str:
    """Return a number with its interval, where it has one: `8.21 (8.02 to 8.40)`."""

    def text(value: float) -> str:
        return (f"{value * 100:.0f} %" if as_percent else short_number(value)).replace("-", "−")

    if number.low is None or number.high is None:
        return text(number.value)
    return f"{text(number.value)} ({text(number.low)} to {text(number.high)})"


def points(change: Number, *, as_share: bool = True) -> str:
    """Return a change with its interval: of a share in points of a hundred, which are no percent of what it was.

    0.05 becomes `+5 points (+1 to +9)`; of anything else, the sign and the number.
    """
    scale, digits = (100, 0 if abs(change.value) >= 0.095 else 1) if as_share else (1, None)

    def text(value: float) -> str:
        told = short_number(abs(value)) if digits is None else f"{abs(value) * scale:.{digits}f}"
        sign = "" if not float(told.replace(",", "")) else "+" if value > 0 else "−"
        return sign + told

    unit = " points" if as_share else ""
    if change.low is None or change.high is None:
        return text(change.value) + unit
    return f"{text(change.value)}{unit} ({text(change.low)} to {text(change.high)})"


def ratio_told(change: Number) -> str:
    """Return a ratio of perplexities with its interval, as `percent` has it."""
    if change.low is None or change.high is None:
        return percent(change.value)
    if 0 < change.low <= change.high < SMALL:
        fewer, least, most = _times_lower(change.value, change.high, change.low)
        return f"{fewer} ({least} to {most})"
    return f"{percent(change.value)} ({percent(change.low)} to {percent(change.high)})"


def _times_lower(*ratios: float) -> tuple[str, str, str]:
    value, low, high = (f"{1 / ratio:,.0f}" for ratio in ratios)
    return f"{value} times lower", low, high


def _method(found: Compared) -> str:
    if found.preferred is not None:
        return f"{found.preferred.method} Both models saw the same tokens ({found.setting})."
    return " ".join([*_of_likelihood(found), *_of_asking(found)])


def _of_likelihood(found: Compared) -> Iterator[str]:
    paired = found.paired
    if paired is None:
        yield f"No perplexity: {found.untold} ({found.setting})."
        return
    where = plural(paired.base.n, f"held-out {found.noun}")
    if found.texts > paired.base.n:
        rewritten = "because the chat template rewrites earlier turns"
        why = "long ones in chunks" if found.noun == "document" else rewritten
        why = "long ones in windows" if found.slid else why
        where += f" ({plural(found.texts, 'text')}, {why})"
    if found.per_byte:
        yield (
            f"Bits per byte are the negative log-likelihood of what is learned in {where} by its UTF-8 bytes: each "
            f"model reads it with its own tokens and chat template ({found.setting}). Lower is better."
        )
        return
    yield (
        "Perplexity is exp of the mean negative log-likelihood of"
        f" the {plural(found.tokens, 'learned token')} in {where}, each token"
        f" weighing the same. Both models saw the same tokens ({found.setting}). Lower is better."
    )
    if paired.detectable is not None:
        yield (
            f"Intervals are 95 %, from resampling whole {found.noun}s (studentised bootstrap); the change is"
            f" compared {found.noun} by {found.noun}."
            f" These {found.noun}s show a true difference of {short_number(paired.detectable)} nats per token,"
            f" a factor of {short_number(perplexity(Number(paired.detectable, 1)).value)} in perplexity,"
            " four times out of five."
        )


def _of_asking(found: Compared) -> Iterator[str]:
    if found.answered:
        how = found.drawn or "greedily: always the most likely next token"
        yield (
            f"{plural(found.answered.count, 'prompt')}, evenly spread over the held-out ones, were answered by both "
            f"models, {how}. Metrics: {found.answered.why}. Shares have Wilson's "
            "interval, their change (in points of a hundred) Tango's, and McNemar's exact test; "
            "other scores are resampled, and tested by "
            "exchanging answers at random. “Better” and “worse” count all metrics together (Holm)."
        )
