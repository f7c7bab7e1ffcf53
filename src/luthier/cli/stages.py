"""One command a stage."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

import click

from luthier.cli import show
from luthier.cli.options import (
    Judging,
    begun,
    benchmark_changes,
    benchmark_options,
    continue_option,
    follows,
    given_recipe,
    hello,
    judge_options,
    nproc_option,
    out_option,
    output_options,
    recipe_options,
    started,
    tell,
    without_data,
)
from luthier.cli.people import Face, people_options


class Quant(click.ParamType[str]):
    """A type of weights the recipe knows. Looked up when a value is given: the schema takes time to import."""

    name = "TYPE"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the value, or refuse it with the ones that are known."""
        from luthier.recipe.methods import Gguf

        known: tuple[str, ...] = get_args(Gguf.model_fields["quant"].annotation)
        if value not in known:
            self.fail(f"`{value}` is none of {', '.join(known)}", param, ctx)
        return value


@click.command()
@recipe_options
@out_option
@output_options
def prepare(*, out: Path | None, as_json: bool, quiet: bool, verbose: bool, **asked: Any) -> None:
    """Raw files to clean, converted, split data, every dropped row accounted for.

    \b
    luthier prepare --data tickets.csv --model bundled
    luthier prepare recipe.yaml --set data.split.valid=0.2
    """
    hello("luthier prepare: reading the recipe …", quiet=quiet)
    if asked["model"] is None and asked["recipe"] is None:  # the data needs none
        asked["model"] = "bundled"
        if not any(change.startswith("model=") for change in asked["overrides"]):
            told = "no model was named: tokens are counted by the bundled one's tokenizer; `--model` names yours"
            hello(told, quiet=quiet)
    recipe, text = given_recipe(**asked)
    from luthier import workflow

    run = begun(recipe, text, out)
    with run.locked(), show.progress(quiet=quiet, as_json=as_json) as bar:
        result = workflow.prepare(recipe, run, bar)
    tell(result, as_json=as_json, verbose=verbose)


@click.command()
@recipe_options
@output_options
def plan(*, as_json: bool, quiet: bool, verbose: bool, **asked: Any) -> None:
    """Steps, memory, rates and lengths, each with its reason. Changes nothing."""
    hello("luthier plan: reading the recipe …", quiet=quiet)
    recipe, _ = given_recipe(**asked)
    from luthier import workflow

    with show.progress(quiet=quiet, as_json=as_json) as bar:
        result = workflow.preview(recipe, bar)
    tell(result, as_json=as_json, verbose=verbose)


@click.command()
@recipe_options
@out_option
@continue_option
@click.option("--resume", is_flag=True, help="Insist on going on with a run that was begun before.")
@nproc_option
@output_options
def train(
    *, out: Path | None, resume: bool, nproc: int | None, as_json: bool, quiet: bool, verbose: bool, **asked: Any
) -> int:
    """Prepare, plan and train; from the last checkpoint if there is one.

    The same command again goes on where the last one stopped. With `--resume` it must find such a run, and with
    `--continue-from` a new run begins with the weights of an old one.
    """
    code = started(nproc)
    if code is not None:
        return code
    hello("luthier train: reading the recipe …", quiet=quiet or follows())
    recipe, text = given_recipe(**asked)
    from luthier import workflow
    from luthier.cli.options import run_folder
    from luthier.core.run import Run

    if follows():
        workflow.follow(recipe)
        return 0
    if resume:
        Run.open(run_folder(recipe, out))
    run = begun(recipe, text, out)
    with run.locked(), show.progress(quiet=quiet, as_json=as_json) as bar:
        result = workflow.train(recipe, run, bar)
    return tell(result, as_json=as_json, verbose=verbose)


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--to", type=click.Choice(["tensorboard", "wandb", "mlflow", "trackio"]), required=True, help="Where.")
@output_options
def track(*, run: Path, to: str, **output: bool) -> int:
    """Show RUN's training in a tracker, made from its events; `train.track` does it while a run trains."""
    return _on_run("track", run, lambda verbs, recipe, opened, _bar: verbs.track(recipe, opened, to), **output)


