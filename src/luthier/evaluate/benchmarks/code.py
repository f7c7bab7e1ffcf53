"""Programs that models write for problems, run where they can only compute: how many problems does each solve?"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from luthier.core.errors import ModelError
from luthier.core.report import Block, Finding, Paragraph, Section, Table
from luthier.core.text import plural
from luthier.evaluate.account import BENCHMARKS, shown
from luthier.evaluate.benchmarks.problems import Collection, Problem
from luthier.evaluate.contrast import Contrast, contrast, holm, judged
from luthier.evaluate.metrics.metric import Floats, Metric, each
from luthier.evaluate.sandbox.runner import run
from luthier.evaluate.stats import Verdict
from luthier.evaluate.subject import Loaded, Subject, Told, told
from luthier.model.forward import precise
from luthier.model.generate import generate, room
from luthier.model.sampling import Sampling, StopStrings
from luthier.recipe.programs import Programs

KS = (1, 10, 100)
"""How many tries pass@k gives, where there are as many programs."""

METHOD = (
    "Prompts, and the texts that end an answer, are those of lm-evaluation-harness; prompts are no chats. "
    "A program runs apart from its tests, without files, network or other processes, and passes when every test does. "
    "Pass@k is the unbiased estimate (Chen 2021, arXiv:2107.03374); a problem is one observation. “Better” and “worse” "
    "count all numbers of this table together (Holm)."
)


@dataclass(frozen=True, slots=True)
class Asked:
    """Problems, and how programs are asked for."""

    options: Programs
    collection: Collection
    problems: Sequence[Problem]
    of: int
    """How many problems there are."""

    @property
    def ks(self) -> tuple[int, ...]:
        """Return the tries that so many programs can tell of."""
        return tuple(k for k in KS if k <= self.options.samples)


class Written(NamedTuple):
    """One program, and what came of it."""

    passed: bool
    why: str


Passed = Sequence[Sequence[Written]]
"""Programs of each problem."""


class Solved(NamedTuple):
    """What one model did."""

    passed: Sequence[Passed]
    """By what was asked."""
    clipped: int
    """Prompts that were longer than the model reads."""


@dataclass(frozen=True, slots=True)
class Score:
    """One pass@k of both models."""

    name: str
    k: int
    found: Contrast
    p: float | None
    """As it counts among all (Holm)."""
    verdict: Verdict


class Code:
    """What both models are asked to write.

    Args:
        asked: Collections of problems.
    """

    def __init__(self, asked: Sequence[Asked]) -> None:
        self.asked = asked

    def measure(self, subject: Subject) -> Solved:
        """Return which problems a model solves.

        Raises:
            ModelError: It isn't in memory, and answers in a chat: a prompt here is the beginning of a program.
            Failed: Programs can't be contained on this machine.
        """
        if not isinstance(subject, Loaded):
            raise ModelError(
                f"`{subject.name}` answers in a chat, and `evaluate.programs` has it go on from the beginning of one",
                hint="name a model's folder, or leave out `evaluate.programs`",
            )
        passed, clipped = [], 0
        for one in self.asked:
            prompts = [problem for problem in one.problems for _ in range(one.options.samples)]
            answers, cut = _written(subject, one, [problem.prompt for problem in prompts])
            clipped += cut
            subject.progress.start(told("run programs of", subject.name, one.options.problems), len(prompts), "program")
            trials = [problem.trial(answer) for problem, answer in zip(prompts, answers, strict=True)]
            outcomes = [Written(*outcome) for outcome in run(trials, seconds=one.options.seconds)]
            subject.progress.end()
            size = one.options.samples
            passed.append([outcomes[place : place + size] for place in range(0, len(outcomes), size)])
        return Solved(passed, clipped)

    def told(self, base: Solved, tuned: Solved) -> Told:
        """Return what the programs of both say."""
        both = [*zip(self.asked, base.passed, tuned.passed, strict=True)]
        found = [*_scores(both)]
        of = {
            one.options.problems: [score for score in found if score.name == one.options.problems] for one, *_ in both
        }
        return Told(
            data={"programs": [_entry(*parts, of[parts[0].options.problems]) for parts in both]},
            values={f"{one.name}/pass@{one.k}": one.found.tuned for one in found},
            sections=(Section(BENCHMARKS, tuple(_blocks(found, self.asked))),),
            findings=tuple(_findings(found, tuned.clipped)),
        )


def _written(subject: Loaded, asked: Asked, prompts: Sequence[str]) -> tuple[list[str], int]:
    """Return how a model goes on from prompts, and how many of them it could not read whole."""
    tokenizer, options, longest = subject.reading.tokenizer, asked.options, asked.collection.longest
    stops = subject.renderer.stop_ids
    ids = [list(found) for found in tokenizer([*prompts])["input_ids"]]
    ending = StopStrings(tokenizer, asked.collection.stops)
    subject.progress.start(told("ask", subject.name, options.problems), len(prompts), "program")
    with precise(subject.model, subject.setting.precision):
        answers = generate(
            subject.model,
            ids,
            stop_ids=stops,
            max_new_tokens=longest,
            pad_id=min(stops) if tokenizer.pad_token_id is None else tokenizer.pad_token_id,
            sampling=None if options.samples == 1 else Sampling(options.temperature, seed=options.seed),
            ended=ending,
            on_done=subject.progress.update,
        )
    subject.progress.end()
    clipped = sum(room(subject.model, len(one), max_new_tokens=longest).read < len(one) for one in ids)
    return [ending.before(tokenizer.decode(answer, skip_special_tokens=True)) for answer in answers], clipped


def pass_at(k: int, count: int, passed: int) -> float:
    """Return how likely one of k programs passes, where `passed` of `count` do: unbiased over what a model may write.

    Source: Chen 2021, arXiv:2107.03374, equation 1.
    """
    return 1 - math.comb(count - passed, k) / math.comb(count, k)


def _scores(both: Sequence[tuple[Asked, Passed, Passed]]) -> Iterator[Score]:
    metric = Metric("pass", "pass", each(lambda *_: None))
    found = []
    for one, base, tuned in both:
        for k in one.ks:
            compared = contrast(metric, *(_figures(passed, k) for passed in (base, tuned)), seed=one.options.seed)
            if compared is not None:
                found.append((one.options.problems, k, compared))
    for (name, k, compared), p in zip(found, holm([compared.p for *_, compared in found]), strict=True):
        yield Score(name, k, compared, p, judged(compared, p, better=1, percent=True))


def _figures(passed: Passed, k: int) -> Floats:
    counts = [(len(programs), sum(one.passed for one in programs)) for programs in passed]
    return np.array([(pass_at(k, count, right), 1.0) for count, right in counts])


def _entry(asked: Asked, base: Passed, tuned: Passed, scores: Sequence[Score]) -> dict[str, Any]:
    return {
        "name": asked.options.problems,
        "samples": asked.options.samples,
        "temperature": asked.options.temperature if asked.options.samples > 1 else 0.0,
        "of": asked.of,
        "scores": [
            {
                "name": f"pass@{one.k}",
                "base": one.found.base.as_dict(),
                "tuned": one.found.tuned.as_dict(),
                "change": one.found.change.as_dict(),
                "p": one.p,
                "verdict": one.verdict,
                "detectable": one.found.detectable,
            }
            for one in scores
        ],
        "problems": [
            {"name": problem.name, "base": _result(before), "tuned": _result(after)}
            for problem, before, after in zip(asked.problems, base, tuned, strict=True)
        ],
    }


def _result(programs: Sequence[Written]) -> dict[str, Any]:
    """Return how many programs of a problem passed, and why the first of the others didn't."""
    return {
        "passed": sum(one.passed for one in programs),
        "why": next((one.why for one in programs if not one.passed), ""),
    }


def _blocks(found: Sequence[Score], asked: Sequence[Asked]) -> Iterator[Block]:
    problems: dict[str, str] = {one.options.problems: f"{len(one.problems):,} of {one.of:,}" for one in asked}
    rows = [
        (
            one.name,
            f"pass@{one.k}",
            problems[one.name],
            *(shown(number, as_percent=True) for number in (one.found.base, one.found.tuned, one.found.change)),
            one.verdict,
        )
        for one in found
    ]
    yield Table("", ("problems", "measure", "asked", "base", "tuned", "change", "verdict"), tuple(rows))
    yield Paragraph(METHOD)


def _findings(found: Sequence[Score], clipped: int) -> Iterator[Finding]:
    for one in found:
        change = f"{one.name}, pass@{one.k}: {shown(one.found.change, as_percent=True)}"
        if one.verdict == "better":
            yield Finding("ok", f"the tuned model solves more problems ({change})")
        if one.verdict == "worse":
            yield Finding("warning", f"the tuned model solves fewer problems ({change})", "mix programs into the rows")
    if clipped:
        text = f"{plural(clipped, 'prompt')} for programs lost the beginning: the model's context is shorter"
        yield Finding("warning", text, "compare models with a longer context")
