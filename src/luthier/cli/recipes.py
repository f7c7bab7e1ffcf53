"""Writing, checking and understanding recipes."""

from pathlib import Path
from typing import Any

import click

from luthier.cli import show
from luthier.cli.options import given_recipe, hello, output_options, recipe_options, tell


@click.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change one recipe value.")
@output_options
def check(*, recipe: Path, overrides: tuple[str, ...], as_json: bool, quiet: bool, verbose: bool) -> None:
    """Validate RECIPE without running it: every problem at once, with file, line and a hint."""
    hello(f"luthier check {recipe} …", quiet=quiet)
    from luthier import workflow
    from luthier.core.report import Report
    from luthier.recipe.load import load_recipe

    loaded = load_recipe(recipe, overrides)
    workflow.check(loaded)
    if quiet and not as_json:
        return
    tell(
        Report(
            title="Recipe",
            summary=f"{recipe} is a valid recipe.",
            data={"recipe": loaded.model_dump(mode="json"), "file": str(recipe), "dialect": "luthier"},
            next_steps=(
                f"luthier plan {recipe}  # what would be done, and why",
                f"luthier run {recipe}  # do it",
            ),
        ),
        as_json=as_json,
        verbose=verbose,
    )


@click.command()
@click.argument("key", required=False, default="")
def explain(*, key: str) -> None:
    """What a recipe KEY means, its values and its default; without KEY, all of them.

    \b
    luthier explain train.learning_rate
    luthier explain rank
    """
    from luthier.recipe.explain import explain as look_up

    click.echo("\n".join(look_up(key).lines()))


@click.command()
@recipe_options
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    default=Path("recipe.yaml"),
    show_default=True,
    help="Where to write it.",
)
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@output_options
def init(*, out: Path, force: bool, as_json: bool, quiet: bool, verbose: bool, **asked: Any) -> None:
    """Write a commented recipe for your data, model and machine, every choice with its reason.

    \b
    luthier init --data tickets.csv --model bundled
    """
    hello("luthier init: looking at data, model and machine …", quiet=quiet)
    from luthier import workflow

    recipe, _ = given_recipe(**asked)
    with show.progress(quiet=quiet, as_json=as_json) as bar:
        result = workflow.init(recipe, out, force=force, progress=bar)
    tell(result, as_json=as_json, verbose=verbose)


@click.command()
@recipe_options
@click.option("--limit", type=click.IntRange(min=1), default=5, show_default=True, help="Rows to show.")
@click.option("--all", "everything", is_flag=True, help="Show every row.")
@click.option("--split", type=click.Choice(["train", "valid", "test"]), help="Rows of one split only.")
@click.option("--template", metavar="NAME|FILE", help="Show where another chat template gives other tokens.")
@click.option(
    "--against",
    metavar="TARGET",
    help="Compare prompts with a vLLM or llama.cpp server (URL), a .gguf file, or an Ollama Modelfile or template.",
)
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write a page as well.")
@output_options
def inspect(  # noqa: PLR0913 - one argument an option
    *,
    limit: int,
    everything: bool,
    split: str | None,
    template: str | None,
    against: str | None,
    html: Path | None,
    as_json: bool,
    quiet: bool,
    verbose: bool,
    **asked: Any,
) -> int:
    """Show real rows token by token: learned, not learned, cut, left out. Nothing is trained, nothing is kept.

    \b
    luthier inspect recipe.yaml --html rows.html
    luthier inspect --data tickets.csv --model bundled --template chatml
    luthier inspect recipe.yaml --against http://localhost:8000 --limit 100
    """
    hello("luthier inspect: reading the recipe …", quiet=quiet)
    from luthier import workflow
    from luthier.core.files import write_text
    from luthier.core.html import to_html

    recipe, _ = given_recipe(**asked)
    with show.progress(quiet=quiet, as_json=as_json) as bar:
        result = workflow.inspect(
            recipe,
            limit=None if everything else limit,
            split=split or "",
            template=template,
            against=against,
            progress=bar,
        )
    if html is not None:
        write_text(html, to_html(result))
        hello(f"{html} is written", quiet=quiet)
    return tell(result, as_json=as_json, verbose=verbose)