@click.command()
@click.argument("run", required=False, type=click.Path(path_type=Path))
@click.option("--model", "models", multiple=True, metavar="NAME", help="Without RUN: a model; repeatable. See below.")
@click.option("--against", metavar="NAME", help="Without RUN: the model they are compared with; an adapter's base.")
@click.option("--key-env", metavar="NAME", help="The environment variable that holds the key of an endpoint.")
@click.option("--data", multiple=True, metavar="PATH", help="Without RUN: the rows, all of which are measured.")
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="A recipe value; of RUN its judge's or people's."
)
@judge_options
@people_options
@benchmark_options
@out_option
@output_options
def evaluate(  # noqa: PLR0913 - each is an option of its own
    *,
    run: Path | None,
    models: tuple[str, ...],
    against: str | None,
    key_env: str | None,
    data: tuple[str, ...],
    overrides: tuple[str, ...],
    judge: Judging,
    people: Face | None,
    out: Path | None,
    benchmarks: str | None,
    limit: int | None,
    shots: int | None,
    data_dir: Path | None,
    include: tuple[str, ...],
    **output: bool,
) -> int:
    """Compare base and tuned model of RUN on its held-out rows, or any models on rows of yours or by benchmarks.

    A model is a run, a folder with a model or an adapter, `bundled`, a hub name, a GGUF file, or one behind an
    OpenAI-compatible endpoint, `https://host/v1#name`.

    \b
    luthier evaluate runs/2026-11-21-tickets
    luthier evaluate --model runs/a --model runs/b --against base/ --data test.jsonl
    luthier evaluate runs/2026-11-21-tickets --human
    luthier evaluate --model tuned/ --against base/ --data test.jsonl --set evaluate.metrics='[exact_match]'
    luthier evaluate --model tuned/ --against base/ --benchmarks gsm8k,mmlu --limit 100 --data-dir benchmarks/
    """
    from luthier.core.errors import RecipeError

    asked = benchmark_changes(benchmarks, limit=limit, shots=shots, data_dir=data_dir, include=include)
    of_others = [change for change in overrides if not change.startswith(("evaluate.judge.", "evaluate.people."))]
    given = {"--model": models, "--against": against, "--data": data, "--set": of_others, "--out": out}
    given["--key-env"] = key_env
    if run is not None:
        extra = [name for name, value in given.items() if value]
        if extra:
            hint = "change its recipe.yaml, or leave out RUN"
            raise RecipeError(
                f"{extra[0]} says what is measured where there is no RUN, and `{run}` is named", hint=hint
            )

        def verb(verbs: Any, recipe: Any, opened: Any, bar: Any) -> Any:
            if people is not None:
                return verbs.ask_people(recipe, opened, people)
            return verbs.evaluate(recipe, opened, bar, agree=judge.agree)

        return _on_run("evaluate", run, verb, (*asked, *judge.changes, *overrides), **output)
    if people is not None:
        raise RecipeError(
            "`--human` shows the answers of an evaluation that is finished",
            hint="name its RUN: `luthier evaluate RUN --human`",
        )
    tasks = benchmarks or any(change.startswith("evaluate.benchmarks") for change in overrides)
    if not models or not (data or tasks):
        hint = "name a run, or give `--model NAME --against NAME` and `--data FILE` or `--benchmarks NAMES`"
        raise RecipeError("nothing says what is to be compared", hint=hint)
    changes = (*overrides, *asked, *judge.changes)
    rows = {"data": data, "overrides": changes} if data else without_data(*changes)
    named = {"others": models[1:], "key_variable": key_env, "agree": judge.agree}
    return _models({"model": models[0], **rows}, out, against, named, **output)


def _models(
    asked: dict[str, Any],
    out: Path | None,
    against: str | None,
    named: dict[str, Any],
    *,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> int:
    hello(f"luthier evaluate {asked['model']} …", quiet=quiet)
    recipe, text = given_recipe(None, data_format=None, technique=None, **asked)
    from luthier import workflow

    folder = out or workflow.fresh_folder(f"{recipe.name}-evaluate")
    opened = workflow.begin(recipe, text, folder)
    with opened.locked(), show.progress(quiet=quiet, as_json=as_json) as bar:
        result = workflow.evaluate_models(recipe, against, opened, bar, **named)
    return tell(result, as_json=as_json, verbose=verbose)


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@output_options
def merge(*, run: Path, **output: bool) -> int:
    """Fold RUN's adapter into its base, streamed, with a certificate that nothing changed."""
    return _on_run("merge", run, lambda verbs, *work: verbs.merge(*work), **output)


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--to", "target", type=click.Choice(["gguf"]), default="gguf", show_default=True, help="What to make.")
@click.option(
    "--quant", type=Quant(), default="q8_0", show_default=True, help="Weights: f32 to q2_k, see `explain quant`."
)
@output_options
def export(*, run: Path, target: str, quant: str, **output: bool) -> int:
    """Make a GGUF file of RUN's model, load it back in llama.cpp, and compare."""

    def verb(verbs: Any, recipe: Any, opened: Any, bar: Any) -> Any:
        from luthier.recipe.methods import Gguf

        chosen = Gguf.model_validate({"to": target, "quant": quant})
        return verbs.export(recipe, opened, [chosen], bar)[0]

    return _on_run("export", run, verb, **output)


def _on_run(
    name: str,
    run: Path,
    verb: Callable[..., Any],
    changes: Sequence[str] = (),
    /,
    *,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> int:
    """Do a verb of the workflow on a run that is there, and tell its report."""
    hello(f"luthier {name} {run} …", quiet=quiet)
    from luthier import workflow

    recipe, opened = workflow.reopen(run, changes)
    with opened.locked(), show.progress(quiet=quiet, as_json=as_json) as bar:
        result = verb(workflow, recipe, opened, bar)
    return tell(result, as_json=as_json, verbose=verbose)
