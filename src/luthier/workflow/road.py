"""The whole road, its first recipe, and a look at a recipe before it is gone."""

from pathlib import Path
from typing import Any

from luthier import onepage
from luthier.core.errors import DataError, LuthierError, Problems, RunError
from luthier.core.files import write_text
from luthier.core.progress import Progress
from luthier.core.publish import write_report
from luthier.core.report import Report
from luthier.core.run import Run
from luthier.recipe.schema import Recipe
from luthier.workflow.data import prepare, sources_of
from luthier.workflow.evaluation import evaluate
from luthier.workflow.exporting import export, merge
from luthier.workflow.needs import (
    benchmark_files,
    capability_files,
    model_facts,
    need,
    need_judge,
    need_methods,
    parallel_accepted,
)
from luthier.workflow.planning import plan, preview
from luthier.workflow.training import train


def run_all(recipe: Recipe, run: Run, progress: Progress | None = None) -> Report:
    """Go the whole road: prepare, plan, train, evaluate, merge, export; leave one page, `report.html`."""
    need("torch", "transformers", "peft", extra="train")
    need_methods(recipe)
    need_judge(recipe)
    if recipe.export:
        need("gguf", "xllamacpp", extra="gguf")
    model_facts(recipe)  # as in `train`
    prepared = prepare(recipe, run, progress).as_dict()
    compares = bool(prepared["splits"]["valid"] or prepared["splits"]["test"])
    if recipe.evaluate.refuses and not compares and (recipe.evaluate.capabilities or not recipe.evaluate.benchmarks):
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
    if compares or recipe.evaluate.benchmarks:
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
    from luthier.data.first import missing_columns
    from luthier.data.leakage.evaluations import evaluation_files
    from luthier.data.sources import files_of
    from luthier.model.facts import facts, is_local

    problems: list[LuthierError] = []
    data, names = sources_of(recipe)
    rows = recipe.train.objective.rows
    for look in (
        lambda: data.sources and files_of(data, names, rows=rows),
        lambda: problems.extend(missing_columns(data, rows)),
        lambda: evaluation_files(data.decontaminate.against),
        lambda: capability_files(recipe),
        lambda: benchmark_files(recipe),
        lambda: is_local(recipe.model) and facts(recipe.model),
        lambda: parallel_accepted(recipe),
    ):
        try:
            look()
        except LuthierError as problem:
            problems.append(problem)
    if problems:
        raise problems[0] if len(problems) == 1 else Problems(problems)
