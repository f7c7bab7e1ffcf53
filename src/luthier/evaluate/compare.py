"""Models on the same held-out rows, each beside the first: what was measured becomes a report."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from luthier.core.errors import RecipeError
from luthier.core.example import Example
from luthier.core.files import publish_folder, write_text
from luthier.core.progress import Progress, Silent
from luthier.core.publish import write_report
from luthier.core.report import Finding, Report, Section, Table
from luthier.evaluate import regression
from luthier.evaluate.account import (
    BENCHMARKS,
    Compared,
    by_weight,
    findings,
    method,
    named,
    sections,
    shown,
    summary,
)
from luthier.evaluate.advice import Again, next_steps, recommendations
from luthier.evaluate.answers import Scored, score, scored
from luthier.evaluate.candidates import Candidate, Gguf, Served, each, names, readings
from luthier.evaluate.contamination import Seen
from luthier.evaluate.held_out import Exam, Examples, RowSet
from luthier.evaluate.losses import Loss, chance, loss
from luthier.evaluate.measure import Measured, measure
from luthier.evaluate.pair import Pair, answers_of, compared, samples
from luthier.evaluate.pairs import OWN
from luthier.evaluate.reading import Reading
from luthier.evaluate.rows import look, told
from luthier.evaluate.stats import perplexity
from luthier.evaluate.subject import Part, Setting, Subject, Told
from luthier.model.new_tokens import ids_of
from luthier.model.quantised import Quantised
from luthier.model.sampling import Sampling
from luthier.recipe.evaluate import Capability, Evaluate
from luthier.recipe.methods import Rows
from luthier.tokens.encode import Limits
from luthier.tokens.store import Stored

LATER = ("judge_", "people_")
"""How the names of values begin that are only known when somebody judged the answers."""

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
    language: Callable[[Example], str] | None = None
    """Tells the language of a row, where something can."""
    seen: Seen | None = None
    """Says how rows stand in the training data, where that is known."""
    again: Again | None = None
    """How the training is done again, to be recommended."""


@dataclass(frozen=True, slots=True)
class Sat:
    """What was kept of one model."""

    rows: Sequence[Measured]
    """Of the recipe's own rows, and of each capability's."""
    parts: Sequence[Any]


def compare(
    candidates: Sequence[Candidate],
    asked: Asked,
    options: Evaluate,
    *,
    capabilities: Sequence[tuple[Capability, Examples]] = (),
    parts: Sequence[Part[Any]] = (),
    out: Path,
    progress: Progress | None = None,
) -> Report:
    """Measure models on the same rows, compare each with the first, write `out` in one step, and return the report.

    Args:
        candidates: The base, and one or more to compare with it. The first of these decides how all with the same
            tokens read; others read as they do themselves, and are compared per byte.
        asked: The rows.
        options: How many answers, how long, and what scores them.
        capabilities: What should not be lost, with its rows.
        parts: What else is measured of all.
        out: Folder for `report.json`, `.md`, `.html`, `samples.jsonl` and `answers.jsonl`; replaced when all is done.
        progress: Somebody who watches.

    Raises:
        DataError: No conversation can be measured.
        ModelError: A model can't be loaded, an adapter is not of this base, or a model lacks tokens.
        RecipeError: Preferences are compared between two models.
        Failed: A model's loss is not a number.
    """
    if len(candidates) > 2 and asked.rows in ("pair", "judged"):
        raise RecipeError("preferences are compared between two models", hint="name one, and what it is compared with")
    reads = readings(candidates)
    sets = [_own(asked, options), *(_of_capability(one, rows, asked, options) for one, rows in capabilities)]
    exams = [one.exam(reads) for one in sets]

    def ask(subject: Subject) -> Sat:
        own = measure(subject, exams[0], every=asked.rows == "conversation")
        others = [measure(subject, exam, of=one.name) for one, exam in zip(sets[1:], exams[1:], strict=True)]
        return Sat([own, *others], [part.measure(subject) for part in parts])

    base, *others = each(candidates, reads, _setting(asked, options), progress or Silent(), ask)
    weighed = [scored(exams[0].expected, *_texts(base.rows[0], one.rows[0]), options.metrics) for one in others]
    tested = [_ps(base, one, found) for one, found in zip(others, weighed, strict=True)]
    looked = look(sets, exams, options.slices, asked.language, asked.seen)
    named_files = [
        (one.name, files) for one, files in zip(sets, [(), *(c.files for c, _ in capabilities)], strict=True)
    ]
    added = [part.told(base.parts[place], [one.parts[place] for one in others]) for place, part in enumerate(parts)]
    pairs = []
    for place, one in enumerate(others):
        rivals = [p for rival, ps in enumerate(tested) if rival != place for p in ps]
        own = base.rows[0], one.rows[0], weighed[place]
        found, lost = compared(exams[0], *own, rivals, options, asked.rows, per_token=asked.per_token)
        words = _words(asked, options, candidates[place + 1], reads[place + 1])
        found = replace(found, setting=words, left_out=_left_out(exams[0], asked))
        beside = [every[place] for every in added]
        beside += told(looked, found, exams[0], named_files, base.rows, one.rows)
        pairs.append(_pair(found, lost, base, one, exams, [one for one, _ in capabilities], beside, options))
    report = _report(pairs, candidates, asked.again or Again())
    answers = [
        answer
        for place, (one, exam) in enumerate(zip(sets, exams, strict=True))
        for answer in answers_of(one.name, exam, _called([base, *others], place))
    ]
    with publish_folder(out) as folder:
        _write_lines(folder / "samples.jsonl", samples(exams[0], _called([base, *others]), options.samples))
        _write_lines(folder / "answers.jsonl", answers)
        for called, pair in zip(names(len(candidates))[1:], pairs, strict=True):
            write_parts(folder, called, pair.told)
        write_report(report, folder)
    return report


def _own(asked: Asked, options: Evaluate) -> RowSet:
    return RowSet(
        name=OWN,
        examples=asked.examples,
        rows=asked.rows,
        learn=asked.learn,
        limits=asked.limits,
        stored=asked.stored,
        window=options.window,
        answers=options.answers,
    )


def _of_capability(one: Capability, examples: Examples, asked: Asked, options: Evaluate) -> RowSet:
    return RowSet(
        name=one.name,
        examples=examples,
        rows="text" if one.text else "conversation",
        limits=asked.limits,
        window=options.window,
        answers=0 if one.text else options.answers,
    )


def _setting(asked: Asked, options: Evaluate) -> Setting:
    drawn = options.sampling
    return Setting(
        capacity=max(asked.capacity, options.window.tokens if options.window else 0),
        precision=asked.precision,
        max_new_tokens=options.max_new_tokens,
        stop=options.stop,
        sampling=None if drawn is None else Sampling(drawn.temperature, drawn.top_p, drawn.seed),
    )


def _called(models: Sequence[Sat], place: int = 0) -> dict[str, Measured]:
    """Return what models did with one set of rows, by what they are called."""
    return {name: model.rows[place] for name, model in zip(names(len(models)), models, strict=True)}


def _texts(base: Measured, tuned: Measured) -> tuple[Sequence[str], Sequence[str]]:
    return base.answers.texts, tuned.answers.texts


def _ps(base: Sat, tuned: Sat, weighed: Scored | None) -> list[float | None]:
    """Return how likely each difference of a model from the base is by chance, counted alone."""
    return [chance(base.rows[0], tuned.rows[0]), *(weighed.ps if weighed else ())]


def _left_out(exam: Exam, asked: Asked) -> dict[str, int]:
    """Return how many conversations were not measured, by reason."""
    read = next(iter(exam.held_out.values()), None)
    return (read.left_out if read else {}) | ({DROPPED: asked.dropped} if asked.dropped else {})


def _words(asked: Asked, options: Evaluate, tuned: Candidate, read: Reading | None) -> str:
    """Return how was measured, in words."""
    window = options.window
    slid = f", windows of {window.tokens:,} tokens that move by {window.step:,}" if window else ""
    if isinstance(tuned, Served):
        return f"asked at {tuned.url}"
    if isinstance(tuned, Gguf) or read is None:
        return "the GGUF file in llama.cpp"
    kind, count = Quantised.of(tuned.path), len(ids_of(tuned.path))
    bits = f", base in {kind.words}" if kind else ""
    new = f", base with untrained rows (the mean of all) for {count} new token{'s'[: count > 1]}" if count else ""
    whose = "tuned" if read.home == tuned.path else "base"
    spoken = f", chat template of the {whose} model" if asked.rows != "text" else ""
    return f"{asked.precision}{bits}{new}{spoken}{slid}"


def _pair(
    found: Compared,
    lost: Loss,
    base: Sat,
    tuned: Sat,
    exams: Sequence[Exam],
    capabilities: Sequence[Capability],
    told: Sequence[Told],
    options: Evaluate,
) -> Pair:
    """Return what was found of a model with what else was measured of it, and whether it passes."""
    kept = regression.of_own_rows(lost, found.verdict, found.metrics)
    for one, exam, was, now in zip(capabilities, exams[1:], base.rows[1:], tuned.rows[1:], strict=True):
        kept += regression.of_capability(one, loss(was, now), score(exam.expected, *_texts(was, now), ()))
    values = {metric.name: metric.tuned for metric in found.metrics}
    if lost.per_token is not None:
        values = {"perplexity": perplexity(lost.per_token.tuned), **values}
    for part in told:
        values |= part.values
        kept += part.kept
    refused = regression.refusals(options.gate.now(LATER), found.verdict, values)
    return Pair(found, lost, kept, [*refused, *(why for part in told for why in part.refused)], told)


def _report(pairs: Sequence[Pair], candidates: Sequence[Candidate], again: Again) -> Report:
    """Return the report: of the first model, and beside it of the others where there are some."""
    models = [{"base": candidates[0].told, "tuned": one.told} for one in candidates[1:]]
    data = {"models": models[0], **pairs[0].data}
    if len(pairs) == 1:
        return Report(
            title="Model evaluation report",
            summary=summary(pairs[0].found),
            data=data,
            sections=_with_advice(pairs[0], again, named(candidates[0].told, candidates[1].told)),
            findings=_findings(pairs[0]),
            next_steps=next_steps(_findings(pairs[0]), again, pairs[0].found.verdict),
        )
    told = [one["tuned"] for one in models]
    every = [{"models": both, **pair.data} for both, pair in zip(models, pairs, strict=True)]
    refused = [f"{name}: {why}" for name, pair in zip(told, every, strict=True) for why in pair["gate"]["refused"]]
    return Report(
        title=f"{len(pairs)} models against one base",
        summary=" ".join(f"{name}: {summary(pair.found)}" for name, pair in zip(told, pairs, strict=True)),
        data={**data, "gate": {"refused": refused}, "compared": every},
        sections=(
            Section("All models", (_table(told, pairs),)),
            *(
                replace(section, title=f"{section.title}: {name}")
                for name, pair in zip(told, pairs, strict=True)
                for section in _with_advice(pair, again)
            ),
        ),
        findings=tuple(
            replace(finding, text=f"{name}: {finding.text}")
            for name, pair in zip(told, pairs, strict=True)
            for finding in _findings(pair)
        ),
    )


def _table(told: Sequence[str], pairs: Sequence[Pair]) -> Table:
    """Return what was found of all models, the base first, in one table."""
    columns = {name: label for pair in pairs for name, label, _, _ in _cells(pair)}
    first = {name: base for pair in reversed(pairs) for name, _, base, _ in _cells(pair)}
    rows = [("base", "", *(first[name] for name in columns))]
    for name, pair in zip(told, pairs, strict=True):
        own = {key: cell for key, _, _, cell in _cells(pair)}
        rows.append((name, pair.found.verdict, *(own.get(key, "") for key in columns)))
    return Table("", ("model", "verdict", *columns.values()), tuple(rows))


def _cells(pair: Pair) -> Iterator[tuple[str, str, str, str]]:
    """Yield name, label, base's and own number of what is compared, with the verdict where one is given."""
    if pair.loss.per_token is not None:
        base, own = (shown(perplexity(number)) for number in (pair.loss.per_token.base, pair.loss.per_token.tuned))
        yield "perplexity", "perplexity", base, own
    for metric in pair.found.metrics:
        base, own = (shown(number, as_percent=metric.percent) for number in (metric.base, metric.tuned))
        yield metric.name, metric.label, base, f"{own}, {metric.verdict}" if metric.verdict else own


def _with_advice(pair: Pair, again: Again, *first: Section) -> tuple[Section, ...]:
    """Return all sections, after what comes first: what to do."""
    return (recommendations(_findings(pair), again, pair.found.verdict), *first, *_sections(pair))


def _sections(pair: Pair) -> Iterator[Section]:
    others = [section for part in pair.told for section in part.sections]
    benchmarks = [section for section in others if section.title == BENCHMARKS]
    yield from sections(pair.found, benchmarks, [section for section in others if section not in benchmarks])
    yield from regression.sections(pair.kept)
    yield method(pair.found)


def _findings(pair: Pair) -> tuple[Finding, ...]:
    said = (finding for part in pair.told for finding in part.findings)
    return by_weight(*regression.findings(pair.kept, pair.refused), *findings(pair.found), *said)


def write_parts(folder: Path, called: str, told: Sequence[Told]) -> None:
    """Write the files of what else was measured; of a second tuned model under its name."""
    for name, rows in ((name, rows) for part in told for name, rows in part.files.items()):
        _write_lines(folder / (name if called == "tuned" else f"{called}-{name}"), rows)


def _write_lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
