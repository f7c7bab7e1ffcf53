"""Evaluate: base against tuned model of a run, or any two models."""

import importlib.util
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from luthier.bundled import general_text
from luthier.core.errors import DataError, ModelError, RecipeError
from luthier.core.files import digest, known_sha256
from luthier.core.hardware import hardware
from luthier.core.progress import Progress, Silent
from luthier.core.report import Finding, Report
from luthier.core.run import Run
from luthier.recipe.data import NONE, Data
from luthier.recipe.evaluate import Capability
from luthier.recipe.methods import Rows, headed
from luthier.recipe.schema import Recipe
from luthier.workflow.additions import answers_of, assembled, files_of, keep
from luthier.workflow.benchmarks import asked_of, benchmarks, by_benchmarks
from luthier.workflow.data import sources_of
from luthier.workflow.encoding import renderer, stored_tokens
from luthier.workflow.judging import Agree, judged
from luthier.workflow.needs import (
    capability_files,
    metric_files,
    model_facts,
    need,
    need_judge,
    need_methods,
)
from luthier.workflow.planning import kept_plan
from luthier.workflow.runs import done_before
from luthier.workflow.training import held_out_rows, trained_model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from luthier.core.example import Example
    from luthier.evaluate.candidates import Candidate
    from luthier.evaluate.contamination import Seen
    from luthier.evaluate.held_out import Examples
    from luthier.recipe.plan import Plan
    from luthier.tokens.render import Encoded


GENERAL = "general text"
"""Name of the text that ships with luthier, to see what is forgotten."""


def evaluate(recipe: Recipe, run: Run, progress: Progress | None = None, *, agree: Agree | None = None) -> Report:
    """Compare base and tuned model on the held-out rows: perplexity, paired interval, answers side by side.

    Args:
        recipe: What to measure.
        run: A run whose training is finished.
        progress: Somebody who watches.
        agree: Asked whether a judge may be paid, where the recipe names one and doesn't say.
    """
    need("torch", "transformers", "peft", extra="train")
    trained, base = trained_model(recipe, run)
    need_methods(recipe)
    asked = [[file.name, known_sha256(file.path)] for file in capability_files(recipe)]
    asked += [[str(path), known_sha256(path)] for path in metric_files(recipe)] + asked_of(recipe)
    key = digest([trained["files"], recipe.evaluate.model_dump(mode="json", exclude={"judge", "people"}), asked])
    finished = run.finished("evaluate", key)
    if finished is not None:
        report = done_before("Evaluation", finished)
        return _with_what_was_made(run, judged(recipe, run, report, agree, progress or Silent()))

    need_judge(recipe)
    rows = held_out_rows(run)
    if rows is None and (recipe.evaluate.capabilities or not recipe.evaluate.benchmarks):
        raise DataError(
            "no row was held out, so there is nothing to compare on",
            hint="set `data.split.valid` above 0 and start a new run",
            place=str(run / "data"),
        )
    run.log("stage", stage="evaluate", state="began")
    evaluated = _scored if headed(recipe.train.objective) else _compared
    report = evaluated(recipe, run, base, rows, progress or Silent())
    return _with_what_was_made(run, _finished(recipe, run, key, report, agree, progress or Silent()))


def _with_what_was_made(run: Run, report: Report) -> Report:
    """Return a report that says no with the results that were made before it did: they look as if it had said yes."""
    stale = [name for name in ("merged", "export") if (run / name).is_dir()]
    if not stale or not any(finding.level == "gate" for finding in report.findings):
        return report
    text = f"`{'` and `'.join(stale)}` {'were' if len(stale) > 1 else 'was'} made before this evaluation said no"
    told = Finding("warning", text, "delete them, or merge and export again when you know why")
    return replace(report, findings=(*report.findings, told))


def _finished(recipe: Recipe, run: Run, key: str, report: Report, agree: Agree | None, progress: Progress) -> Report:
    """Note that an evaluation is done, and have its answers judged where that is asked for."""
    if answers_of(run) is not None:
        keep(run, report)
        report = assembled(run, recipe.evaluate.gate)
    run.finish("evaluate", key=key, report=report.as_dict(), files=files_of(run))
    return judged(recipe, run, report, agree, progress)


def _scored(recipe: Recipe, run: Run, base: Path, rows: Path | None, progress: Progress) -> Report:
    """Return what the scores of a trained head are worth on held-out rows."""
    from collections import Counter

    from luthier.evaluate.scores import evaluate_scores
    from luthier.tokens.encode import Limits, in_memory, read_examples
    from luthier.tokens.stage import open_tokens

    assert rows is not None, "a model that scores texts does no benchmarks"
    decided, learned = kept_plan(run), open_tokens(run / "tokens", "train")
    stored = stored_tokens(recipe, run, rows, decided.max_length)
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


