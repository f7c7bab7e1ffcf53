"""The recipe's `evaluate.people`: what people are shown when they compare answers (`luthier evaluate RUN --human`)."""

from typing import Annotated

from pydantic import Field, model_validator

from luthier.recipe.judge import CRITERION, RUBRIC
from luthier.recipe.methods import Named, Positive
from luthier.recipe.options import Options


class People(Options):
    """What people are shown who compare the answers of both models: `luthier evaluate RUN --human`."""

    rows: Positive = 50
    """Pairs of answers to compare, at most; which ones is decided by their hash, so that more include fewer."""

    rate: bool = False
    """Whether each answer is also rated, from 1 to 5, by the criteria of `rubric`."""

    rubric: dict[Named, Named] = Field(default_factory=lambda: dict(RUBRIC))
    """What answers are rated by: a name, and what it means."""

    reference: bool = False
    """Whether the answer that the row expects is shown, too."""

    seed: Annotated[int, Field(ge=0)] = 0
    """Of which answer stands left."""

    port: Annotated[int, Field(ge=0, le=65535)] = 0
    """Port of the page, on this machine only. 0 takes a free one."""

    @model_validator(mode="after")
    def criteria_are_rated(self) -> "People":
        """Refuse a rubric nobody rates by, and names that are none."""
        if not self.rate and "rubric" in self.model_fields_set:
            message = "`rubric` says what answers are rated by, and `rate` is false: set it to true"
            raise ValueError(message)
        if not 1 <= len(self.rubric) <= 12 or not all(CRITERION.fullmatch(name) for name in self.rubric):
            message = "`rubric` has 1 to 12 criteria, named in lower-case letters, digits and `_`"
            raise ValueError(message)
        return self
