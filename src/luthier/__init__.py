"""luthier: from raw data to a fine-tuned language model that is proven better, exported and served.

    import luthier

    report = luthier.train(model="bundled", data="tickets.csv", technique="lora", out="runs/mine")
    luthier.evaluate(report)

`train`, `evaluate` and `export` are also the folders of the stages: packages that can be called (docs/decisions/0013).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from luthier import workflow as workflow
    from luthier.api import Callback as Callback
    from luthier.api import evaluate as evaluate
    from luthier.api import export as export
    from luthier.api import merge as merge
    from luthier.api import plan as plan
    from luthier.api import prepare as prepare
    from luthier.api import train as train
    from luthier.core.errors import LuthierError as LuthierError
    from luthier.core.report import Report as Report
    from luthier.core.run import Run as Run
    from luthier.recipe.load import load_recipe as load_recipe
    from luthier.recipe.schema import Recipe as Recipe

_HOMES = {
    "Callback": "luthier.api",
    "LuthierError": "luthier.core.errors",
    "Recipe": "luthier.recipe.schema",
    "Report": "luthier.core.report",
    "Run": "luthier.core.run",
    "load_recipe": "luthier.recipe.load",
    "merge": "luthier.api",
    "plan": "luthier.api",
    "prepare": "luthier.api",
}

_MODULES = ("evaluate", "export", "train", "workflow")

__all__ = [
    "Callback",
    "LuthierError",
    "Recipe",
    "Report",
    "Run",
    "evaluate",
    "export",
    "load_recipe",
    "merge",
    "plan",
    "prepare",
    "train",
    "workflow",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `import luthier` costs nothing."""
    if name in _MODULES:
        return import_module(f"luthier.{name}")
    if name not in _HOMES:
        message = f"module `luthier` has no attribute `{name}`"
        raise AttributeError(message)
    return getattr(import_module(_HOMES[name]), name)
