"""The recipe's `evaluate.programs`: problems that models solve by a program."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from luthier.recipe.methods import Named, Positive, PositiveReal
from luthier.recipe.options import Options


class Programs(Options):
    """Problems that both models write programs for, which are run, walled in, against the problems' tests (Linux)."""

    problems: Literal["humaneval", "mbpp"]
    """HumanEval (pass@k of 164 functions) or MBPP (the 500 of its test part, after three that are shown)."""

    file: Named
    """The file with the problems as its authors publish it: HumanEval.jsonl or mbpp.jsonl, also packed (`.gz`)."""

    samples: Annotated[int, Field(ge=1, le=1000)] = 1
    """Programs for each problem. One is the most likely; several are drawn: from 10 on they tell pass@10, too."""

    temperature: PositiveReal = 0.2
    """Of programs that are drawn: higher helps pass@k of many tries, lower that of one."""

    limit: Positive | None = None
    """Problems that are asked, evenly spread over all. `null` asks all."""

    seed: Annotated[int, Field(ge=0)] = 0
    """Of programs that are drawn."""

    seconds: Annotated[int, Field(ge=1, le=600)] = 3
    """Processor time of a program; on the clock it may take four times as long."""

    @model_validator(mode="after")
    def what_is_drawn_is_several(self) -> "Programs":
        """Refuse a temperature where nothing is drawn."""
        drawn = {"temperature", "seed"} & self.model_fields_set
        if self.samples == 1 and drawn:
            message = f"`{min(drawn)}` is of programs that are drawn, and `samples` is 1: the most likely one is taken"
            raise ValueError(message)
        return self
