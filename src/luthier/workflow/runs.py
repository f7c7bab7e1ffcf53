"""Run directories: begun, gone on with, opened again; what a stage finds that was finished before."""

import platform
import re
import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from itertools import chain, count
from pathlib import Path
from typing import Any

from luthier.core.errors import RunError
from luthier.core.files import write_text
from luthier.core.report import Finding, Report
from luthier.core.run import Run
from luthier.recipe.load import load_kept_recipe
from luthier.recipe.schema import Recipe

LIBRARIES = (
    "luthier",
    "torch",
    "transformers",
    "peft",
    "tokenizers",
    "tiktoken",
    "jinja2",
    "safetensors",
    "numpy",
    "gguf",
    "xllamacpp",
)
"""Packages whose versions a manifest records."""


FIXED = re.compile(r"(model|data|train)\b")
"""Keys of a recipe that can't change once there are weights."""


SHOWN = re.compile(r"train\.(track|samples)\b|data\.processes\b")
"""Those of them that can: they change what is shown or who does the work, never the weights."""


def begin(recipe: Recipe, text: str, out: Path) -> Run:
    """Return the run directory `out`, new or begun with the same recipe.

    Args:
        recipe: What was asked.
        text: The recipe as it is kept in `recipe.yaml`.
        out: The run directory.

    Raises:
        RunError: The folder holds a run of another recipe, or files that are no run.
    """
    strangers = [path.name for path in out.iterdir() if not path.name.startswith(".")] if out.is_dir() else []
    if strangers == ["recipe.yaml"] and (out / ".lock").is_file():
        strangers = []  # a run that was killed while it began
    if strangers and not Run.begun(out):
        raise RunError(
            f"this folder holds other things (`{min(strangers)}`) and no run",
            hint="choose a new folder with `--out`",
            place=str(out),
        )
    run = Run(out)
    with run.locked():
        if Run.begun(out):
            _continue(run, recipe, text)
        else:
            write_text(run / "recipe.yaml", text)
            run.log("state", state="begun", versions=versions())
            run.sync()
    return run


def _continue(run: Run, recipe: Recipe, text: str) -> None:
    """Take over a changed recipe as long as nothing that took time rests on what changed."""
    kept = load_kept_recipe(run / "recipe.yaml")
    changed = _differences(kept.model_dump(mode="json"), recipe.model_dump(mode="json"))
    trained = (run / "checkpoints").exists() or (run / "model").exists()
    fixed = [key for key in changed if trained and FIXED.match(key) and not SHOWN.match(key)]
    if fixed:
        names = ", ".join(f"`{key}`" for key in fixed[:5])
        raise RunError(
            f"this run was trained with another recipe: {names} changed",
            hint="choose a new folder with `--out`, or go on with the recipe kept in recipe.yaml",
            place=str(run.path),
        )
    if changed:
        write_text(run / "recipe.yaml", text)
        run.log("state", state="recipe changed", keys=changed)


def unfinished(recipe: Recipe, home: Path) -> Path | None:
    """Return the newest run below `home` that was begun with this very recipe and has no last page yet.

    So "type the same command again" holds after midnight too, when the default folder has another name.
    """
    for folder in sorted(home.glob(f"*-{recipe.name}"), reverse=True):
        going_on = Run.begun(folder) and not (folder / "report.json").is_file()
        if going_on and load_kept_recipe(folder / "recipe.yaml") == recipe:
            return folder
    return None


def run_folder(recipe: Recipe) -> Path:
    """Return the run this recipe began and did not finish; else today's folder for its name."""
    return unfinished(recipe, Path("runs")) or new_folder(recipe.name)


def new_folder(name: str) -> Path:
    """Return today's folder for the name of a recipe."""
    return Path("runs") / f"{time.strftime('%Y-%m-%d')}-{name}"


def fresh_folder(name: str) -> Path:
    """Return a folder of today for the name of a recipe that is not there yet."""
    first = new_folder(name)
    more = (Path(f"{first}-{number}") for number in count(2))
    return next(path for path in chain([first], more) if not path.exists())


def reopen(path: Path, changes: Sequence[str] = ()) -> tuple[Recipe, Run]:
    """Return an existing run and the recipe it was begun with, but for some changes: `key=value`.

    Raises:
        RunError: There is no run in that folder.
    """
    run = Run.open(path)
    return load_kept_recipe(run / "recipe.yaml", changes), run


def learning(recipe: Recipe) -> dict[str, Any]:
    """Return all of `train` that weights may depend on."""
    return {
        name: value for name, value in recipe.train.model_dump(mode="json").items() if not SHOWN.match(f"train.{name}")
    }


def _differences(before: Any, after: Any, place: str = "") -> list[str]:
    """Return the dotted keys in which two recipes differ."""
    if isinstance(before, dict) and isinstance(after, dict):
        return [
            key
            for name in sorted({*before, *after})
            for key in _differences(before.get(name), after.get(name), f"{place}.{name}" if place else name)
        ]
    return [] if before == after else [place]


def versions() -> dict[str, str]:
    """Return the versions of Python and the packages that results hang on."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def done_before(title: str, view: dict[str, Any]) -> Report:
    """Return the report of a stage that was finished before."""
    return Report.from_dict(title, view, Finding("note", "this was done before; nothing was done again"))


def unchanged(run: Run, stage: str, key: str, what: str) -> None:
    """Refuse to replace what a training that has begun rests on."""
    before = run.manifest()["stages"].get(stage)
    if before is not None and before["key"] != key and any((run / "checkpoints").glob("step-*")):
        raise RunError(
            f"{what} changed since this run was begun, and it has checkpoints",
            hint="start a new run with another `--out`, or put back what was changed",
            place=str(run.path),
        )
