"""Programs that models write for problems, run where they can only compute: how many problems does each solve?"""

import math
from collections.abc import Sequence

from luthier.core.progress import Progress
from luthier.evaluate.benchmarks.problems import Code, Problem
from luthier.evaluate.benchmarks.run import Answer
from luthier.evaluate.sandbox.runner import run
from luthier.evaluate.subject import Loaded, told
from luthier.model.forward import precise
from luthier.model.generate import generate, room
from luthier.model.sampling import Sampling, StopStrings

SOLVED = "[DONE]\n\n"
"""What ends each solved problem that stands before another: those are no part of the question."""

METHOD = (
    "A program runs apart from its tests, without files, network or other processes, and passes when every test does. "
    "Pass@k is the unbiased estimate (Chen 2021, arXiv:2107.03374); a problem is one observation."
)


def written(subject: Loaded, asked: Code) -> tuple[list[Answer], int]:
    """Return what a model writes for each problem and what that scores, and how many prompts it could not read whole.

    Raises:
        Failed: Programs can't be contained on this machine.
    """
    size = asked.asked.samples
    prompts = [problem for problem in asked.problems for _ in range(size)]
    programs, clipped = _programs(subject, asked, [problem.prompt for problem in prompts])
    outcomes = _outcomes(subject.progress, told("run programs of", subject.name, asked.name), asked, prompts, programs)
    found = []
    for place, problem in enumerate(asked.problems):
        those = slice(place * size, (place + 1) * size)
        passed = sum(not why for why in outcomes[those])
        found.append(
            Answer(
                question=problem.prompt.rpartition(SOLVED)[2],
                choices=(),
                expected=problem.tests,
                said=tuple(programs[those]),
                scores={f"pass@{k}": pass_at(k, size, passed) for k in asked.ks},
                failed=tuple(outcomes[those]),
            )
        )
    return found, clipped


def _outcomes(
    progress: Progress, stage: str, asked: Code, problems: Sequence[Problem], programs: Sequence[str]
) -> list[str]:
    """Return why each program failed; nothing where it passed."""
    progress.start(stage, len(programs), "program")
    trials = [problem.trial(program) for problem, program in zip(problems, programs, strict=True)]
    found = ["" if one.passed else one.why for one in run(trials, seconds=asked.asked.seconds)]
    progress.end()
    return found


def _programs(subject: Loaded, asked: Code, prompts: Sequence[str]) -> tuple[list[str], int]:
    """Return how a model goes on from prompts, and how many of them it could not read whole."""
    tokenizer, options, longest = subject.reading.tokenizer, asked.asked, asked.collection.longest
    stops = subject.renderer.stop_ids
    ids = [list(found) for found in tokenizer([*prompts])["input_ids"]]
    ending = StopStrings(tokenizer, asked.collection.stops)
    subject.progress.start(told("ask", subject.name, asked.name), len(prompts), "program")
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
