"""The verbs: a recipe and a run directory in, a report out. Every stitching of stages is here and only here.

Stages are imported inside the verbs: `luthier check` must not wait for torch. A verb whose stage is finished, for
the same recipe, data and model, returns the stored report without doing it again; so `run` goes on where it stopped.
"""

import importlib.util
import platform
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from luthier import onepage
from luthier.core.errors import DataError, LuthierError, MissingExtra, Problems, RecipeError, RunError
from luthier.core.files import digest, known_sha256, write_json, write_text
from luthier.core.hardware import hardware
from luthier.core.processes import place
from luthier.core.progress import Progress, Silent
from luthier.core.publish import write_report
from luthier.core.report import Finding, Report
from luthier.core.run import Run
from luthier.recipe.data import Data
from luthier.recipe.load import load_kept_recipe
from luthier.recipe.methods import DeepSpeed, Gguf, headed
from luthier.recipe.options import locate
from luthier.recipe.schema import Recipe

if TYPE_CHECKING:
    from luthier.core.example import Example, Source
    from luthier.data.lengths import CountTokens
    from luthier.data.sources import SourceFile
    from luthier.evaluate.held_out import Examples
    from luthier.recipe.evaluate import Capability
    from luthier.recipe.facts import ModelFacts
    from luthier.recipe.plan import Plan
    from luthier.tokens.render import Encoded, Renderer
    from luthier.tokens.store import Stored
    from luthier.train.parallel import World

CERTIFIED_ROWS = 16
"""Held-out rows a certificate compares. Each gives dozens of positions; more only takes longer."""

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


# The run directory -----------------------------------------------------------------------------------------


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
            run.log("state", state="begun", versions=_versions())
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


def reopen(path: Path) -> tuple[Recipe, Run]:
    """Return an existing run and the recipe it was begun with.

    Raises:
        RunError: There is no run in that folder.
    """
    run = Run.open(path)
    return load_kept_recipe(run / "recipe.yaml"), run


def _learning(recipe: Recipe) -> dict[str, Any]:
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


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _stored(title: str, view: dict[str, Any]) -> Report:
    """Return the report of a stage that was finished before."""
    return Report.from_dict(title, view, Finding("note", "this was done before; nothing was done again"))


def _unchanged(run: Run, stage: str, key: str, what: str) -> None:
    """Refuse to replace what a training that has begun rests on."""
    before = run.manifest()["stages"].get(stage)
    if before is not None and before["key"] != key and any((run / "checkpoints").glob("step-*")):
        raise RunError(
            f"{what} changed since this run was begun, and it has checkpoints",
            hint="start a new run with another `--out`, or put back what was changed",
            place=str(run.path),
        )


def _need_methods(recipe: Recipe) -> None:
    """Say which extra a method of the recipe needs, and what is wrong with a metric, while nothing is lost yet."""
    options, metrics = recipe.train, recipe.evaluate.metrics
    named = (options.technique, options.objective, options.optimizer, options.schedule, *options.track, *metrics)
    for method in named:
        if method.needs is not None:
            _need(method.needs[0], extra=method.needs[1])
    for metric in metrics:
        locate(metric)(metric)
    _capability_files(recipe)


def _need(*packages: str, extra: str) -> None:
    """Say which extra is missing before anything long begins."""
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise MissingExtra(package, extra=extra)


# Prepare ---------------------------------------------------------------------------------------------------


def prepare(recipe: Recipe, run: Run, progress: Progress | None = None) -> Report:
    """Read, convert, clean, split: raw files to `run/data`, every dropped row with its reason."""
    from luthier.data.clean.vocabulary import special_tokens
    from luthier.data.lengths import Tokenizer
    from luthier.data.prepare import prepare as prepare_data
    from luthier.model.facts import tokenizer_file

    data, names = _sources(recipe, run)
    privacy = data.clean.privacy
    if privacy.ner is not None and privacy.ner.needs is not None:
        _need(privacy.ner.needs[0], extra=privacy.ner.needs[1])
    if data.clean.language:
        _need("py3langid", extra="data")
    train = recipe.train
    rows = train.objective.rows
    inputs = _inputs(recipe, data, names)
    vocabulary = tokenizer_file(recipe.model)
    special = special_tokens(vocabulary)
    secret = Path(privacy.key or "").expanduser()
    drawn_with = known_sha256(secret) if secret.is_file() else None
    counted_with = known_sha256(vocabulary) if vocabulary else None
    asked = [recipe.data.model_dump(mode="json", exclude={"processes"}), rows, train.max_length, train.too_long]
    key = digest([asked, inputs, drawn_with, counted_with])
    finished = run.finished("prepare", key)
    if finished is not None:
        return _stored("Dataset Validation Report", finished)
    _unchanged(run, "prepare", key, _changed_sources(run, inputs))
    run.log("stage", stage="prepare", state="began")
    report = prepare_data(
        data,
        run / "data",
        rows=rows,
        shown_as=names,
        progress=progress or Silent(),
        tokenizer=Tokenizer(_counter(recipe, data, names), special),
        train=train,
    )
    files = sorted(path for path in (run / "data").rglob("*") if path.is_file())
    run.finish("prepare", key=key, report=report.as_dict(), files=files, inputs=inputs)
    return report


