"""The whole road in one command."""

from pathlib import Path
from typing import Any

import click

from luthier.cli import show
from luthier.cli.options import (
    begun,
    continue_option,
    follows,
    given_recipe,
    hello,
    nproc_option,
    out_option,
    output_options,
    recipe_options,
    started,
    tell,
)


@click.command()
@recipe_options
@out_option
@continue_option
@nproc_option
@output_options
def run(*, out: Path | None, nproc: int | None, as_json: bool, quiet: bool, verbose: bool, **asked: Any) -> int:
    """Prepare, plan, train, evaluate, merge, export. Restarted, it goes on where it stopped.

    \b
    luthier run recipe.yaml
    luthier run --data tickets.csv --model Qwen/Qwen2.5-0.5B-Instruct --out runs/tickets
    """
    code = started(nproc)
    if code is not None:
        return code
    hello("luthier run: reading the recipe …", quiet=quiet or follows())
    recipe, text = given_recipe(**asked)
    return _road(recipe, text, out, as_json=as_json, quiet=quiet, verbose=verbose)


@click.command()
@out_option
@output_options
def quickstart(*, out: Path | None, as_json: bool, quiet: bool, verbose: bool) -> int:
    """The whole road on the bundled sample data and base model: offline, in a few minutes, nothing to set up."""
    hello(
        "luthier quickstart: raw tickets → clean data → tuned model → proof → GGUF, all on this machine",
        quiet=quiet,
    )
    from luthier.bundled import quickstart_recipe
    from luthier.recipe.load import load_recipe

    path = quickstart_recipe()
    return _road(
        load_recipe(path),
        path.read_text(encoding="utf-8"),
        out,
        as_json=as_json,
        quiet=quiet,
        verbose=verbose,
    )


def _road(recipe: Any, text: str, out: Path | None, *, as_json: bool, quiet: bool, verbose: bool) -> int:
    from luthier import workflow

    if follows():
        workflow.follow(recipe)
        return 0
    opened = begun(recipe, text, out)
    with opened.locked(), show.progress(quiet=quiet, as_json=as_json) as bar:
        result = workflow.run_all(recipe, opened, bar)
    return tell(result, as_json=as_json, verbose=verbose)
