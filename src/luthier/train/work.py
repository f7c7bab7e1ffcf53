"""What one training needs, put together by the stage and used by every part of the loop."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from luthier.core.run import Run
from luthier.model.adapters.adapted import Adapted
from luthier.recipe.plan import Plan
from luthier.recipe.schema import Recipe
from luthier.tokens.render import Encoded
from luthier.train.objectives.objective import Objective
from luthier.train.parallel import World


@dataclass(frozen=True, slots=True)
class HeldOut:
    """A measurement on rows that are not learned from."""

    loss: float
    """What the objective makes small: nats per learned token in supervised fine-tuning."""
    tokens: int
    """Learned tokens it rests on."""
    figures: Mapping[str, float] = field(default_factory=dict)
    """What the objective tells besides its loss, such as the share of pairs ranked as people did."""


Measure = Callable[[Any], HeldOut]
"""Takes the model in training, returns what it makes of the held-out rows."""


class StepResult(NamedTuple):
    """What one optimizer step gave."""

    loss: float
    grad_norm: float
    tokens: int
    supervised_tokens: int
    figures: Mapping[str, float]
    waited: float
    """Seconds until the rows of the step were there."""


@dataclass(frozen=True, slots=True)
class Work:
    """Everything one training needs."""

    recipe: Recipe
    plan: Plan
    run: Run
    key: str
    """Hash of all that the weights depend on; a checkpoint with another is refused."""
    adapted: Adapted
    objective: Objective
    rows: Sequence[Encoded]
    """Rows of the token store; `objective.texts` of them are one example."""
    measure: Measure | None
    """None when no row was held out."""
    world: World = field(default_factory=World)
    """The processes that train together; this one alone where nothing is said."""
    sample: Callable[[Any, int], None] | None = None
    """Takes the model in training and the steps done, and tells what it answers; None where nobody asked."""
    decode: Callable[[Sequence[int]], str] | None = None
    """Turns tokens into text, for people who look at a row."""

    @property
    def examples(self) -> int:
        """Return how many examples there are to learn from."""
        return len(self.rows) // self.objective.texts
