"""luthier from Python: the verbs with recipes, keywords or data from memory; reports come back.

    import luthier

    report = luthier.train(model="bundled", data=rows, technique="lora", max_steps=20, out="runs/mine")
    luthier.evaluate(report)

Every call adds up to a recipe, kept in the run directory as the command line keeps it, so that either can go on with
what the other began.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from luthier import workflow
from luthier.core.errors import DataError, Interrupted, RecipeError, RunError
from luthier.core.files import write_bytes
from luthier.core.processes import place
from luthier.core.report import Report
from luthier.core.run import COPIES, Run
from luthier.core.text import did_you_mean
from luthier.recipe.load import load_recipe, parse_recipe, recipe_text
from luthier.recipe.schema import Recipe, Train
from luthier.recipe.write import to_yaml

Asked = Recipe | Mapping[str, Any] | str | Path
"""A recipe: an object, its keys as a mapping, or a YAML file."""

Trained = Run | Report | str | Path
"""A run: the object, its folder, or the report `train` returned."""

ALIASES = {
    "data_path": "data",
    "model_name": "model",
    "output_dir": "out",
    "hyperparameters": "train",
}
"""Other names that keywords go by."""

ROWS = COPIES[1]
"""Where data from memory are kept in the run."""


class Callback(Protocol):
    """Somebody who is told what happens, as `events.jsonl` has it."""

    def on_event(self, event: dict[str, Any]) -> Literal["stop"] | None:
        """Take an event, after it was written. `"stop"` ends a training after the step, saved, to be gone on with."""
        ...


class Call(NamedTuple):
    """What a call adds up to."""

    recipe: Recipe
    text: str
    out: Path
    rows: bytes | None
    """Data from memory, as JSON lines."""


def prepare(recipe: Asked | None = None, *, quiet: bool = False, **asked: Any) -> Report:
    """Clean, convert and split raw data. Keywords as in `train`; without a model the bundled one stands in."""
    if recipe is None and not {"model", "model_name"} & asked.keys():
        asked["model"] = "bundled"  # the data need none
    return _on_new(workflow.prepare, _call(recipe, asked), (), quiet=quiet)


def plan(recipe: Asked | None = None, *, quiet: bool = False, **asked: Any) -> Report:
    """Decide steps, rates, lengths and memory, each with its reason. Keywords as in `train`; kept in the run."""
    return _on_new(workflow.plan, _call(recipe, asked), (), quiet=quiet)


def train(
    recipe: Asked | None = None, *, callbacks: Sequence[Callback] = (), quiet: bool = False, **asked: Any
) -> Report:
    """Prepare, plan and train; from the last checkpoint where the same call was interrupted.

    Args:
        recipe: What to do. Keywords change it, or make one.
        callbacks: Who is told what happens. One that fails is told about in an event, and let go.
        quiet: Show no progress.
        asked: `model`, `data` (files, or rows from memory: mappings, a `datasets.Dataset`, a pandas `DataFrame`),
            `format`, `technique`, `out` (the run directory) and every other key of the recipe or of its `train`
            section. `data_path`, `model_name`, `output_dir`, `hyperparameters` and `mode="train"` are understood.

    Returns:
        The report; `report.data["run"]` is the folder. Where a callback asked to stop its `state` is `interrupted`.
        Of several processes (Ray Train) the first gets it, the others an empty one.

    Raises:
        LuthierError: Something a person can mend: it says what and how.
    """
    mode = asked.pop("mode", "train")
    if mode != "train":
        raise RecipeError(f"`train` was asked with `mode` {mode!r}", hint=f"call `luthier.{mode}` for that")
    call = _call(recipe, asked)
    if place().rank > 0:
        return workflow.follow(call.recipe)
    return _on_new(workflow.train, call, callbacks, quiet=quiet)


def evaluate(run: Trained, *, quiet: bool = False) -> Report:
    """Compare base and tuned model of a run on its held-out rows."""
    return _on_old(workflow.evaluate, run, quiet=quiet)


def merge(run: Trained, *, quiet: bool = False) -> Report:
    """Fold a run's adapter into its base, with a certificate that nothing changed."""
    return _on_old(workflow.merge, run, quiet=quiet)


def export(run: Trained, *, to: str = "gguf", quiet: bool = False, **options: Any) -> Report:
    """Make a file for other programs of a run's model, load it back, and compare. `options` are the target's."""
    (target,) = parse_recipe(
        json.dumps({"model": "m", "data": {"sources": ["d"]}, "export": [{"to": to, **options}]}), file="export"
    ).export
    return _on_old(lambda recipe, opened, bar: workflow.export(recipe, opened, [target], bar)[0], run, quiet=quiet)


def _on_new(verb: Any, call: Call, callbacks: Sequence[Callback], *, quiet: bool) -> Report:
    run = workflow.begin(call.recipe, call.text, call.out)
    with ExitStack() as stack:
        stack.enter_context(run.locked())
        if call.rows is not None:
            _keep(call.rows, run)
        stack.enter_context(run.listening(*(callback.on_event for callback in callbacks)))
        bar = stack.enter_context(_progress(quiet=quiet))
        try:
            report: Report = verb(call.recipe, run, bar)
        except Interrupted as stopped:
            if not run.stop_asked:
                raise
            report = Report("Training", f"{stopped.problem}; {stopped.hint}.", {"state": "interrupted"})
    return replace(report, data={**report.data, "run": str(run.path)})