def only_text(recipe: Recipe) -> bool:
    """Say whether the first rows of a recipe's sources are plain text, of which no conversation can be made."""
    from luthier.data.first import are_plain_text

    return are_plain_text(_sources(recipe)[0])


def _counter(recipe: Recipe, data: Data, names: dict[Path, str]) -> "Callable[[], CountTokens] | None":
    """Return what makes a counter of tokens: the model's tokenizer, where it is here and counts fast enough."""
    from luthier.data.sources import files_of
    from luthier.model.facts import tokenizer_file

    file = tokenizer_file(recipe.model)
    if file is None or importlib.util.find_spec("tokenizers") is None:
        return None
    from luthier.tokens.count import countable, counter

    size = sum(source.size for _, source in files_of(data, names, rows=recipe.train.objective.rows))
    return partial(counter, file, size) if countable(file, size) else None


def _changed_sources(run: Run, inputs: list[list[str]]) -> str:
    """Return the source files that are others than when the rows were prepared, in words."""
    now = dict(inputs)
    before = dict(run.manifest()["stages"].get("prepare", {}).get("inputs", []))
    named = [f"`{name}`" for name in sorted({*now, *before}) if now.get(name) != before.get(name)]
    return ", ".join(named[:5]) if named else "the way data are prepared"


def _sources(recipe: Recipe, run: Run | None = None) -> tuple[Data, dict[Path, str]]:
    """Return the data options with `bundled` and what is elsewhere as files, and the names under which they are shown.

    What is elsewhere (piped in, on the hub) is fetched for a run; without one it is left out.
    """
    from luthier.bundled import sample_paths
    from luthier.data.fetched import fetch, is_elsewhere

    resolved: dict[str, tuple[str, ...]] = {}
    names: dict[Path, str] = {}
    for field in ("sources", "valid_sources", "test_sources"):
        asked: tuple[str, ...] = getattr(recipe.data, field)
        named = [str(path) for each in asked for path in (sample_paths() if each == "bundled" else [each])]
        if "bundled" in asked:
            names |= {path: f"bundled/{path.name}" for path in sample_paths()}
        if run is None:
            here = [source for source in named if not is_elsewhere(source)]
        else:
            here, shown = fetch(named, run.path)
            names |= shown
        resolved[field] = tuple(here)
    return recipe.data.model_copy(update=resolved), names


def _inputs(recipe: Recipe, data: Data, names: dict[Path, str]) -> list[list[str]]:
    """Return name and hash of every file that is read, so that changed data is prepared anew."""
    from luthier.data.leakage.evaluations import evaluation_files
    from luthier.data.sources import files_of

    found = [file for _, file in files_of(data, names, rows=recipe.train.objective.rows)]
    found += evaluation_files(recipe.data.decontaminate.against)
    return [[file.name, known_sha256(file.path)] for file in found]


# Tokens ----------------------------------------------------------------------------------------------------


def tokens(recipe: Recipe, run: Run, progress: Progress | None = None) -> Report:
    """Render and tokenise prepared rows into `run/tokens`, once; name those that can't be learned, and why."""
    _need("transformers", "numpy", extra="train")
    from luthier.recipe.plan import longest

    model = _model(recipe)
    prepared = prepare(recipe, run, progress).data
    max_length = longest(recipe, model)[0]
    key = _tokens_key(recipe, model, max_length, prepared["fingerprint"])
    finished = run.finished("tokens", key)
    if finished is not None:
        return _stored("Tokens", finished)
    _unchanged(run, "tokens", key, "the tokenizer, the chat template or the way rows are tokenised")

    from luthier.tokens.encode import Limits
    from luthier.tokens.stage import Tokens, tokenise

    run.log("stage", stage="tokens", state="began")
    mine = renderer(recipe, Path(model.path), _classes(recipe, run))
    report = tokenise(
        run / "data",
        Tokens(run / "tokens", key),
        mine,
        Limits(max_length, recipe.train.too_long),
        room=_room(recipe, model, mine),
        left_out=run / "left_out.jsonl",
        progress=progress or Silent(),
    )
    files = sorted(path for path in (run / "tokens").rglob("*") if path.is_file())
    run.finish("tokens", key=key, report=report.as_dict(), files=files)
    return report


def _classes(recipe: Recipe, run: Run) -> tuple[str, ...]:
    """Return the names of the classes a run learns to tell, none where its objective knows no classes."""
    from luthier.tokens.encode import class_names

    return class_names(run / "data" / "train.jsonl") if recipe.train.objective.rows == "class" else ()


