"""Options that several commands share, and the recipe they add up to."""

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from luthier.cli import show

if TYPE_CHECKING:
    from luthier.core.report import Report
    from luthier.core.run import Run
    from luthier.recipe.schema import Recipe

PRETRAIN = "train.objective=pretrain"
"""What is done with plain text where nobody said what: a conversation can't be made of it."""

Command = TypeVar("Command", bound=Callable[..., Any])


def recipe_options(command: Command) -> Command:
    """Add RECIPE, and the options that stand for the common parts of one."""
    for add in (
        click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change one recipe value."),
        click.option("--technique", metavar="NAME", help="lora, ia3 or full."),
        click.option("--format", "data_format", metavar="NAME", help="Shape of the rows; auto when left out."),
        click.option("--model", metavar="NAME", help="A local folder, a hub name, or `bundled`."),
        click.option("--data", multiple=True, metavar="PATH", help="File, folder or glob; repeatable."),
        click.argument("recipe", required=False, type=click.Path(path_type=Path)),
    ):
        command = add(command)
    return command


def out_option(command: Command) -> Command:
    """Add `--out`."""
    text = "The run directory; default runs/<date>-<name>."
    return click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help=text)(command)


def continue_option(command: Command) -> Command:
    """Add `--continue-from`."""
    text = "Begin a new run with the weights of an earlier one: a run, its model folder, or a checkpoint."
    return click.option("--continue-from", type=click.Path(path_type=Path), metavar="DIR", help=text)(command)


def benchmark_options(command: Command) -> Command:
    """Add `--benchmarks`, and what is asked of all that it names."""
    for add in (
        click.option(
            "--include", multiple=True, metavar="DIR", help="A folder with tasks of your own; Python they name is run."
        ),
        click.option("--data-dir", type=click.Path(path_type=Path), metavar="DIR", help="Their files; else the hub."),
        click.option("--shots", type=click.IntRange(min=0), metavar="N", help="Examples before each question."),
        click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Items of each task; else all."),
        click.option("--benchmarks", metavar="NAMES", help="Tasks of lm-evaluation-harness: gsm8k,mmlu,hellaswag."),
    ):
        command = add(command)
    return command


def benchmark_changes(
    benchmarks: str | None, *, limit: int | None, shots: int | None, data_dir: Path | None, include: Sequence[str] = ()
) -> tuple[str, ...]:
    """Return the changes of a recipe that options about benchmarks stand for.

    Raises:
        RecipeError: None is named, and they say how, or that there are some.
    """
    from luthier.core.errors import RecipeError

    how = {name: value for name, value in (("limit", limit), ("shots", shots)) if value is not None}
    if benchmarks is None and how:
        raise RecipeError(f"`--{min(how)}` is of `--benchmarks`, which names none", hint="add `--benchmarks gsm8k`")
    changes = [] if data_dir is None else [f"evaluate.data_dir={json.dumps(str(data_dir))}"]
    changes += [f"evaluate.include={json.dumps(include)}"] if include else []
    if benchmarks is not None:
        named = [{"task": name.strip(), **how} for name in benchmarks.split(",") if name.strip()]
        if not named:
            raise RecipeError("`--benchmarks` names none", hint="name some: `--benchmarks gsm8k,mmlu`")
        changes.append(f"evaluate.benchmarks={json.dumps(named)}")
    return tuple(changes)


def without_data(*changes: str) -> dict[str, Any]:
    """Return the rows and changes of a recipe that has no rows of the user's."""
    from luthier.recipe.data import NONE

    return {"data": NONE, "overrides": ("name=benchmarks", "train.objective=sft", *changes)}


def nproc_option(command: Command) -> Command:
    """Add `--nproc`."""
    text = "Train with so many processes of this machine: one for each GPU."
    return click.option("--nproc", type=click.IntRange(min=1), metavar="N", help=text)(command)


def started(nproc: int | None) -> int | None:
    """Start the processes that `--nproc` asks for and return their exit code; None in one of them, or where one does.

    Raises:
        RecipeError: Another number of processes was started already.
    """
    from luthier.core.errors import RecipeError
    from luthier.core.processes import place, start

    size = place().size
    if nproc is None or nproc == size:
        return None
    if size > 1:
        raise RecipeError(
            f"`--nproc {nproc}` was asked, and {size} processes were started by something else",
            hint="leave out `--nproc`",
        )
    return start(nproc, [sys.executable, "-m", "luthier", *click.get_current_context().obj])


def follows() -> bool:
    """Return whether this is one of several processes, and not the first: it trains with it, and tells nothing."""
    from luthier.core.processes import place

    return place().rank > 0


def output_options(command: Command) -> Command:
    """Add `--json`, `-q` and `-v`."""
    for add in (
        click.option("-v", "--verbose", is_flag=True, help="Tell everything."),
        click.option("-q", "--quiet", is_flag=True, help="No progress."),
        click.option("--json", "as_json", is_flag=True, help="The report as one JSON object on stdout."),
    ):
        command = add(command)
    return command


