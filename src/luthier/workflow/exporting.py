"""Merge and export, each with a certificate."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from luthier.core.errors import RunError
from luthier.core.files import digest
from luthier.core.progress import Progress, Silent
from luthier.core.report import Number, Report
from luthier.core.run import Run
from luthier.recipe.methods import Gguf, headed
from luthier.recipe.schema import Recipe
from luthier.workflow.needs import need
from luthier.workflow.runs import done_before
from luthier.workflow.training import held_out_rows, trained_model

if TYPE_CHECKING:
    from luthier.core.example import Example
    from luthier.evaluate.stats import Floats


CERTIFIED_ROWS = 16
"""Held-out rows a certificate compares. Each gives dozens of positions; more only takes longer."""


def merge(recipe: Recipe, run: Run, progress: Progress | None = None) -> Report:
    """Fold the adapter into the base, streamed, and prove that the result is the trained model."""
    need("torch", "transformers", "peft", extra="train")
    trained, base = trained_model(recipe, run)
    key = digest([trained["files"], trained["base"]])
    finished = run.finished("merge", key)
    if finished is not None:
        return done_before("Merge", finished)

    run.log("stage", stage="merge", state="began")
    if headed(recipe.train.objective):
        from luthier.export.scored import merge_scorer

        report = merge_scorer(run, base=base, rows=_certified_ids(run), progress=progress or Silent())
    else:
        from luthier.export.stage import merge_run

        report = merge_run(run, base=base, rows=certified_rows(run), progress=progress or Silent())
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
    need("gguf", "xllamacpp", extra="gguf")
    merge(recipe, run, progress)
    _, base = trained_model(recipe, run)
    from luthier.export.stage import export_gguf

    merged = run.manifest()["stages"]["merge"]["files"]
    reports = []
    for target in targets:
        stage = f"export/gguf-{target.quant}"
        key = digest([merged, target.model_dump(mode="json")])
        finished = run.finished(stage, key)
        if finished is not None:
            reports.append(done_before("Export", finished))
            continue
        run.log("stage", stage=stage, state="began")
        report = export_gguf(
            run,
            target,
            base=base,
            name=recipe.name,
            rows=certified_rows(run),
            compare=perplexities,
            progress=progress or Silent(),
        )
        files = sorted(path for path in (run / stage).iterdir() if path.is_file())
        run.finish(stage, key=key, report=report.as_dict(), files=files)
        reports.append(report)
    return reports


def perplexities(trained_R: "Floats", served_R: "Floats", tokens_R: Any) -> dict[str, Number]:  # noqa: N803
    """Return the perplexity of rows as trained and as served, and how many times the one is the other.

    Args:
        trained_R: Summed negative log-likelihood of each row's tokens, in nats. Shape (rows,).
        served_R: The same under what is served.
        tokens_R: How many tokens.
    """
    from luthier.evaluate.stats import paired, perplexity

    found = paired(trained_R, served_R, tokens_R)
    numbers = {"trained": found.base, "served": found.tuned, "change": found.difference}
    return {name: perplexity(number) for name, number in numbers.items()}


def certified_rows(run: Run) -> list["Example"]:
    """Return rows spread evenly over the held-out file, or over the training file where nothing was held out.

    A certificate compares two forms of one model, so it may use rows that were learned.
    """
    import orjson

    from luthier.core.example import Example

    path = held_out_rows(run) or run / "data" / "train.jsonl"
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