def renderer(recipe: Recipe, model: Path, classes: Sequence[str] = ()) -> "Renderer":
    """Return the chat template a recipe asks for, with the tokenizer of a model folder."""
    from luthier.model.load import load_tokenizer, stop_ids
    from luthier.model.new_tokens import grow_tokenizer
    from luthier.tokens.render import Renderer
    from luthier.tokens.template import chosen

    options = recipe.train
    tokenizer = load_tokenizer(model)
    grow_tokenizer(tokenizer, options.new_tokens)
    return Renderer(
        tokenizer,
        stop_ids(model),
        template=chosen(options.template, options.template_options, tokenizer),
        source=options.template or ("the tokenizer's" if tokenizer.chat_template else "plain") + ", with options",
        learn=options.learn,
        rows=options.objective.rows,
        classes=classes,
        place=str(model),
    )


def _room(recipe: Recipe, model: "ModelFacts", mine: "Renderer") -> int:
    """Return how many tokens the model will have embeddings for: new ones get theirs."""
    new: list[int] = mine.tokenizer.convert_tokens_to_ids([*recipe.train.new_tokens])
    return max([model.vocabulary, *(number + 1 for number in new)])


def _tokens_key(recipe: Recipe, model: "ModelFacts", max_length: int, rows: str) -> str:
    """Return a hash over all that decides a token, without loading a tokenizer."""
    from luthier.model.facts import tokenizer_fingerprint
    from luthier.tokens import VERSION
    from luthier.tokens.template import template_text

    options = recipe.train
    return digest(
        [
            VERSION,
            rows,
            tokenizer_fingerprint(Path(model.path)),
            [options.template, options.template_options, template_text(options.template)],
            options.new_tokens,
            [options.learn, options.too_long, max_length, options.objective.rows],
        ]
    )


def inspect(
    recipe: Recipe,
    *,
    limit: int | None,
    split: str = "",
    template: str | None = None,
    against: str | None = None,
    progress: Progress | None = None,
) -> Report:
    """Show rows token by token, without leaving anything behind.

    Args:
        recipe: What would be trained.
        limit: How many rows, from the beginning of the files; None for all.
        split: `train`, `valid` or `test`; empty for the rows of all, and those that were dropped.
        template: Another template to compare with, as `train.template` names it.
        against: A server, a GGUF file or an Ollama template to compare prompts with.
        progress: Somebody who watches.
    """
    _need("transformers", "numpy", extra="train")
    from luthier.data.sources import files_of
    from luthier.recipe.plan import longest
    from luthier.tokens.encode import Limits
    from luthier.tokens.inspect import Looked, look, report
    from luthier.tokens.verify import verify

    model = _model(recipe)
    base = Path(model.path)
    limits = Limits(longest(recipe, model)[0], recipe.train.too_long)
    with tempfile.TemporaryDirectory(prefix="luthier-inspect-") as folder:
        run = Run(Path(folder))
        prepare(recipe, run, progress)
        data, names = _sources(recipe, run)
        files = [file.name for _, file in files_of(data, names, rows=recipe.train.objective.rows)]
        rows, total = _prepared(run, split, files, limit=limit)
        mine = renderer(recipe, base, _classes(recipe, run))
    checks = verify(mine, room=_room(recipe, model, mine))  # first: it finds a template that never ends
    looked: list[Looked] = []
    for source, example, reason in rows:
        looked += look(example, mine, limits) if example else [Looked(source, None, dropped=reason)]
    other = None
    if template is not None:
        changed = recipe.model_copy(update={"train": recipe.train.model_copy(update={"template": template})})
        other = renderer(changed, base, mine.classes), limits
    told = partial(report, looked, mine, checks=checks, total=total, other=other)
    if against is None:
        return told()
    from luthier.export.prompts import against as asked

    with asked(against, mine.tokenizer) as target:
        return told(against=(target.label, target.rows))


def _prepared(
    run: Run, split: str, files: Sequence[str], *, limit: int | None
) -> "tuple[list[tuple[Source, Example | None, str]], int]":
    """Return the first rows of one split or all, as they stand in the files, and how many there are.

    A row that preparing dropped has no example and a reason. Only the rows returned are in memory together.
    """
    import heapq
    import json

    from luthier.core.example import Source
    from luthier.tokens.encode import read_examples

    order = {name: place for place, name in enumerate(files)}
    total = 0

    def rows() -> "Iterator[tuple[Source, Example | None, str]]":
        nonlocal total
        for name in [split] if split else ["train", "valid", "test"]:
            path = run / "data" / f"{name}.jsonl"
            for example in read_examples(path) if path.is_file() else ():
                total += 1
                yield example.source, example, ""
        with (run / "data" / "dropped.jsonl").open("rb") as handle:
            for row in () if split else map(json.loads, handle):
                total += 1
                yield Source(row["source"], row["line"]), None, f"dropped while preparing: {row['reason']}"

    def place(row: "tuple[Source, Example | None, str]") -> tuple[int, int]:
        return order.get(row[0].file, len(order)), row[0].line

    first = sorted(rows(), key=place) if limit is None else heapq.nsmallest(limit, rows(), key=place)
    return first, total


