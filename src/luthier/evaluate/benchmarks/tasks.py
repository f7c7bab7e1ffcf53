"""Names to tasks of the harness that can be done: with their rows, the items chosen, the examples that are shown."""

import contextlib
import io
import logging
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import datasets
import jinja2
import pyarrow as pa
from lm_eval.api.group import Group
from lm_eval.api.metrics import mean
from lm_eval.api.task import ConfigurableTask
from lm_eval.tasks import TaskManager
from lm_eval.tasks._factory import TaskFactory

from luthier.core.errors import DataError, Failed, LuthierError, RecipeError
from luthier.evaluate.benchmarks.catalog import Catalog, Leaf
from luthier.evaluate.benchmarks.files import HELP, Folder, hint
from luthier.evaluate.benchmarks.problems import COLLECTIONS, Code, Row, file_of, made, problems
from luthier.evaluate.sandbox.runner import require
from luthier.recipe.benchmarks import Benchmark

UNREACHABLE = (OSError, ConnectionError, ValueError, datasets.exceptions.DatasetsError)
"""What loading from the hub raises when it can't be reached, or has no such data set."""

WRONG = (KeyError, ValueError, TypeError, IndexError, AttributeError, AssertionError, jinja2.TemplateError)
"""What a task raises over rows that are not its own."""


@dataclass(frozen=True, slots=True)
class Ready:
    """One task, with what is asked of it."""

    name: str
    """What the report calls it, unlike any other."""
    asked: Benchmark
    leaf: Leaf
    task: ConfigurableTask
    of: int
    """How many items it has."""
    chosen: Sequence[int]
    """Which of them are asked, in order."""

    @property
    def shots(self) -> int:
        """Return how many examples stand before each question."""
        return int(self.task.config.num_fewshot or 0)

    def whole(self, metric: str) -> Callable[[list[Any]], float] | None:
        """Return how a score is made of all items; None for their mean."""
        made: Callable[[list[Any]], float] = self.task.aggregation().get(metric, mean)
        return None if made is mean else made

    def better(self, metric: str) -> int:
        """Return whether more is better (1) or worse (−1)."""
        return 1 if self.task.higher_is_better().get(metric, True) else -1


@dataclass(frozen=True, slots=True)
class Suite:
    """What a name stands for: one task, or several and the groups they form."""

    asked: Benchmark
    tasks: tuple[Ready | Code, ...]
    group: Group | None
    """How the scores of several become one; None of one task, and of a tag, which has no score of its own."""


def suite(asked: Benchmark, catalog: Catalog, home: Folder | None, cache: Path) -> Suite:
    """Return a benchmark ready to be done: of the harness, or one for which programs are written.

    Args:
        asked: Which.
        catalog: Where its definition is.
        home: Folder with its files; None asks the hub.
        cache: Folder for what loading from the hub makes on the way.

    Raises:
        DataError: Its rows are not there, or are not its rows.
        RecipeError: It doesn't take so many examples.
        Failed: The hub can't be reached, or programs can't be contained on this machine.
    """
    if asked.runs_programs:
        return Suite(asked, (_code(asked, home, cache),), None)
    leaves = {leaf.name: leaf for leaf in catalog.leaves(asked.task)}
    with quiet():
        manager = TaskManager(include_path=[*catalog.folders(asked.task)], include_defaults=False)
        config = {str(entry.yaml_path): name for name, entry in manager.task_index.items() if entry.yaml_path}

        def provide(*, config_source: str, **_: Any) -> datasets.DatasetDict:
            leaf = leaves[config[config_source]]
            return _hub(leaf, cache) if home is None or leaf.brings_its_own else _local(leaf, home)

        built = _built(manager, asked.task, provide)
    group = built if isinstance(built, Group) else None
    tasks = group.get_all_tasks() if group else built if isinstance(built, list) else [built]
    return Suite(asked, tuple(_ready(task, leaves[task.task_name], asked, home) for task in tasks), group)


