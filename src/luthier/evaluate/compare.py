"""Base against tuned model on held-out rows: likelihood of what should be learned, and answers side by side.

A conversation is one observation, also where the template rewrites history and it becomes several texts: those share
most of their words.

Shapes: R texts, C conversations.
"""
# ruff: noqa: N803, N806 - names end in the letters of their shape

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from luthier.core.errors import DataError
from luthier.core.files import publish_folder, write_text
from luthier.core.progress import Progress, Silent
from luthier.core.publish import write_report
from luthier.core.report import Number, Report, Section
from luthier.evaluate import regression
from luthier.evaluate.account import Compared, Metric, findings, next_steps, sections, summary
from luthier.evaluate.answers import score
from luthier.evaluate.candidates import Candidate, Reading, each, reading
from luthier.evaluate.held_out import Exam, Examples, HeldOut, Question, exam
from luthier.evaluate.likelihood import RowNll
from luthier.evaluate.measure import Measured, by_conversation, measure
from luthier.evaluate.preferences import Preferred, of_judged, of_pairs, prompts_of
from luthier.evaluate.stats import Paired, mean, paired, perplexity, ratios, share
from luthier.evaluate.subject import Part, Setting, Subject
from luthier.model.new_tokens import ids_of
from luthier.model.quantised import Quantised
from luthier.model.sampling import Sampling
from luthier.recipe.evaluate import Capability, Evaluate
from luthier.recipe.methods import Rows
from luthier.tokens.encode import Limits
from luthier.tokens.render import Encoded
from luthier.tokens.store import Stored

LATER = "judge_"
"""How the names of values begin that are only known when the answers were judged."""

DROPPED = "dropped as they were prepared: `data/dropped.jsonl` says why"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The rows that models are compared on, and how they are read."""

    examples: Examples
    """Conversations no model learned from. Those that could not be learned are left out here too, and told."""
    stored: Stored | None = None
    """Their tokens, where they are on disk as the tuned model would be trained on them; else they are made."""
    dropped: int = 0
    """Rows of which no example could be made, to be told."""
    rows: Rows = "conversation"
    """What the examples are; of pairs and judged answers it is told which the models prefer, too."""
    learn: str = "assistant"
    """What training learned: `assistant`, `last` or `all`; the loss is measured on the same."""
    per_token: bool = False
    """Whether endings of a pair are compared by their likelihood per token."""
    limits: Limits
    """Training's limits on length, so that the same kind of conversations is measured."""
    capacity: int
    """Tokens of a forward pass, at least those of the longest text."""
    precision: str
    """`bf16`, `fp16` or `fp32`, as training computed."""