# Plan ------------------------------------------------------------------------------------------------------


def plan(recipe: Recipe, run: Run, progress: Progress | None = None) -> Report:
    """Decide steps, rates, lengths and memory, each with its reason; kept in `run/plan.json`."""
    _model(recipe)  # as in `train`
    data = prepare(recipe, run, progress).data
    report, plan_key, decided = _decide(recipe, data, tokens(recipe, run, progress))
    finished = run.finished("plan", plan_key)
    if finished is not None:
        return _stored("Plan", finished)
    _unchanged(run, "plan", plan_key, "the base model (or luthier itself)")
    write_json(run / "plan.json", decided.as_dict())
    run.finish("plan", key=plan_key, report=report.as_dict(), files=[run / "plan.json"])
    return report


def preview(recipe: Recipe, progress: Progress | None = None) -> Report:
    """Return the plan of a recipe without leaving anything behind: data is prepared in a temporary folder.

    Where Transformers is not installed, lengths are estimated and the template is not looked at.
    """
    _model(recipe)  # as in `train`
    recipe = _without_vault(recipe)
    with tempfile.TemporaryDirectory(prefix="luthier-plan-") as folder:
        run = Run(Path(folder))
        prepared = prepare(recipe, run, progress)
        counted = tokens(recipe, run, progress) if importlib.util.find_spec("transformers") else None
        planned = _decide(recipe, prepared.data, counted)[0]
    warned = (finding for finding in prepared.findings if finding.level == "warning")
    return replace(planned, findings=(*warned, *planned.findings))


def _without_vault(recipe: Recipe) -> Recipe:
    """Return the recipe such that preparing leaves no vault, which stands outside the run."""
    privacy = recipe.data.clean.privacy.model_copy(update={"vault": None})
    clean = recipe.data.clean.model_copy(update={"privacy": privacy})
    return recipe.model_copy(update={"data": recipe.data.model_copy(update={"clean": clean})})


def _decide(recipe: Recipe, data: dict[str, Any], counted: Report | None) -> tuple[Report, str, "Plan"]:
    from luthier.model.facts import facts
    from luthier.recipe.facts import RowFacts
    from luthier.recipe.plan import plan as decide

    model = facts(recipe.model)
    if counted is None:
        lengths, splits = data["tokens"]["total"], data["splits"]
        rows = RowFacts(splits["train"], splits["valid"], lengths["mean"], lengths["max"], data["fingerprint"])
    else:
        train, valid = (counted.data["splits"].get(split) for split in ("train", "valid"))
        mean = round(train["tokens"] / train["rows"], 1)
        held_back = valid["rows"] if valid else 0
        rows = RowFacts(train["rows"], held_back, mean, train["longest"], data["fingerprint"])
    machine = hardware()
    decided = decide(recipe, model, rows, machine)
    key = digest([_learning(recipe), model.as_dict(), rows.as_dict()])
    return onepage.plan_report(recipe, decided, model, rows, machine, counted), key, decided


def _kept_plan(run: Run) -> "Plan":
    import json

    from luthier.recipe.plan import Plan

    return Plan.from_dict(json.loads((run / "plan.json").read_text(encoding="utf-8")))


# Train -----------------------------------------------------------------------------------------------------


def train(recipe: Recipe, run: Run, progress: Progress | None = None) -> Report:
    """Train as planned, from the run's last checkpoint if it has one; the result is in `run/model`."""
    _need("torch", "transformers", "peft", extra="train")
    _need_methods(recipe)
    watcher = progress or Silent()
    _model(recipe)  # a wrong name is told before the data are prepared
    _way(recipe)
    parent_weights(recipe)  # this too
    where = place()
    if where.size == 1:
        plan(recipe, run, watcher)
        return _train(recipe, run, watcher)

    from luthier.train.parallel import joined

    with joined(where) as world:
        world.from_first(lambda: (plan(recipe, run, watcher), str(run.path.absolute()))[1])
        return _train(recipe, run, watcher, world)


def _way(recipe: Recipe) -> None:
    """Look whether what says how processes share the work, where that is a file, can be done."""
    from luthier.recipe.deepspeed import accepted

    if isinstance(recipe.train.parallel, DeepSpeed):
        accepted(recipe.train.parallel, recipe.train)


