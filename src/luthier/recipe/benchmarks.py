"""The recipe's `evaluate.benchmarks`: tasks that both models do."""

from typing import Annotated, ClassVar

from pydantic import Field, model_validator

from luthier.recipe.methods import Named, Positive, PositiveReal, UpToOne
from luthier.recipe.options import Options

PROGRAMS = ("humaneval", "mbpp")
"""Tasks that luthier runs itself: models write programs, and those are run, walled in."""


def in_order(warn: float, fail: float) -> None:
    """Refuse a loss that fails before it warns."""
    if warn > fail:
        message = f"`warn` must not be above `fail`, got {warn} and {fail}"
        raise ValueError(message)


class Benchmark(Options):
    """A task of lm-evaluation-harness that both models do; its name alone will do: [gsm8k, mmlu, humaneval]."""

    short: ClassVar[str] = "task"

    task: Named
    """Its name in the harness, that of a group or of a tag: gsm8k, mmlu, hellaswag, arc_challenge, bbh. Of those that
    run what a model wrote, `humaneval` and `mbpp`, walled in (Linux)."""

    name: Named | None = None
    """What it is called in the report; `null` is `task`. The same task asked twice, with other shots, needs two."""

    shots: Annotated[int, Field(ge=0)] | None = None
    """Examples with answers before each question. `null` is the task's own number."""

    chat: bool = False
    """Whether it is asked as a conversation, by the chat template that the tuned model has, each example a turn."""

    limit: Positive | None = None
    """Items that are asked, evenly spread over all; of a group, of each of its tasks. `null` asks all."""

    seed: Annotated[int, Field(ge=0)] = 1234
    """Which examples are shown, which items a `limit` takes, and of programs that are drawn. 1234 is the harness's own,
    and shows what it shows."""

    samples: Annotated[int, Field(ge=1, le=1000)] = 1
    """Of programs, how many for each problem. One is the most likely; several are drawn, and 10 tell pass@10 too."""

    temperature: PositiveReal = 0.2
    """Of programs that are drawn: higher helps pass@k of many tries, lower that of one."""

    seconds: Annotated[int, Field(ge=1, le=600)] = 3
    """Processor time of a program; on the clock it may take four times as long."""

    warn: UpToOne = 0.02
    """Loss that is told: so many of a hundred items."""

    fail: UpToOne = 0.05
    """Loss that fails, when it is more than chance."""

    @property
    def called(self) -> str:
        """Return what it is called in the report."""
        return self.name or self.task

    def calls(self, task: str) -> str:
        """Return what the report calls a task or a group that is part of what was asked, or all of it."""
        if self.name is None:
            return task
        return self.name if task == self.task else f"{self.name}/{task}"

    @property
    def runs_programs(self) -> bool:
        """Return whether models write programs for it."""
        return self.task in PROGRAMS

    @model_validator(mode="after")
    def what_is_said_is_heard(self) -> "Benchmark":
        """Refuse options of programs for other tasks, and of other tasks for programs."""
        in_order(self.warn, self.fail)
        given = self.model_fields_set
        if self.runs_programs and (other := {"shots", "chat"} & given):
            message = f"`{min(other)}` has no meaning for `{self.task}`: its prompts are the beginnings of programs"
            raise ValueError(message)
        if not self.runs_programs and (other := {"samples", "temperature", "seconds"} & given):
            message = (
                f"`{min(other)}` is of programs that are run ({' and '.join(PROGRAMS)}), and `{self.task}` has none"
            )
            raise ValueError(message)
        if self.samples == 1 and "temperature" in given:
            message = "`temperature` is of programs that are drawn, and `samples` is 1: the most likely one is taken"
            raise ValueError(message)
        return self
