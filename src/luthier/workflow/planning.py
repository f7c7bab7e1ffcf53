"""Plan: everything decided before time is spent."""

import importlib.util
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from luthier import onepage
from luthier.core.files import digest, write_json
from luthier.core.hardware import hardware
from luthier.core.progress import Progress
from luthier.core.report import Report
from luthier.core.run import Run
from luthier.recipe.schema import Recipe
from luthier.workflow.data import prepare
from luthier.workflow.encoding import tokens
from luthier.workflow.needs import model_facts
from luthier.workflow.runs import done_before, learning, unchanged

if TYPE_CHECKING:
    from luthier.recipe.plan import Plan


def plan(recipe: Recipe, run: Run, progress: Progress | None = None) -> Report:
    """Decide steps, rates, lengths and memory, each with its reason; kept in `run/plan.json`."""
    model_facts(recipe)  # as in `train`
    data = prepare(recipe, run, progress).data
    report, plan_key, decided = _decide(recipe, data, tokens(recipe, run, progress))
    finished = run.finished("plan", plan_key)
    if finished is not None:
        return done_before("Plan", finished)
    unchanged(run, "plan", plan_key, "the base model (or luthier itself)")
    write_json(run / "plan.json", decided.as_dict())
    run.finish("plan", key=plan_key, report=report.as_dict(), files=[run / "plan.json"])
    return report


def preview(recipe: Recipe, progress: Progress | None = None) -> Report:
    """Return the plan of a recipe without leaving anything behind: data is prepared in a temporary folder.

    Where Transformers is not installed, lengths are estimated and the template is not looked at.
    """
    model_facts(recipe)  # as in `train`
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
    key = digest([learning(recipe), model.as_dict(), rows.as_dict()])
    return onepage.plan_report(recipe, decided, model, rows, machine, counted), key, decided


def kept_plan(run: Run) -> "Plan":
    """Return the plan of a run that has one."""
    import json

    from luthier.recipe.plan import Plan

    return Plan.from_dict(json.loads((run / "plan.json").read_text(encoding="utf-8")))