def _compared(recipe: Recipe, run: Run, base: Path, rows: Path | None, progress: Progress) -> Report:
    """Return how base and tuned model compare in what they find likely, or by benchmarks alone."""
    from luthier.evaluate.advice import Again
    from luthier.evaluate.candidates import Local
    from luthier.evaluate.compare import Asked, compare
    from luthier.recipe.methods import per_token
    from luthier.tokens.encode import Limits, read_examples

    decided, tuned = kept_plan(run), run / "model"
    models = [Local(recipe.model, base), Local.of(str(tuned), tuned, base)]
    learned = _seen(recipe, progress, run / "data" / "train.jsonl")
    if rows is None:
        with learned as seen:
            return by_benchmarks(recipe, run, models, seen, decided.pack_tokens, decided.precision, progress)
    if recipe.evaluate.window is not None and (context := model_facts(recipe).context):
        _fits(recipe.evaluate.window.tokens, context)
    asked = Asked(
        examples=partial(read_examples, rows),
        stored=stored_tokens(recipe, run, rows, decided.max_length),
        rows=recipe.train.objective.rows,
        learn=recipe.train.learn,
        per_token=per_token(recipe.train.objective),
        limits=Limits(decided.max_length, recipe.train.too_long),
        capacity=decided.pack_tokens,
        precision=decided.precision,
        language=_language(),
        again=Again(run.path, _values(recipe, decided)),
    )
    with TemporaryDirectory() as folder, learned as seen, benchmarks(recipe, run, seen) as parts:
        return compare(
            models,
            replace(asked, seen=seen),
            recipe.evaluate,
            capabilities=[*_capabilities(recipe, Path(folder), progress)],
            parts=parts,
            out=run / "evaluate",
            progress=progress,
        )


def evaluate_models(
    recipe: Recipe,
    against: str | None,
    run: Run,
    progress: Progress | None = None,
    *,
    others: "Sequence[str]" = (),
    key_variable: str | None = None,
    agree: Agree | None = None,
) -> Report:
    """Compare models that are there, the recipe's and maybe others with one, on all rows of the recipe's data, if any.

    Args:
        recipe: Names the model (see `luthier.workflow.candidates`) and the data.
        against: The model it is compared with; None for the base of an adapter.
        run: Where rows and report go.
        progress: Somebody who watches.
        others: More models to compare with it.
        key_variable: The environment variable that holds the key of endpoints.
        agree: As for `evaluate`.

    Raises:
        ModelError: What is asked for needs models of another kind.
        RecipeError: A judge is to compare more than two.
    """
    need("torch", "transformers", "peft", extra="train")
    need_methods(recipe)
    need_judge(recipe)
    from luthier.data.prepare import prepare as prepare_data
    from luthier.evaluate.compare import Asked, compare
    from luthier.tokens.encode import Limits, read_examples
    from luthier.workflow.candidates import candidates, context

    watcher, rows = progress or Silent(), recipe.train.objective.rows
    models = candidates([recipe.model, *others], against, key_variable)
    _can_all_be_measured(recipe, models)
    longest = min([recipe.train.max_length, *(found for one in models if (found := context(one)))])
    precision = "bf16" if hardware().gpu_memory_bytes else "fp32"
    key = digest([[one.told for one in models], asked_of(recipe)])
    if recipe.data.sources == NONE:
        with _seen(recipe, watcher) as seen:
            report = by_benchmarks(recipe, run, models, seen, longest, precision, watcher)
        return _finished(recipe, run, key, report, agree, watcher)
    data, names = sources_of(recipe)
    none_held_back = data.split.model_copy(update={"valid": 0.0, "test": 0.0, "own": False})
    # A question asked twice counts twice.
    clean = data.clean.model_copy(update={"duplicates": False, "near_duplicates": False})
    data = data.model_copy(update={"split": none_held_back, "clean": clean})
    prepared = prepare_data(data, run / "data", rows=rows, shown_as=names, progress=watcher)
    window = recipe.evaluate.window
    if window is not None and (shortest := min([found for one in models if (found := context(one))], default=0)):
        _fits(window.tokens, shortest)
    asked = Asked(
        examples=partial(read_examples, run / "data" / "train.jsonl"),
        dropped=prepared.data["rows"]["dropped"],
        rows=rows,
        learn=recipe.train.learn,
        limits=Limits(longest, recipe.train.too_long),
        capacity=longest,
        precision=precision,
        language=_language(),
    )
    with (
        TemporaryDirectory() as folder,
        _seen(recipe, watcher) as seen,
        benchmarks(recipe, run, seen) as parts,
    ):
        report = compare(
            models,
            replace(asked, seen=seen),
            recipe.evaluate,
            capabilities=[*_capabilities(recipe, Path(folder), watcher)],
            parts=parts,
            out=run / "evaluate",
            progress=watcher,
        )
    return _finished(recipe, run, key, report, agree, watcher)