def follow(recipe: Recipe) -> Report:
    """Take part in a training that another process leads: what `train` is in every process but the first.

    The report is empty: the first process tells.
    """
    _need("torch", "transformers", "peft", extra="train")
    from luthier.train.parallel import joined

    with joined(place()) as world:
        run = Run.open(Path(world.from_first(str)), writes=False)
        return _train(recipe, run, Silent(), world)


def _train(recipe: Recipe, run: Run, watcher: Progress, world: "World | None" = None) -> Report:
    """Train on a run that has its plan; in a process that follows, the report is an empty one."""
    decided, model = _kept_plan(run), _model(recipe)
    # Values only: a reason may tell how much memory was free.
    values = [entry["value"] for entry in decided.as_dict().values()]
    token_key = run.manifest()["stages"]["tokens"]["key"]
    parent = parent_weights(recipe)
    inherited = [known_sha256(parent)] if parent else []
    key = digest([values, _learning(recipe), model.fingerprint, token_key, *inherited])
    if world is not None:
        world.same(key, "recipe, model or plan")
    finished = run.finished("train", key)
    if finished is not None:
        return _stored("Training", finished)

    from luthier.evaluate.likelihood import row_nll
    from luthier.train.stage import train_model
    from luthier.train.work import HeldOut

    def held_out(trained: Any, rows: Any, capacity: int, precision: str) -> HeldOut:
        measured = row_nll(trained, rows, capacity=capacity, precision=precision, progress=Silent())
        tokens = int(measured.tokens_R.sum())
        return HeldOut(float(measured.nll_R.sum()) / tokens, tokens)

    base = Path(model.path)
    report = train_model(
        recipe,
        decided,
        run,
        renderer=renderer(recipe, base),
        base=base,
        key=key,
        held_out=held_out,
        progress=watcher,
        world=world,
        parent=parent,
    )
    if report is None:
        return Report(title="Training", summary="The first process tells.", data={})
    told = run.manifest()["stages"]["tokens"]["report"]["findings"]  # rows left out, before anything else
    report = replace(report, findings=(*(Finding(**entry) for entry in told), *report.findings))
    write_report(report, run / "train")
    files = sorted(path for path in (run / "model").rglob("*") if path.is_file())
    about = {"base": model.fingerprint, "hardware": hardware().as_dict(), "versions": _versions()}
    if parent:
        about["parent"] = {"path": str(parent), "sha256": inherited[0]}
    run.finish("train", key=key, report=report.as_dict(), files=files, **about)
    return report


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


def _model(recipe: Recipe) -> "ModelFacts":
    from luthier.model.facts import facts

    return facts(recipe.model)


def _trained(recipe: Recipe, run: Run) -> tuple[dict[str, Any], Path]:
    """Return the manifest entry of a finished training, and the folder of the base it was trained on.

    Raises:
        RunError: The run has no trained model yet, or the base was exchanged since.
    """
    entry = run.manifest()["stages"].get("train")
    if entry is None:
        raise RunError(
            "this run has no trained model yet",
            hint=f"finish it: `luthier train {run.path}/recipe.yaml --out {run.path}`",
            place=str(run.path),
        )
    model = _model(recipe)
    if model.fingerprint != entry["base"]:
        raise RunError(
            f"the base model `{recipe.model}` is not the one this run was trained on: its files changed",
            hint="put the files back, or start a new run",
            place=model.path,
        )
    return entry, Path(model.path)


def _held_out(run: Run) -> Path | None:
    """Return the rows nobody learned from: the test split where there is one, else the validation split."""
    for name in ("test.jsonl", "valid.jsonl"):
        path = run / "data" / name
        if path.is_file() and path.stat().st_size:
            return path
    return None


def _stored_tokens(recipe: Recipe, run: Run, rows: Path, max_length: int) -> "Stored | None":
    """Return the tokens of prepared rows, where the run holds them as they would be made again."""
    from luthier.tokens.stage import SPLITS, open_tokens

    prepared = run.manifest()["stages"]["prepare"]["report"]
    key = _tokens_key(recipe, _model(recipe), max_length, prepared["fingerprint"])
    if rows.stem not in SPLITS or run.finished("tokens", key) is None:
        return None
    return open_tokens(run / "tokens", rows.stem)


# Track -----------------------------------------------------------------------------------------------------


def track(recipe: Recipe, run: Run, to: str) -> Report:
    """Show a run in a tracker, from its events: `tensorboard`, `wandb`, `mlflow` or `trackio`.

    With the options the recipe has for it, else the usual ones.
    """
    from luthier.recipe.schema import Train

    (usual,) = Train.model_validate({"track": [{"kind": to}]}, strict=False).track
    options = next((tracker for tracker in recipe.train.track if tracker.kind == to), usual)
    assert options.needs is not None, "a tracker is somebody else's package"
    _need(options.needs[0], extra=options.needs[1])

    from luthier.train.track.tracker import shown

    tracker = shown(run, recipe.model_dump(mode="json"), options)
    tracker.close()
    events = len(run.events())
    summary = f"{events:,} events of this run are shown in {type(options).__name__}."
    return Report("Tracking", summary, {"to": to, "events": events}, next_steps=(f"{tracker.look}  # look at it",))


