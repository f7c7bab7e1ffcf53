"""Benchmarks in an evaluation: beside the rows of the user's, or alone where there are none."""

from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from luthier.core.errors import RecipeError
from luthier.core.files import known_sha256
from luthier.core.progress import Progress
from luthier.core.report import Report
from luthier.core.run import Run
from luthier.recipe.schema import Recipe
from luthier.workflow.needs import benchmark_files

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from luthier.evaluate.benchmarks.part import Benchmarks
    from luthier.evaluate.candidates import Candidate
    from luthier.evaluate.contamination import Seen


def asked_of(recipe: Recipe) -> list[Any]:
    """Return what the result of benchmarks hangs on, beside the models: the harness, files of rows, tasks of yours."""
    if not recipe.evaluate.benchmarks:
        return []
    own = [Path(folder).expanduser() for folder in recipe.evaluate.include]
    tasks = sorted(path for folder in own for path in folder.rglob("*") if path.suffix in (".py", ".yaml", ""))
    files = [*(file.path for file in benchmark_files(recipe)), *(path for path in tasks if path.is_file())]
    return [version("lm-eval"), *([path.name, known_sha256(path)] for path in files)]


@contextmanager
def benchmarks(recipe: Recipe, run: Run, seen: "Seen | None") -> "Iterator[list[Benchmarks]]":
    """Give the benchmarks, ready to be done; none when none are asked for. What they unpack is gone afterwards.

    `seen` says how items stand in what was learned, where that is known.
    """
    options = recipe.evaluate
    if not options.benchmarks:
        yield []
        return
    from luthier.evaluate.benchmarks.catalog import Catalog
    from luthier.evaluate.benchmarks.files import Folder
    from luthier.evaluate.benchmarks.part import Benchmarks
    from luthier.evaluate.benchmarks.tasks import suite

    catalog = Catalog(options.include)
    home = None if options.data_dir is None else Folder(Path(options.data_dir).expanduser())
    with TemporaryDirectory(prefix=".benchmarks-", dir=run.path) as cache:
        yield [Benchmarks([suite(asked, catalog, home, Path(cache)) for asked in options.benchmarks], seen)]


def by_benchmarks(
    recipe: Recipe,
    run: Run,
    models: "Sequence[Candidate]",
    seen: "Seen | None",
    capacity: int,
    precision: str,
    progress: Progress,
) -> Report:
    """Compare models with the first by benchmarks alone.

    Raises:
        RecipeError: Something else is asked for that needs rows.
    """
    from luthier.evaluate.benchmarks.alone import compare_benchmarks
    from luthier.evaluate.subject import Setting

    options = recipe.evaluate
    for name in ("capabilities", "metrics", "judge", "window"):
        if getattr(options, name):
            raise RecipeError(
                f"there are no rows to compare on, so `evaluate.{name}` would be passed over",
                hint="name rows with `--data`, or hold some back in training, or leave it out",
                place=f"evaluate.{name}",
            )
    setting = Setting(capacity=capacity, precision=precision, max_new_tokens=options.max_new_tokens)
    with benchmarks(recipe, run, seen) as (part,):
        return compare_benchmarks(models, part, options.gate, setting=setting, out=run / "evaluate", progress=progress)
