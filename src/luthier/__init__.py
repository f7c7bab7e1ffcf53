"""luthier: from raw data to a fine-tuned language model that is proven better, exported and served.

    from pathlib import Path
    from luthier import load_recipe, workflow

    path = Path("recipe.yaml")
    recipe = load_recipe(path)
    run = workflow.begin(recipe, path.read_text(), Path("runs/mine"))
    report = workflow.run_all(recipe, run)

The verbs live in `luthier.workflow`: `luthier.train` and its like are the folders of the stages.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from luthier import workflow as workflow
    from luthier.core.errors import LuthierError as LuthierError
    from luthier.core.report import Report as Report
    from luthier.core.run import Run as Run
    from luthier.recipe.load import load_recipe as load_recipe
    from luthier.recipe.schema import Recipe as Recipe

_HOMES = {
    "LuthierError": "luthier.core.errors",
    "Recipe": "luthier.recipe.schema",
    "Report": "luthier.core.report",
    "Run": "luthier.core.run",
    "load_recipe": "luthier.recipe.load",
    "workflow": "luthier",
}

__all__ = ["LuthierError", "Recipe", "Report", "Run", "load_recipe", "workflow"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `import luthier` costs nothing."""
    if name not in _HOMES:
        message = f"module `luthier` has no attribute `{name}`"
        raise AttributeError(message)
    if name == "workflow":
        return import_module("luthier.workflow")
    return getattr(import_module(_HOMES[name]), name)
