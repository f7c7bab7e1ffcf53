"""Benchmarks as a part of an evaluation: both models do them, and the report says what changed."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Any, NamedTuple

from luthier.core.errors import ModelError
from luthier.core.report import Block, Finding, Number, Paragraph, Section, Table
from luthier.core.text import plural
from luthier.evaluate.account import BENCHMARKS, shown
from luthier.evaluate.benchmarks.code import METHOD as PROGRAMS
from luthier.evaluate.benchmarks.code import written
from luthier.evaluate.benchmarks.compared import Answered, Scored, scored
from luthier.evaluate.benchmarks.harness import Scorer
from luthier.evaluate.benchmarks.problems import Code
from luthier.evaluate.benchmarks.run import Answer, answers
from luthier.evaluate.benchmarks.seen import kinds, known, told
from luthier.evaluate.benchmarks.tasks import Ready, Suite
from luthier.evaluate.contamination import Seen
from luthier.evaluate.regression import Kept, status_of
from luthier.evaluate.stats import FEWEST, Verdict
from luthier.evaluate.subject import Loaded, Subject, Told

FILE = "benchmarks.jsonl"

COLUMNS = ("benchmark", "measure", "shots", "items", "base", "tuned", "change", "verdict")

METHOD = (
    "Tasks, prompts and scores are those of lm-evaluation-harness {version}; prompts are no chats unless `chat` says "
    "so. Both models answered the same items behind the same examples, with the most likely next token where text was "
    "asked. Right or wrong has Wilson's interval, its change Tango's and McNemar's exact test; other scores are "
    "resampled, and tested by exchanging answers at random. “Better” and “worse” count all benchmarks of all models "
    "(Holm). A group's score is made of its tasks' as the harness does."
)


class Done(NamedTuple):
    """What one model did."""

    name: str
    answers: Answered
    clipped: Mapping[str, int]
    """Prompts, by task, that were longer than it reads, and lost their beginning."""
    whole: str
    """Why it read every prompt whole, where prompts that begin alike could not share that; else empty."""


class Benchmarks:
    """What both models are asked.

    Args:
        suites: The benchmarks, with their rows.
        seen: Says how items stand in what the tuned model learned, where that is known.
    """

    def __init__(self, suites: Sequence[Suite], seen: Seen | None = None) -> None:
        self.suites = suites
        self.seen = seen

    def measure(self, subject: Subject) -> Done:
        """Return what a model answers to every item.

        Raises:
            ModelError: It isn't in memory: what an endpoint or a file for llama.cpp thinks of a choice isn't known.
        """
        if not isinstance(subject, Loaded):
            raise ModelError(
                f"benchmarks ask how likely a model finds each choice, which `{subject.name}` doesn't tell",
                hint="name a model's folder, or leave out `evaluate.benchmarks`",
            )
        setting, tasks = subject.setting, [one for suite in self.suites for one in suite.tasks]
        scorer = Scorer(
            subject.model,
            subject.renderer.tokenizer,
            capacity=setting.capacity,
            precision=setting.precision,
            progress=subject.progress,
            renderer=subject.renderer,
        )
        found = answers(scorer, [one for one in tasks if isinstance(one, Ready)])
        clipped = Counter(scorer.clipped)
        for one in tasks:
            if isinstance(one, Code):
                found[one.name], clipped[one.name] = written(subject, one)
        return Done(subject.name, found, +clipped, scorer.whole_because)

    def told(self, base: Done, others: Sequence[Done]) -> list[Told]:
        """Return what the answers of each model say beside the base's."""
        found = self.scored(base, others)
        return [self.told_of(one, base, other) for one, other in zip(found, others, strict=True)]

    def scored(self, base: Done, others: Sequence[Done]) -> list[list[Scored]]:
        """Return every measure of each model beside the base."""
        return scored(self.suites, base.answers, [one.answers for one in others])

    def told_of(self, found: Sequence[Scored], base: Done, tuned: Done) -> Told:
        """Return what the measures of one model say."""
        learned = self._learned(base.answers, tuned.answers)
        asked = [one for one in found if not one.part_of]
        values = {f"{one.task}/{one.metric}": one.found.tuned for one in found}
        values |= {one.task: one.found.tuned for one in found if one.main}
        return Told(
            data={"benchmarks": [one.as_dict() for one in found], **learned.data},
            values=values,
            kept=[*self._kept(asked)],
            sections=(Section(BENCHMARKS, tuple(_blocks(found))), *learned.sections),
            findings=(*_findings(asked), *learned.findings, *_clipped(base, tuned), *_slow(base, tuned)),
            files={FILE: [*self._lines(base.answers, tuned.answers)]},
        )

    def _learned(self, base: Answered, tuned: Answered) -> Told:
        """Return what is said of items that stand in what was learned."""
        if self.seen is None:
            return Told({"learned_items": None})
        return told(known(self.suites, base, tuned, kinds(self.suites, base, self.seen)))

    def _kept(self, asked: Sequence[Scored]) -> Iterator[Kept]:
        """Yield the entries of the regression check: of each benchmark the measure it is known by."""
        for one in (one for one in asked if one.main and one.percent):
            change = one.found.change
            near = change.high if one.better > 0 else change.low
            surely = 0.0 if near is None else -one.better * near
            verdict = status_of(-one.better * change.value, surely, one.asked)
            numbers = (one.found.base, one.found.tuned, change)
            yield Kept(one.task, one.metric, words(one.metric), *numbers, one.percent, verdict)

    def _lines(self, base: Answered, tuned: Answered) -> Iterator[dict[str, Any]]:
        """Yield every item with what both models answered and scored."""
        for one in (one for suite in self.suites for one in suite.tasks):
            both = zip(one.chosen, base[one.name], tuned[one.name], strict=True)
            for item, before, after in both:
                yield {
                    "task": one.name,
                    "item": item,
                    "question": before.question,
                    "choices": list(before.choices),
                    "expected": before.expected,
                    "base": _said(before),
                    "tuned": _said(after),
                }


