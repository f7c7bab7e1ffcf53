"""Train, in one process or several, and show it in a tracker."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from luthier.core.errors import RunError
from luthier.core.files import digest, known_sha256
from luthier.core.hardware import hardware
from luthier.core.processes import place
from luthier.core.progress import Progress, Silent
from luthier.core.publish import write_report
from luthier.core.report import Finding, Report
from luthier.core.run import Run
from luthier.recipe.schema import Recipe
from luthier.workflow.encoding import renderer
from luthier.workflow.needs import model_facts, need, need_methods, parallel_accepted, parent_weights
from luthier.workflow.planning import kept_plan, plan
from luthier.workflow.runs import done_before, learning, versions

if TYPE_CHECKING:
    from luthier.train.parallel import World


def train(recipe: Recipe, run: Run, progress: Progress | None = None) -> Report:
    """Train as planned, from the run's last checkpoint if it has one; the result is in `run/model`."""
    need("torch", "transformers", "peft", extra="train")
    need_methods(recipe)
    watcher = progress or Silent()
    model_facts(recipe)  # a wrong name is told before the data are prepared
    parallel_accepted(recipe)
    parent_weights(recipe)  # this too
    where = place()
    if where.size == 1:
        plan(recipe, run, watcher)
        return _train(recipe, run, watcher)

    from luthier.train.parallel import joined

    with joined(where) as world:
        world.from_first(lambda: (plan(recipe, run, watcher), str(run.path.absolute()))[1])
        return _train(recipe, run, watcher, world)


def follow(recipe: Recipe) -> Report:
    """Take part in a training that another process leads: what `train` is in every process but the first.

    The report is empty: the first process tells.
    """
    need("torch", "transformers", "peft", extra="train")
    from luthier.train.parallel import joined

    with joined(place()) as world:
        run = Run.open(Path(world.from_first(str)), writes=False)
        return _train(recipe, run, Silent(), world)


def _train(recipe: Recipe, run: Run, watcher: Progress, world: "World | None" = None) -> Report:
    """Train on a run that has its plan; in a process that follows, the report is an empty one."""
    decided, model = kept_plan(run), model_facts(recipe)
    # Values only: a reason may tell how much memory was free.
    values = [entry["value"] for entry in decided.as_dict().values()]
    token_key = run.manifest()["stages"]["tokens"]["key"]
    parent = parent_weights(recipe)
    inherited = [known_sha256(parent)] if parent else []
    key = digest([values, learning(recipe), model.fingerprint, token_key, *inherited])
    if world is not None:
        world.same(key, "recipe, model or plan")
    finished = run.finished("train", key)
    if finished is not None:
        return done_before("Training", finished)

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
    about = {"base": model.fingerprint, "hardware": hardware().as_dict(), "versions": versions()}
    if parent:
        about["parent"] = {"path": str(parent), "sha256": inherited[0]}
    run.finish("train", key=key, report=report.as_dict(), files=files, **about)
    return report


def trained_model(recipe: Recipe, run: Run) -> tuple[dict[str, Any], Path]:
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
    model = model_facts(recipe)
    if model.fingerprint != entry["base"]:
        raise RunError(
            f"the base model `{recipe.model}` is not the one this run was trained on: its files changed",
            hint="put the files back, or start a new run",
            place=model.path,
        )
    return entry, Path(model.path)


def held_out_rows(run: Run) -> Path | None:
    """Return the rows nobody learned from: the test split where there is one, else the validation split."""
    for name in ("test.jsonl", "valid.jsonl"):
        path = run / "data" / name
        if path.is_file() and path.stat().st_size:
            return path
    return None


def track(recipe: Recipe, run: Run, to: str) -> Report:
    """Show a run in a tracker, from its events: `tensorboard`, `wandb`, `mlflow` or `trackio`.

    With the options the recipe has for it, else the usual ones.
    """
    from luthier.recipe.schema import Train

    (usual,) = Train.model_validate({"track": [{"kind": to}]}, strict=False).track
    options = next((tracker for tracker in recipe.train.track if tracker.kind == to), usual)
    assert options.needs is not None, "a tracker is somebody else's package"
    need(options.needs[0], extra=options.needs[1])

    from luthier.train.track.tracker import shown

    tracker = shown(run, recipe.model_dump(mode="json"), options)
    tracker.close()
    events = len(run.events())
    summary = f"{events:,} events of this run are shown in {type(options).__name__}."
    return Report("Tracking", summary, {"to": to, "events": events}, next_steps=(f"{tracker.look}  # look at it",))