def _built(manager: TaskManager, name: str, provide: Callable[..., Any]) -> Any:
    """Return what the harness makes of a name: a task, a group, or the tasks of a tag."""
    try:
        overrides = {"custom_dataset": provide}
        return TaskFactory().build(manager.task_index[name], overrides=overrides, registry=manager.task_index)
    except LuthierError:
        raise
    except WRONG as error:
        told = " ".join(str(error).split()) or type(error).__name__
        raise DataError(
            f"the harness can't make `{name}` of these rows: {told}",
            hint=f"take the files as their authors publish them; {HELP}",
            place="evaluate.benchmarks",
        ) from error


def _local(leaf: Leaf, home: Folder) -> datasets.DatasetDict:
    home.needed(leaf)
    rows = {split: home.rows(leaf, split) for split in leaf.splits}
    try:
        return datasets.DatasetDict({split: datasets.Dataset.from_list(found) for split, found in rows.items()})
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise DataError(
            f"the rows of `{leaf.name}` don't hold the same in every row: {error}",
            hint=f"take the files as their authors publish them; {HELP}",
            place=str(home.path),
        ) from error


def _hub(leaf: Leaf, cache: Path) -> Any:
    """Return a data set of the hub. What it was converted to lies in `cache`; code that came with it never runs."""
    asked = {
        key: value for key, value in (leaf.config.get("dataset_kwargs") or {}).items() if key != "trust_remote_code"
    }
    try:
        return datasets.load_dataset(leaf.dataset, leaf.part or None, cache_dir=str(cache), **asked)
    except UNREACHABLE as error:
        told = " ".join(str(error).split()) or type(error).__name__
        raise Failed(
            f"`{leaf.dataset}`, which `{leaf.name}` asks, can't be had from the Hugging Face hub: {told[:200]}",
            hint=f"name a folder with its files by `--data-dir`, and {hint(leaf, leaf.asked)}",
            place="evaluate.benchmarks",
        ) from error


def _code(asked: Benchmark, home: Folder | None, cache: Path) -> Code:
    require()  # before models are loaded
    collection = COLLECTIONS[asked.task]
    if home is None:
        splits = _hub(Leaf(asked.task, {"dataset_path": collection.dataset, "dataset_name": collection.part}), cache)
        rows = [Row(row, collection.dataset) for split in splits.values() for row in split]
        every = made(collection, rows, collection.dataset)
    else:
        every = problems(collection, file_of(collection, home.path))
    chosen = spread(len(every), asked.limit, seed=asked.seed)
    return Code(asked.called, asked, collection, [every[place] for place in chosen], chosen, len(every))


def _ready(task: ConfigurableTask, leaf: Leaf, asked: Benchmark, home: Folder | None) -> Ready:
    own = task.config.num_fewshot
    if asked.shots and own == 0:
        raise RecipeError(
            f"`{leaf.name}` is asked without examples of its own choosing, and `shots` is {asked.shots}",
            hint="leave `shots` out",
            place="evaluate.benchmarks",
        )
    task.set_config(key="num_fewshot", value=(own or 0) if asked.shots is None else asked.shots)
    shots, examples = task.config.num_fewshot, len(getattr(task.sampler, "df", ()))
    if shots > examples:
        split = next((split for split in leaf.splits if split != leaf.asked), leaf.asked)
        told = hint(leaf, split) if home else "ask for fewer"
        raise DataError(
            f"`{leaf.name}` shows {shots} examples before each question, and there are {examples}",
            hint=f"{told}, or set `shots` to {examples}",
            place="evaluate.benchmarks",
        )
    count = len(task.task_docs)
    name = asked.calls(leaf.name)
    return Ready(name, asked, leaf, task, count, spread(count, asked.limit, seed=asked.seed))


def spread(count: int, limit: int | None, *, seed: int) -> list[int]:
    """Return which of `count` items are asked: one, by chance, of each of `limit` stretches as long as each other."""
    if limit is None or limit >= count:
        return [*range(count)]
    draw = random.Random(seed)
    ends = [place * count // limit for place in range(limit + 1)]
    return [draw.randrange(first, last) for first, last in pairwise(ends)]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Let the harness and `datasets` neither log nor draw bars: luthier tells how far it is, and what went wrong."""
    loggers = [logging.getLogger(name) for name in ("lm_eval", "datasets", "huggingface_hub")]
    levels = [logger.level for logger in loggers]
    shown = datasets.is_progress_bar_enabled()
    datasets.disable_progress_bars()
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        if shown:
            datasets.enable_progress_bars()
