"""A metric that the user wrote."""

import math
import sys
from importlib import import_module
from pathlib import Path

from luthier.core.errors import Failed, RecipeError
from luthier.evaluate.metrics.metric import Expected, Metric, each
from luthier.recipe.metrics import Custom


def custom(options: Custom) -> list[Metric]:
    """Return the metric.

    Raises:
        RecipeError: There is no such function.
    """
    module, _, name = options.function.partition(":")
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        score = getattr(import_module(module), name)
    except Exception as error:  # all of the user's module may fail
        raise RecipeError(
            f"`evaluate.metrics` names `{options.function}`, and there is none: {type(error).__name__}: {error}",
            hint=f"put the function into {module.replace('.', '/')}.py where luthier runs, or correct the name",
        ) from error
    finally:
        sys.path.remove(here)

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