def compare(
    base: Candidate,
    tuned: Candidate,
    asked: Asked,
    options: Evaluate,
    *,
    capabilities: Sequence[tuple[Capability, Examples]] = (),
    parts: Sequence[Part[Any]] = (),
    out: Path,
    progress: Progress | None = None,
) -> Report:
    """Measure base and tuned model on the same conversations, write `out` in one step, and return the report.

    Args:
        base: What the other is compared with.
        tuned: A whole model, or an adapter: it is put on the base that was loaded once, in as many bits as in
            training. Its tokenizer is used when it has one.
        asked: The rows.
        options: How many answers, how long, and what scores them.
        capabilities: What should not be lost, with its rows.
        parts: What else is measured of both.
        out: Folder for `report.json`, `.md`, `.html`, `samples.jsonl` and `answers.jsonl`; replaced when all is done.
        progress: Somebody who watches.

    Raises:
        DataError: No conversation can be measured.
        ModelError: A model can't be loaded, the adapter is not of this base, or a model lacks tokens.
        Failed: A model's loss is not a number.
    """
    read = reading(base, tuned)
    renderer = read.renderer(asked.rows, asked.learn)
    window = options.window
    own = exam(asked.examples, renderer, asked.limits, stored=asked.stored, window=window, answers=options.answers)
    others = [_exam(one, examples, read, asked.limits, options) for one, examples in capabilities]
    setting = Setting(
        capacity=max(asked.capacity, window.tokens if window else 0),
        precision=asked.precision,
        max_new_tokens=options.max_new_tokens,
        stop=options.stop,
        sampling=_sampling(options),
    )

    def ask(subject: Subject) -> tuple[list[Measured], list[Any]]:
        names = ["", *(one.name for one, _ in capabilities)]
        every = asked.rows == "conversation"
        measured = [
            measure(subject, one, every=every and not name, of=name)
            for name, one in zip(names, [own, *others], strict=True)
        ]
        return measured, [part.measure(subject) for part in parts]

    (before, base_parts), (after, tuned_parts) = each(base, tuned, renderer, setting, progress or Silent(), ask)
    told = [part.told(*kept) for part, *kept in zip(parts, base_parts, tuned_parts, strict=True)]
    found = _found(own, before[0], after[0], asked, options, _setting(asked, options, tuned, read))
    kept = regression.of_own_rows(found.paired, found.verdict, found.metrics)
    for (one, _), test, was, now in zip(capabilities, others, before[1:], after[1:], strict=True):
        scored = score(test.expected, was.answers.texts, now.answers.texts, ())
        kept += regression.of_capability(one, _paired(was, now), scored)
    values = {"perplexity": perplexity(found.paired.tuned), **{metric.name: metric.tuned for metric in found.metrics}}
    for part in told:
        values |= part.values
    refused = [
        *regression.refusals(options.gate.now(LATER), found.verdict, values),
        *(why for part in told for why in part.refused),
    ]
    data = _data(found, {"base": base.told, "tuned": tuned.told}, kept, refused)
    for part in told:
        data |= part.data
    report = Report(
        title="Base against tuned",
        summary=summary(found),
        data=data,
        sections=(
            *sections(found),
            *(section for part in told for section in part.sections),
            Section("Regression check", (regression.table(kept),)),
        ),
        findings=(
            *regression.findings(kept, refused),
            *(finding for part in told for finding in part.findings),
            *findings(found),
        ),
        next_steps=next_steps(found, out),
    )
    every = [
        answer
        for name, test, was, now in zip(
            [regression.OWN, *(one.name for one, _ in capabilities)], [own, *others], before, after, strict=True
        )
        for answer in _answers(name, test, was, now)
    ]
    with publish_folder(out) as folder:
        _write_lines(folder / "samples.jsonl", found.samples)
        _write_lines(folder / "answers.jsonl", every)
        write_report(report, folder)
    return report


def _exam(asked: Capability, examples: Examples, read: Reading, limits: Limits, options: Evaluate) -> Exam:
    """Return what is asked of a capability."""
    renderer = read.renderer("text" if asked.text else "conversation")
    return exam(examples, renderer, limits, window=options.window, answers=0 if asked.text else options.answers)


def _sampling(options: Evaluate) -> Sampling | None:
    asked = options.sampling
    return None if asked is None else Sampling(asked.temperature, asked.top_p, asked.seed)


def _found(own: Exam, base: Measured, tuned: Measured, asked: Asked, options: Evaluate, setting: str) -> Compared:
    """Return all that the recipe's own rows say."""
    preferred = _preferred(own.held_out.texts, base, tuned, asked.rows, per_token=asked.per_token)
    if preferred is not None:
        base, tuned = (_of_the_likely(model, preferred, own.held_out) for model in (base, tuned))
    answered = score(own.expected, base.answers.texts, tuned.answers.texts, options.metrics)
    of_text = asked.rows == "text"
    return Compared(
        paired=_paired(base, tuned),
        texts=len(own.held_out.texts),
        tokens=int(base.conversations.tokens_R.sum()),
        alike=bool(np.array_equal(base.conversations.nll_R, tuned.conversations.nll_R)),
        samples=_samples(own.questions, base, tuned, options.samples),
        metrics=(
            *(preferred.metrics if preferred else ()),
            *(answered.metrics if answered else ()),
            *(() if preferred else _losses(base, tuned, own.held_out)),
            *_metrics(base, tuned),
        ),
        cut={name: model.answers.ended.count(False) for name, model in (("base", base), ("tuned", tuned))},
        clipped=tuned.answers.clipped,
        left_out=own.held_out.left_out | ({DROPPED: asked.dropped} if asked.dropped else {}),
        max_new_tokens=options.max_new_tokens,
        setting=setting,
        slid=options.window is not None,
        noun="document" if of_text else "conversation",
        preferred=preferred,
        answered=answered,
    )


