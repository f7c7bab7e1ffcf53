"""A metric that the user wrote."""

import math

from luthier.core import named
from luthier.core.errors import Failed
from luthier.evaluate.metrics.metric import Expected, Metric, each
from luthier.recipe.metrics import Custom


def custom(options: Custom) -> list[Metric]:
    """Return the metric.

    Raises:
        RecipeError: There is no such function.
    """
    name = options.function.partition(":")[2]
    score = named.function(options.function, "evaluate.metrics")

    def of(want: Expected, got: str) -> float:
        try:
            value = float(score(want.text, got))
        except Exception as error:
            raise Failed(
                f"`{options.function}` failed on an answer: {type(error).__name__}: {error}",
                hint="it takes the expected answer and the answer, and returns a number",
            ) from error
        if not math.isfinite(value):
            raise Failed(f"`{options.function}` returned {value}", hint="it must return a finite number")
        return value

    return [Metric(name, name, each(of), percent=False)]