def _values(recipe: Recipe, decided: "Plan") -> dict[str, Any]:
    """Return values that a recommendation may change, those that the plan decided included."""
    data = recipe.data
    return {
        "data.sources": data.sources,
        "data.decontaminate.against": data.decontaminate.against,
        "data.split.valid": None if data.valid_sources else data.split.valid,
        "train.epochs": decided.epochs,
        "train.max_steps": recipe.train.max_steps,
        "train.learning_rate": decided.learning_rate,
    }


def _can_all_be_measured(recipe: Recipe, models: "Sequence[Candidate]") -> None:
    """Refuse what not all models can do, before hours are spent on the first.

    Raises:
        ModelError: A model can't tell what is asked for.
        RecipeError: A judge is to compare more than two.
    """
    from luthier.evaluate.candidates import Local, Served

    if recipe.evaluate.judge is not None and len(models) > 2:
        hint = "judge each with its base in an evaluation of its own, or leave `evaluate.judge` out"
        raise RecipeError("a judge compares the answers of two models", hint=hint, place="evaluate.judge")
    for one in models:
        if recipe.evaluate.benchmarks and not isinstance(one, Local):
            raise ModelError(
                "`evaluate.benchmarks` needs a model in memory, and this is an endpoint or a GGUF file",
                hint="name a model's folder, or leave out `evaluate.benchmarks`",
                place=one.told,
            )
        if recipe.train.objective.rows in ("pair", "judged") and isinstance(one, Served):
            raise ModelError(
                "an endpoint tells no likelihood of texts, by which preferences are compared",
                hint="name a model's folder",
                place=one.told,
            )


def _fits(tokens: int, context: int) -> None:
    """Refuse a window that no model of this context can see."""
    if tokens > context:
        raise RecipeError(
            f"a window of {tokens:,} tokens is longer than the model's context of {context:,}",
            hint=f"set `evaluate.window.tokens` to {context} or less",
            place="evaluate.window.tokens",
        )


def _language() -> "Callable[[Example], str] | None":
    """Return what tells the language of a row; None where no detector is installed."""
    if importlib.util.find_spec("py3langid") is None:
        return None
    from luthier.data.clean.language import language
    from luthier.recipe.data import Language

    options = Language()
    return lambda example: language(example, options)[0]


@contextmanager
def _seen(recipe: Recipe, progress: Progress, *learned: Path) -> "Iterator[Seen | None]":
    """Give what tells how rows stand in what the tuned model learned; None where nobody says what that was."""
    from luthier.data.leakage.seen import seen
    from luthier.tokens.encode import read_examples

    with TemporaryDirectory() as folder:
        files = [*learned]
        if recipe.evaluate.trained_on:
            _prepared(recipe.evaluate.trained_on, recipe.train.objective.rows, Path(folder), progress)
            files.append(Path(folder) / "train.jsonl")
        # From the start each time, as several ask.
        yield (lambda rows: seen(rows, learned=chain.from_iterable(map(read_examples, files)))) if files else None


def _prepared(sources: "Sequence[str]", rows: Rows, folder: Path, progress: Progress) -> Report:
    """Return the report on files that are prepared as training rows are, but for duplicates and splits."""
    from luthier.data.prepare import prepare as prepare_data
    from luthier.recipe.data import Clean, Split

    clean = Clean(duplicates=False, near_duplicates=False)
    data = Data(sources=(*sources,), split=Split(valid=0.0), clean=clean)
    return prepare_data(data, folder, rows=rows, progress=progress)


def _capabilities(recipe: Recipe, folder: Path, progress: Progress) -> "Iterator[tuple[Capability, Examples]]":
    """Yield what should not be lost, with its rows."""
    from luthier.evaluate.held_out import spread
    from luthier.tokens.encode import read_examples

    general = Capability(name=GENERAL, files=(str(general_text()),), text=True, warn=0.05, fail=None)
    kept = (*recipe.evaluate.capabilities, *([general] if recipe.evaluate.forgetting else []))
    for number, asked in enumerate(kept):
        out = folder / f"{number}"
        report = _prepared(asked.files, "text" if asked.text else "conversation", out, progress)
        every = partial(read_examples, out / "train.jsonl")
        yield asked, spread(every, asked.limit, of=report.data["rows"]["kept"])