def _setting(asked: Asked, options: Evaluate, tuned: Candidate, read: Reading) -> str:
    """Return how was measured, in words."""
    window = options.window
    slid = f", windows of {window.tokens:,} tokens that move by {window.step:,}" if window else ""
    whose = "tuned" if read.home == tuned.path else "base"
    spoken = f", chat template of the {whose} model" if asked.rows != "text" else ""
    return f"{asked.precision}{_bits(tuned.path)}{_new(tuned.path)}{spoken}{slid}"


def _write_lines(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def _paired(base: Measured, tuned: Measured) -> Paired:
    """Return how likely both models find the same conversations."""
    return paired(base.conversations.nll_R, tuned.conversations.nll_R, base.conversations.tokens_R)


def _bits(tuned: Path) -> str:
    """Return how the base of both models is kept, where that is in fewer bits."""
    kind = Quantised.of(tuned)
    return f", base in {kind.words}" if kind else ""


def _new(tuned: Path) -> str:
    """Return what the base was given to read tokens with that only the tuned model learned."""
    count = len(ids_of(tuned))
    return f", base with untrained rows (the mean of all) for {count} new token{'s'[: count > 1]}" if count else ""


def _preferred(
    texts: Sequence[Encoded], base: Measured, tuned: Measured, rows: Rows, *, per_token: bool
) -> Preferred | None:
    """Return what held-out preferences say, where training learned from preferences."""
    if rows == "pair":
        return of_pairs(base.texts, tuned.texts, prompts_of(texts), per_token=per_token)
    if rows == "judged":
        good_R = np.array([text.label == 1.0 for text in texts])
        if not good_R.any():
            raise DataError("no held-out answer is a good one", hint="hold others back with `data.split.seed`")
        return of_judged(base.texts, tuned.texts, good_R)
    return None


def _of_the_likely(model: Measured, preferred: Preferred, held_out: HeldOut) -> Measured:
    """Return what a model did with the likelihood of texts that people liked, and no others."""
    nll_R, tokens_R = (np.where(preferred.likely_R, values_R, 0) for values_R in model.texts)
    return replace(model, conversations=by_conversation(RowNll(nll_R, tokens_R), held_out))


def _losses(base: Measured, tuned: Measured, held_out: HeldOut) -> Iterator[Metric]:
    """Yield the loss by other counts than learned tokens: bytes, conversations, all tokens."""
    pair = (base.conversations, tuned.conversations)
    tokens_C, bytes_C = base.conversations.tokens_R, held_out.bytes
    if bytes_C.any():
        bits = _ratios(pair, bytes_C, 1 / np.log(2))
        yield Metric(
            "bits_per_byte", "bits per byte of what is learned", bits[0], bits[1], percent=False, change=bits[2]
        )
    shares = [RowNll(one.nll_R / np.maximum(one.tokens_R, 1), np.sign(one.tokens_R)) for one in pair]
    rows = _ratios((shares[0], shares[1]), np.sign(tokens_C))
    label = "nats per learned token, mean of rows"
    yield Metric("nll_per_row", label, rows[0], rows[1], percent=False, change=rows[2])
    if base.every is None or tuned.every is None:
        return
    every = _ratios((base.every, tuned.every), base.every.tokens_R)
    yield Metric("nll_all_tokens", "nats per token, prompts too", every[0], every[1], percent=False, change=every[2])
    whole = [perplexity(number) for number in every[:2]]
    yield Metric("perplexity_all_tokens", "perplexity, prompts too", whole[0], whole[1], percent=False)


def _ratios(pair: tuple[RowNll, RowNll], counts_C: NDArray[np.int64], scale: float = 1.0) -> list[Number]:
    """Return the loss of base and tuned model and their difference by some count of each conversation."""
    base_C, tuned_C = (one.nll_R[counts_C > 0] * scale for one in pair)
    return ratios(np.stack([base_C, tuned_C, tuned_C - base_C]), counts_C[counts_C > 0].astype(np.float64))


def _answers(name: str, exam: Exam, base: Measured, tuned: Measured) -> Iterator[dict[str, Any]]:
    """Yield every question with what both models answered, and whether the answer ended by itself."""
    answers = zip(base.answers.texts, tuned.answers.texts, base.answers.ended, tuned.answers.ended, strict=True)
    for question, (before, after, before_ended, after_ended) in zip(exam.questions, answers, strict=True):
        yield {
            "set": name,
            **_sample(question, before, after),
            "ended": {"base": before_ended, "tuned": after_ended},
        }


def _sample(question: Question, base: str, tuned: str) -> dict[str, Any]:
    source = question.example.source
    return {
        "source": {"file": source.file, "line": source.line},
        "prompt": question.prompt,
        "expected": question.expected,
        "base": base,
        "tuned": tuned,
    }


def _samples(questions: Sequence[Question], base: Measured, tuned: Measured, count: int) -> list[dict[str, Any]]:
    """Return up to `count` answers, evenly spread over all."""
    count = min(count, len(questions))
    shown = {number * len(questions) // count for number in range(count)}
    every = enumerate(zip(questions, base.answers.texts, tuned.answers.texts, strict=True))
    return [_sample(*answered) for place, answered in every if place in shown]


def _metrics(base: Measured, tuned: Measured) -> list[Metric]:
    count = len(base.answers.texts)
    if not count:
        return []
    ended = [share(model.answers.ended.count(True), count) for model in (base, tuned)]
    length = [mean([len(answer) for answer in model.answers.texts]) for model in (base, tuned)]
    return [
        Metric("answers_ended", "answers that end by themselves", ended[0], ended[1], percent=True),
        Metric("answer_characters", "characters of an answer, mean", length[0], length[1], percent=False),
    ]


def _data(
    found: Compared, models: dict[str, str], kept: Sequence[regression.Kept], refused: Sequence[str]
) -> dict[str, Any]:
    """Return the keys scripts rely on."""
    numbers = found.paired
    change = perplexity(numbers.difference)
    least = numbers.detectable
    return {
        "models": models,
        "verdict": found.verdict,
        "perplexity": {
            "base": perplexity(numbers.base).as_dict(),
            "tuned": perplexity(numbers.tuned).as_dict(),
            "change": change.as_dict(),
        },
        "nll": {
            "base": numbers.base.as_dict(),
            "tuned": numbers.tuned.as_dict(),
            "difference": numbers.difference.as_dict(),
        },
        "detectable": {
            "nats_per_token": least,
            "perplexity_ratio": None if least is None else perplexity(Number(least, change.n)).value,
            **({} if found.preferred is None else found.preferred.detectable),
        },
        "rows": numbers.base.n,
        "texts": found.texts,
        "tokens": found.tokens,
        "metrics": [metric.as_dict() for metric in found.metrics],
        "benchmarks": [],
        "regression": [one.as_dict() for one in kept],
        "gate": {"refused": [*refused, *(f"{one.name}: {one.measure}" for one in kept if one.status == "FAIL")]},
        "samples": list(found.samples),
    }