# Evaluate --------------------------------------------------------------------------------------------------


def evaluate(recipe: Recipe, run: Run, progress: Progress | None = None) -> Report:
    """Compare base and tuned model on the held-out rows: perplexity, paired interval, answers side by side."""
    _need("torch", "transformers", "peft", extra="train")
    trained, base = _trained(recipe, run)
    asked = [[file.name, known_sha256(file.path)] for file in _capability_files(recipe)]
    key = digest([trained["files"], recipe.evaluate.model_dump(mode="json"), asked])
    finished = run.finished("evaluate", key)
    if finished is not None:
        return _stored("Evaluation", finished)

    rows = _held_out(run)
    if rows is None:
        raise DataError(
            "no row was held out, so there is nothing to compare on",
            hint="set `data.split.valid` above 0 and start a new run",
            place=str(run / "data"),
        )
    run.log("stage", stage="evaluate", state="began")
    evaluated = _scored if headed(recipe.train.objective) else _compared
    report = evaluated(recipe, run, base, rows, progress or Silent())
    files = sorted(path for path in (run / "evaluate").iterdir() if path.is_file())
    run.finish("evaluate", key=key, report=report.as_dict(), files=files)
    return report


def _scored(recipe: Recipe, run: Run, base: Path, rows: Path, progress: Progress) -> Report:
    """Return what the scores of a trained head are worth on held-out rows."""
    from collections import Counter

    from luthier.evaluate.scores import evaluate_scores
    from luthier.tokens.encode import Limits, in_memory, read_examples
    from luthier.tokens.stage import open_tokens

    decided, learned = _kept_plan(run), open_tokens(run / "tokens", "train")
    stored = _stored_tokens(recipe, run, rows, decided.max_length)
    if stored is None:
        limits = Limits(decided.max_length, recipe.train.too_long)
        with_classes = renderer(recipe, base, learned.classes)
        found: Sequence[Encoded] = in_memory(read_examples(rows), with_classes, limits, processes=1).rows
    else:
        found = stored
    return evaluate_scores(
        recipe_model=recipe.model,
        base_path=base,
        tuned_path=run / "model",
        rows=found,
        classes=learned.classes,
        usual=int(Counter(learned.labels.tolist()).most_common(1)[0][0]) if learned.classes else 0,
        capacity=decided.pack_tokens,
        gate=recipe.evaluate.gate,
        precision=decided.precision,
        out=run / "evaluate",
        progress=progress,
    )


def _compared(recipe: Recipe, run: Run, base: Path, rows: Path, progress: Progress) -> Report:
    """Return how base and tuned model compare in what they find likely."""
    from luthier.evaluate.compare import compare
    from luthier.recipe.methods import per_token
    from luthier.tokens.encode import Limits, read_examples

    decided = _kept_plan(run)
    with TemporaryDirectory() as folder:
        return compare(
            recipe_model=recipe.model,
            base_path=base,
            tuned_path=run / "model",
            examples=partial(read_examples, rows),
            stored=_stored_tokens(recipe, run, rows, decided.max_length),
            options=recipe.evaluate,
            capacity=decided.pack_tokens,
            limits=Limits(decided.max_length, recipe.train.too_long),
            learn=recipe.train.learn,
            rows=recipe.train.objective.rows,
            capabilities=[*_capabilities(recipe, Path(folder), progress)],
            precision=decided.precision,
            out=run / "evaluate",
            per_token=per_token(recipe.train.objective),
            progress=progress,
        )