def _on_old(verb: Any, run: Trained, *, quiet: bool) -> Report:
    if isinstance(run, Report):
        run = str(run.data["run"])
    recipe, opened = workflow.reopen(run.path if isinstance(run, Run) else Path(run))
    with opened.locked(), _progress(quiet=quiet) as bar:
        report: Report = verb(recipe, opened, bar)
    return replace(report, data={**report.data, "run": str(opened.path)})


def _progress(*, quiet: bool) -> Any:
    from luthier.cli import show

    return show.progress(quiet=quiet)


# From a call to a recipe -----------------------------------------------------------------------------------


def _call(recipe: Asked | None, asked: Mapping[str, Any]) -> Call:
    """Return what a recipe and keywords add up to.

    Raises:
        RecipeError: A keyword is none, or the recipe asks for what can't be.
    """
    keys = _renamed(asked)
    if isinstance(recipe, Mapping):
        keys, recipe = _nested(_renamed(recipe), keys), None
    out = Path(keys.pop("out")) if keys.get("out") is not None else None
    data = keys.pop("data", None)
    options: dict[str, Any] = dict(data) if isinstance(data, Mapping) else {} if data is None else {"sources": data}
    sources = options.pop("sources", None)
    if "format" in keys:
        options["format"] = keys.pop("format")
    rows = None if sources is None or _names(sources) else _lines(sources)
    if rows is not None:
        out = out or workflow.new_folder(keys.get("name", "run"))
        options["sources"] = [str(out / ROWS)]
    elif sources is not None:
        options["sources"] = [str(sources)] if isinstance(sources, str | Path) else [str(path) for path in sources]
    changes = _changes({**keys, **({"data": options} if options else {})})
    if recipe is None:
        made = parse_recipe(f"name: {keys.get('name', 'run')}\n", file="the call", overrides=changes)
        if rows is None and "objective" not in keys.get("train", {}) and workflow.only_text(made):
            changes = [*changes, "train.objective=pretrain"]
            made = parse_recipe(f"name: {keys.get('name', 'run')}\n", file="the call", overrides=changes)
        text = to_yaml(made, comments=False)
    elif isinstance(recipe, Recipe):
        made = parse_recipe(to_yaml(recipe, comments=False), file="the recipe", overrides=changes)
        text = to_yaml(made, comments=False)
    else:
        made, text = load_recipe(Path(recipe), changes), recipe_text(Path(recipe), changes)
    return Call(made, text, out or workflow.run_folder(made), rows)


def _renamed(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return keywords under the recipe's names, those of the section `train` below it."""
    top, section = Recipe.model_fields.keys() | {"out", "format"}, Train.model_fields.keys()
    found: dict[str, Any] = {}
    below: dict[str, Any] = {}
    for given, value in asked.items():
        name = ALIASES.get(given, given)
        if name == "train":
            below |= value
        elif name in top:
            found[name] = value
        elif name in section:
            below[name] = value
        else:
            near = did_you_mean(given, [*top, *section, *ALIASES])
            hint = f"did you mean `{near}`?" if near else "`help(luthier.train)` names what there is"
            raise RecipeError(f"unknown keyword `{given}`", hint=hint)
    return found | ({"train": below} if below else {})


def _nested(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Return both, the second winning; `train` key by key."""
    train = {**first.get("train", {}), **second.get("train", {})}
    return {**first, **second} | ({"train": train} if train else {})


def _changes(keys: Mapping[str, Any]) -> list[str]:
    """Return keywords as `--set` takes them, so that both are read, and refused, alike."""
    changes = []
    for name, value in keys.items():
        for key, inner in value.items() if name in ("train", "data") else [("", value)]:
            plain = inner.model_dump(mode="json") if hasattr(inner, "model_dump") else inner
            changes.append(f"{name}.{key}={json.dumps(plain)}" if key else f"{name}={json.dumps(plain)}")
    return changes


# Data from memory ------------------------------------------------------------------------------------------


def _names(data: Any) -> bool:
    """Return whether data are told by the names of files."""
    if isinstance(data, str | Path):
        return True
    return isinstance(data, list | tuple) and all(isinstance(item, str | Path) for item in data)


def _lines(data: Iterable[Any]) -> bytes:
    """Return rows as JSON lines.

    Raises:
        DataError: A row is no mapping, or holds what JSON has no word for.
    """
    import orjson

    # A DataFrame iterates over the names of its columns.
    rows = data.to_dict(orient="records") if hasattr(data, "iloc") and hasattr(data, "to_dict") else data
    lines = []
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, Mapping):
            raise DataError(
                f"row {number} of the data is {type(row).__name__}, not a mapping of columns",
                hint='give rows such as {"prompt": "…", "answer": "…"}, or names of files',
            )
        try:
            lines.append(orjson.dumps(dict(row), option=orjson.OPT_SERIALIZE_NUMPY) + b"\n")
        except TypeError as error:
            raise DataError(
                f"row {number} of the data can't be written as JSON ({error})",
                hint="give texts, numbers, lists and mappings",
            ) from error
    return b"".join(lines)


def _keep(rows: bytes, run: Run) -> None:
    """Keep data from memory in the run, once: it goes on with the rows it was begun with."""
    path = run / ROWS
    if path.exists() and path.read_bytes() != rows:
        raise RunError(
            "the rows of this call are not those this run was begun with",
            hint="choose a new folder with `out`",
            place=str(path),
        )
    if not path.exists():
        write_bytes(path, rows)
