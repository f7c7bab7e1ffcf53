"""What a recipe needs before anything long begins: packages, files, a model, weights to go on from."""

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from luthier.core.errors import LuthierError, MissingExtra, Problems, RecipeError
from luthier.core.key import Key, read_key
from luthier.recipe.methods import DeepSpeed
from luthier.recipe.metrics import Custom, Json
from luthier.recipe.options import locate
from luthier.recipe.schema import Recipe
from luthier.workflow.imports import modules

if TYPE_CHECKING:
    from luthier.data.sources import SourceFile
    from luthier.recipe.facts import ModelFacts


def need(*packages: str, extra: str) -> None:
    """Say which extra is missing before anything long begins."""
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise MissingExtra(package, extra=extra)


def need_methods(recipe: Recipe) -> None:
    """Say which extra a method of the recipe needs, and what is wrong with a metric, while nothing is lost yet."""
    options, metrics = recipe.train, recipe.evaluate.metrics
    named = (options.technique, options.objective, options.optimizer, options.schedule, *options.track, *metrics)
    for method in named:
        if method.needs is not None:
            need(method.needs[0], extra=method.needs[1])
    for metric in metrics:
        locate(metric)(metric)
    capability_files(recipe)
    benchmark_files(recipe)


def need_judge(recipe: Recipe) -> Key | None:
    """Return the key of the recipe's judge, and say what it lacks while nothing is lost yet.

    Raises:
        MissingExtra: The package that asks it is not installed.
        RecipeError: Its key is not where the recipe says.
    """
    judge = recipe.evaluate.judge
    if judge is None:
        return None
    need("httpx2", extra="endpoint")
    return read_key(variable=judge.key_env, file=None if judge.key_file is None else Path(judge.key_file))


def model_facts(recipe: Recipe) -> "ModelFacts":
    """Return what is known of the recipe's model without loading it."""
    from luthier.model.facts import facts

    return facts(recipe.model)


def parent_weights(recipe: Recipe) -> Path | None:
    """Return the file of weights a training begins with, or None when it begins with the base.

    Raises:
        RecipeError: There are none in the folder.
    """
    if recipe.train.continue_from is None:
        return None
    folder = Path(recipe.train.continue_from)
    for home in (folder / "model", folder):
        for name in ("adapter_model.safetensors", "model.safetensors"):
            if (home / name).is_file():
                return home / name
    raise RecipeError(
        f"there are no trained weights in `{folder}`",
        hint="name a run whose training is finished, its `model` folder, or one of its `checkpoints/step-…`",
        place="train.continue_from",
    )


def parallel_accepted(recipe: Recipe) -> None:
    """Look whether what says how processes share the work, where that is a file, can be done."""
    from luthier.recipe.deepspeed import accepted

    if isinstance(recipe.train.parallel, DeepSpeed):
        accepted(recipe.train.parallel, recipe.train)


def capability_files(recipe: Recipe) -> "list[SourceFile]":
    """Return the files whose rows measure what should not be lost, and those that were learned; they must be there."""
    from luthier.data.sources import find_files

    learned = recipe.evaluate.trained_on
    return [
        *(
            file
            for asked in recipe.evaluate.capabilities
            for file in find_files(asked.files, rows="text" if asked.text else "conversation")
        ),
        *(find_files(learned, rows=recipe.train.objective.rows) if learned else ()),
    ]


def metric_files(recipe: Recipe) -> list[Path]:
    """Return the user's own files that metrics rest on: schemas, and modules here with what they import."""
    found = []
    for metric in recipe.evaluate.metrics:
        if isinstance(metric, Json) and metric.json_schema:
            found.append(Path(metric.json_schema))
        if isinstance(metric, Custom):
            found += modules(metric.function.partition(":")[0])
    return [path for path in found if path.is_file()]


def benchmark_files(recipe: Recipe) -> "list[SourceFile]":
    """Return the files that hold the benchmarks' rows; none where the hub is asked for them.

    Raises:
        MissingExtra: The harness is not installed.
        RecipeError: It knows no such task, or two names stand for the same.
        DataError: A file is missing.
        Problems: Several of those.
    """
    options = recipe.evaluate
    if not options.benchmarks:
        return []
    need("lm_eval", extra="benchmarks")
    from luthier.evaluate.benchmarks.catalog import Catalog
    from luthier.evaluate.benchmarks.files import Folder
    from luthier.evaluate.benchmarks.problems import COLLECTIONS, file_of

    catalog = Catalog(options.include)
    folder = None if options.data_dir is None else Folder(Path(options.data_dir).expanduser())
    found: list[SourceFile] = []
    problems: list[LuthierError] = []
    named: dict[str, str] = {}
    for asked in options.benchmarks:
        try:
            if asked.runs_programs:
                found += [file_of(COLLECTIONS[asked.task], folder.path)] if folder else []
                continue
            leaves = catalog.leaves(asked.task)
            names = [asked.calls(leaf.name) for leaf in leaves]
            both = next((name for name in names if name in named), None)
            if both is not None:
                raise RecipeError(
                    f"`{both}` is asked twice: by `{named[both]}` and by `{asked.called}`",
                    hint="leave one out, or give it a `name` of its own; a group's report tells its tasks, too",
                    place="evaluate.benchmarks",
                )
            named |= dict.fromkeys(names, asked.called)
            found += [file for leaf in leaves if folder and not leaf.brings_its_own for file in folder.needed(leaf)]
        except LuthierError as problem:
            problems.append(problem)
    if problems:
        raise problems[0] if len(problems) == 1 else Problems(problems)
    return [*{file.path: file for file in found}.values()]