def _said(answer: Answer) -> dict[str, Any]:
    failed = {"failed": list(answer.failed)} if answer.failed else {}
    return {"answer": list(answer.said), "scores": answer.scores, **failed}


def verdict(found: Sequence[Scored]) -> Verdict:
    """Return what benchmarks say together: better or worse where some are and none is the other way."""
    said = {one.verdict for one in found if one.main and not one.part_of}
    for one, other in (("better", "worse"), ("worse", "better")):
        if one in said and other not in said:
            return one
    return "same" if said == {"same"} else "undecided"


def _blocks(found: Sequence[Scored]) -> Iterator[Block]:
    yield Table("", COLUMNS, tuple(_row(one) for one in found if not one.part_of))
    parts = tuple(_row(one) for one in found if one.part_of)
    if parts:
        yield Table("Tasks of groups", COLUMNS, parts)
    yield Paragraph(METHOD.format(version=version("lm-eval")))
    if any(one.asked.runs_programs for one in found):
        yield Paragraph(PROGRAMS)


def _row(one: Scored) -> tuple[str, ...]:
    items = f"{one.items:,}" if one.items == one.of else f"{one.items:,} of {one.of:,}"
    numbers = (shown(number, as_percent=one.percent) for number in (one.found.base, one.found.tuned, one.found.change))
    shots = f"{one.shots}, chat" if one.asked.chat else f"{one.shots}"
    return (one.task, words(one.metric), shots, items, *numbers, one.verdict)


def words(metric: str) -> str:
    """Return the name of a measure as people read it."""
    return metric.replace("_", " ").replace("-", " ").replace(",", ", ")


def _findings(asked: Sequence[Scored]) -> Iterator[Finding]:
    better = ", ".join(one.task for one in asked if one.main and one.verdict == "better")
    if better:
        yield Finding("ok", f"better at benchmarks: {better}")
    for one in asked:
        if one.main and one.items < one.of:
            yield Finding(
                "note",
                f"{one.task}: {one.items:,} of {one.of:,} items{_reach(one.found.tuned, one.percent)}",
                _more(one),
            )


def _clipped(*models: Done) -> Iterator[Finding]:
    """Tell what models did not read to the end they were asked from, each once where both have the same."""
    for name, clipped in _of_both([(one.name, tuple(sorted(one.clipped.items()))) for one in models]):
        those = ", ".join(f"{plural(count, 'prompt')} of {task}" for task, count in clipped)
        text = f"{those} lost the beginning: the context of the {name} is shorter"
        yield Finding("warning", text, "ask with fewer `shots`, where a task has its own number")


def _slow(*models: Done) -> Iterator[Finding]:
    for name, why in _of_both([(one.name, one.whole) for one in models]):
        yield Finding("note", f"the {name} read each prompt of benchmarks whole, which takes longer: {why}")


def _of_both(said: Sequence[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    """Yield what is said of models, with whose it is; once where all have the same, and not where it is nothing."""
    for what in dict.fromkeys(what for _, what in said if what):
        names = [name for name, of in said if of == what]
        yield f"{' and '.join(names)} model{'s'[: len(names) > 1]}", what


def _reach(number: Number, percent: bool) -> str:
    """Return how far a score may be from that over all items."""
    if number.low is None or number.high is None:
        return f"; fewer than {plural(FEWEST, 'item')} have no interval"
    half = (number.high - number.low) / 2
    return f": ±{half * 100:.1f} points" if percent else f": ±{half:.3g}"


def _more(one: Scored) -> str:
    return f"raise its `limit`: all {one.of:,} would take {one.of / one.items:.1f} times as long"