@dataclass(frozen=True, slots=True)
class Judging:
    """What the command line says of a judge."""

    changes: tuple[str, ...]
    """Recipe values that stand for its options."""
    yes: bool

    def agree(self, cost: str) -> bool:
        """Return whether somebody agrees to a cost: `--yes` did, or whoever is at the terminal does."""
        if self.yes or not (sys.stdin.isatty() and sys.stderr.isatty()):
            return self.yes
        show.say(cost)
        return click.confirm("Go ahead?", default=False, err=True)


def judge_options(command: Command) -> Command:
    """Add the options of a judge; the command gets them as `judge`."""

    @wraps(command)
    def with_judge(
        *, judge_url: str | None, judge_model: str | None, judge_key_env: str | None, yes: bool, **rest: Any
    ) -> Any:
        named = {"url": judge_url, "model": judge_model, "key_env": judge_key_env}
        changes = (f"evaluate.judge.{name}={json.dumps(value)}" for name, value in named.items() if value is not None)
        return command(judge=Judging(tuple(changes), yes), **rest)

    for add in (
        click.option("--yes", is_flag=True, help="Ask the judge, whatever it costs; a budget still holds."),
        click.option("--judge-key-env", metavar="VARIABLE", help="The environment variable that holds its key."),
        click.option("--judge-model", metavar="NAME", help="Its name there."),
        click.option("--judge", "judge_url", metavar="URL", help="An OpenAI-compatible model that judges the answers."),
    ):
        with_judge = add(with_judge)
    return with_judge  # type: ignore[return-value]


def hello(text: str, *, quiet: bool) -> None:
    """Say what begins, before anything heavy is imported."""
    if not quiet:
        show.say(text)


def tell(report: "Report", *, as_json: bool, verbose: bool) -> int:
    """Print a stage's report and return the exit code: 1 when it failed, as a certificate may, 3 for a gate's no."""
    show.report(report, as_json=as_json, verbose=verbose)
    levels = {finding.level for finding in report.findings}
    return 1 if "failure" in levels else 3 if "gate" in levels else 0


def given_recipe(
    recipe: Path | None,
    *,
    data: tuple[str, ...],
    model: str | None,
    data_format: str | None,
    technique: str | None,
    overrides: tuple[str, ...],
    continue_from: Path | None = None,
) -> "tuple[Recipe, str]":
    """Return the recipe a command line adds up to, and the text to keep of it.

    With a recipe file, `--data`, `--model`, `--format` and `--technique` override it; without, they make one, in which
    plain text is learned as what it is.
    """
    from luthier.core.errors import RecipeError
    from luthier.recipe.load import load_recipe, parse_recipe, recipe_text
    from luthier.recipe.write import to_yaml

    shorthand = [f"data.sources={json.dumps([*data])}"] if data else []
    parent = None if continue_from is None else str(continue_from)
    for key, value in (
        ("model", model),
        ("data.format", data_format),
        ("train.technique", technique),
        ("train.continue_from", parent),
    ):
        if value is not None:
            shorthand.append(f"{key}={json.dumps(value)}")
    changes = [*shorthand, *overrides]
    if recipe is not None:
        return load_recipe(recipe, changes), recipe_text(recipe, changes)
    if not data or model is None:
        missing = " and ".join(name for name, given in (("`--data`", data), ("`--model`", model)) if not given)
        raise RecipeError(
            f"no recipe was named, and without one {missing} must be given",
            hint="name a recipe file, or give `--data FILE --model NAME`; `--model bundled` works offline",
        )
    named = f"name: {json.dumps(_slug(Path(data[0]).stem))}\n"
    made = parse_recipe(named, file="the command line", overrides=changes)
    if not any(change.startswith(("train.objective", "train=")) for change in changes):
        from luthier import workflow

        if workflow.only_text(made):
            made = parse_recipe(named, file="the command line", overrides=[*changes, PRETRAIN])
            hello("these are plain text: `train.objective` is `pretrain`", quiet=_is_quiet())
    return made, to_yaml(made, comments=False)


def _is_quiet() -> bool:
    context = click.get_current_context(silent=True)
    return bool(context and context.params.get("quiet"))


def _slug(text: str) -> str:
    """Return a name a folder may have, from a file's."""
    return (
        "".join(letter if letter.isascii() and (letter.isalnum() or letter in "._-") else "-" for letter in text).strip(
            "-._"
        )
        or "run"
    )


def run_folder(recipe: "Recipe", out: Path | None) -> Path:
    """Return `--out`; else the run this recipe began and did not finish; else today's folder for its name."""
    from luthier import workflow

    return out or workflow.run_folder(recipe)


def begun(recipe: "Recipe", text: str, out: Path | None) -> "Run":
    """Return the run directory of a command."""
    from luthier import workflow

    return workflow.begin(recipe, text, run_folder(recipe, out))