def evaluate_models(recipe: Recipe, against: str, run: Run, progress: Progress | None = None) -> Report:
    """Compare two models that are there, the recipe's with another, on all rows of the recipe's data.

    Args:
        recipe: Names the model (a folder with a whole model or an adapter, a hub name) and the data.
        against: The model it is compared with; of an adapter its base.
        run: Where rows and report go.
        progress: Somebody who watches.
    """
    _need("torch", "transformers", "peft", extra="train")
    _need_methods(recipe)
    from luthier.data.prepare import prepare as prepare_data
    from luthier.evaluate.compare import compare
    from luthier.model.facts import facts, resolve
    from luthier.tokens.encode import Limits, read_examples

    watcher, base, rows = progress or Silent(), facts(against), recipe.train.objective.rows
    tuned = Path(recipe.model).expanduser()
    adapted = (tuned / "adapter_config.json").is_file()
    if not adapted:
        tuned = resolve(recipe.model)
    data, names = _sources(recipe)
    none_held_back = data.split.model_copy(update={"valid": 0.0, "test": 0.0})
    # A question asked twice counts twice.
    clean = data.clean.model_copy(update={"duplicates": False, "near_duplicates": False})
    data = data.model_copy(update={"split": none_held_back, "clean": clean})
    prepared = prepare_data(data, run / "data", rows=rows, shown_as=names, progress=watcher)
    contexts = [base.context, None if adapted else facts(recipe.model).context]
    longest = min([recipe.train.max_length, *(context for context in contexts if context)])
    with TemporaryDirectory() as folder:
        report = compare(
            recipe_model=against,
            base_path=Path(base.path),
            tuned_path=tuned,
            examples=partial(read_examples, run / "data" / "train.jsonl"),
            options=recipe.evaluate,
            capacity=longest,
            limits=Limits(longest, recipe.train.too_long),
            learn=recipe.train.learn,
            rows=rows,
            capabilities=[*_capabilities(recipe, Path(folder), watcher)],
            precision="bf16" if hardware().gpu_memory_bytes else "fp32",
            out=run / "evaluate",
            dropped=prepared.data["rows"]["dropped"],
            progress=watcher,
        )
    files = sorted(path for path in (run / "evaluate").iterdir() if path.is_file())
    run.finish("evaluate", key=digest([base.fingerprint, recipe.model]), report=report.as_dict(), files=files)
    return report


def _capability_files(recipe: Recipe) -> "list[SourceFile]":
    """Return the files whose rows measure what should not be lost; they must be there."""
    from luthier.data.sources import find_files

    return [
        file
        for asked in recipe.evaluate.capabilities
        for file in find_files(asked.files, rows="text" if asked.text else "conversation")
    ]


def _capabilities(recipe: Recipe, folder: Path, progress: Progress) -> "Iterator[tuple[Capability, Examples]]":
    """Yield what should not be lost, with its rows, prepared as training rows are but for duplicates and splits."""
    from luthier.data.prepare import prepare as prepare_data
    from luthier.evaluate.held_out import spread
    from luthier.recipe.data import Clean, Data, Split
    from luthier.tokens.encode import read_examples

    for number, asked in enumerate(recipe.evaluate.capabilities):
        data = Data(sources=asked.files, split=Split(valid=0.0), clean=Clean(duplicates=False, near_duplicates=False))
        out = folder / f"{number}"
        report = prepare_data(data, out, rows="text" if asked.text else "conversation", progress=progress)
        every = partial(read_examples, out / "train.jsonl")
        yield asked, spread(every, asked.limit, of=report.data["rows"]["kept"])


# Merge and export ------------------------------------------------------------------------------------------


def merge(recipe: Recipe, run: Run, progress: Progress | None = None) -> Report:
    """Fold the adapter into the base, streamed, and prove that the result is the trained model."""
    _need("torch", "transformers", "peft", extra="train")
    trained, base = _trained(recipe, run)
    key = digest([trained["files"], trained["base"]])
    finished = run.finished("merge", key)
    if finished is not None:
        return _stored("Merge", finished)

    run.log("stage", stage="merge", state="began")
    if headed(recipe.train.objective):
        from luthier.export.scored import merge_scorer

        report = merge_scorer(run, base=base, rows=_certified_ids(run), progress=progress or Silent())
    else:
        from luthier.export.stage import merge_run

        report = merge_run(run, base=base, rows=_certified_rows(run), progress=progress or Silent())
    files = sorted(path for path in (run / "merged").rglob("*") if path.is_file())
    run.finish("merge", key=key, report=report.as_dict(), files=files)
    return report


def export(recipe: Recipe, run: Run, targets: Sequence[Gguf], progress: Progress | None = None) -> list[Report]:
    """Make each target of the merged model, load it back, and compare it with what was trained."""
    if headed(recipe.train.objective):
        raise RunError(
            "this run's model scores texts, which llama.cpp's GGUF has no place for",
            hint=f"serve the merged folder with transformers or vLLM: `luthier merge {run.path}`",
            place=str(run.path),
        )
    _need("gguf", "xllamacpp", extra="gguf")
    merge(recipe, run, progress)
    _, base = _trained(recipe, run)
    from luthier.export.stage import export_gguf

    merged = run.manifest()["stages"]["merge"]["files"]
    reports = []
    for target in targets:
        stage = f"export/gguf-{target.quant}"
        key = digest([merged, target.model_dump(mode="json")])
        finished = run.finished(stage, key)
        if finished is not None:
            reports.append(_stored("Export", finished))
            continue
        run.log("stage", stage=stage, state="began")
        report = export_gguf(
            run,
            target,
            base=base,
            name=recipe.name,
            rows=_certified_rows(run),
            progress=progress or Silent(),
        )
        files = sorted(path for path in (run / stage).iterdir() if path.is_file())
        run.finish(stage, key=key, report=report.as_dict(), files=files)
        reports.append(report)
    return reports


