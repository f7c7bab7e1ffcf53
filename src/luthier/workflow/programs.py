"""Programs that models write, as a part of an evaluation."""

from typing import TYPE_CHECKING

from luthier.recipe.schema import Recipe
from luthier.workflow.needs import program_files

if TYPE_CHECKING:
    from luthier.evaluate.benchmarks.code import Code


def programs(recipe: Recipe) -> "list[Code]":
    """Return what the recipe has models write; nothing where it asks for nothing.

    Raises:
        DataError: A file holds no such problems.
        Failed: Programs can't be contained on this machine.
    """
    asked = recipe.evaluate.programs
    if not asked:
        return []
    from luthier.evaluate.benchmarks.code import Asked, Code
    from luthier.evaluate.benchmarks.problems import COLLECTIONS, problems
    from luthier.evaluate.sandbox.runner import require

    require()  # before models are loaded
    found = []
    for options, file in zip(asked, program_files(recipe), strict=True):
        collection = COLLECTIONS[options.problems]
        every = problems(collection, file)
        count = min(options.limit or len(every), len(every))
        spread = [every[number * len(every) // count] for number in range(count)]
        found.append(Asked(options, collection, spread, len(every)))
    return [Code(found)]