def _certified_rows(run: Run) -> list["Example"]:
    """Return rows spread evenly over the held-out file, or over the training file where nothing was held out.

    A certificate compares two forms of one model, so it may use rows that were learned.
    """
    import orjson

    from luthier.core.example import Example

    path = _held_out(run) or run / "data" / "train.jsonl"
    with path.open("rb") as handle:
        count = sum(1 for _ in handle)
        chosen = range(0, count, max(1, count // CERTIFIED_ROWS))[:CERTIFIED_ROWS]
        handle.seek(0)
        lines = [line for place, line in enumerate(handle) if place in chosen]
    return [Example.from_dict(orjson.loads(line)) for line in lines]


def _certified_ids(run: Run) -> list[list[int]]:
    """Return token ids of rows spread evenly over the held-out tokens, or over those learned from."""
    from luthier.tokens.stage import open_tokens

    rows = next(found for split in ("valid", "train") if len(found := open_tokens(run / "tokens", split)))
    chosen = range(0, len(rows), max(1, len(rows) // CERTIFIED_ROWS))[:CERTIFIED_ROWS]
    return [rows[place].input_ids.tolist() for place in chosen]


# The whole road --------------------------------------------------------------------------------------------


def run_all(recipe: Recipe, run: Run, progress: Progress | None = None) -> Report:
    """Go the whole road: prepare, plan, train, evaluate, merge, export; leave one page, `report.html`."""
    _need("torch", "transformers", "peft", extra="train")
    _need_methods(recipe)
    if recipe.export:
        _need("gguf", "xllamacpp", extra="gguf")
    _model(recipe)  # as in `train`
    prepared = prepare(recipe, run, progress).as_dict()
    compares = bool(prepared["splits"]["valid"] or prepared["splits"]["test"])
    if recipe.evaluate.refuses and not compares:
        raise DataError(
            "`evaluate` says what the result must be, and no row was held out to find out",
            hint="hold rows back with `data.split.valid`, or leave out `evaluate.gate` and `evaluate.capabilities`",
            place=str(run / "data"),
        )
    stages: dict[str, Any] = {
        "prepare": prepared,
        "plan": plan(recipe, run, progress).as_dict(),
        "train": train(recipe, run, progress).as_dict(),
    }
    if compares:
        stages["evaluate"] = evaluate(recipe, run, progress).as_dict()
    # What a gate refused is not made ready to be served.
    goes_on = not stages.get("evaluate", {}).get("gate", {}).get("refused")
    if goes_on and recipe.train.technique.merges:
        stages["merge"] = merge(recipe, run, progress).as_dict()
    exported = export(recipe, run, recipe.export, progress) if goes_on and recipe.export else []
    stages["export"] = [report.as_dict() for report in exported]
    report = onepage.report(recipe, run, stages)
    write_report(report, run.path)
    return report


# Recipes ---------------------------------------------------------------------------------------------------


def init(recipe: Recipe, out: Path, *, force: bool, progress: Progress | None = None) -> Report:
    """Write a commented recipe with what luthier would choose for this data, model and machine, and why.

    Raises:
        RunError: The file is there already.
    """
    from luthier.recipe.write import scalar, to_yaml

    if out.exists() and not force:
        raise RunError(
            "this file is there already",
            hint="choose another with `--out`, or replace it with `--force`",
            place=str(out),
        )
    report = preview(recipe, progress)
    decided = report.data["values"]
    reasons = {
        f"train.{name}": f"{scalar(decided[name]['value'])}: {decided[name]['reason']}"
        for name in type(recipe.train).model_fields
        if name in decided
    }
    write_text(out, to_yaml(recipe, comments=True, reasons=reasons))
    return Report(
        title="Recipe",
        summary=f"{out} is written, with every choice explained.",
        data={"file": str(out), "plan": decided},
        sections=report.sections,
        findings=report.findings,
        next_steps=(f"luthier check {out}  # after you changed it", f"luthier run {out}  # do it"),
    )


def check(recipe: Recipe) -> None:
    """Look whether what a recipe names is there: its data files, and its model when that is a local one.

    Raises:
        LuthierError: Something is not. All at once, as `Problems`, when several are not.
    """
    from luthier.data.leakage.evaluations import evaluation_files
    from luthier.data.sources import files_of
    from luthier.model.facts import facts, is_local

    problems: list[LuthierError] = []
    data, names = _sources(recipe)
    rows = recipe.train.objective.rows
    for look in (
        lambda: data.sources and files_of(data, names, rows=rows),
        lambda: evaluation_files(data.decontaminate.against),
        lambda: _capability_files(recipe),
        lambda: is_local(recipe.model) and facts(recipe.model),
        lambda: _way(recipe),
    ):
        try:
            look()
        except LuthierError as problem:
            problems.append(problem)
    if problems:
        raise problems[0] if len(problems) == 1 else Problems(problems)
