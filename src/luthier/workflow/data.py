"""Prepare: raw files to rows."""

import importlib.util
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING

from luthier.core import named
from luthier.core.errors import DataError
from luthier.core.files import digest, known_sha256
from luthier.core.progress import Progress, Silent
from luthier.core.report import Report, sections_of
from luthier.core.run import COPIES, Run
from luthier.recipe.data import Data
from luthier.recipe.schema import Recipe
from luthier.workflow.needs import need
from luthier.workflow.runs import done_before, unchanged

if TYPE_CHECKING:
    from collections.abc import Callable

    from luthier.data.lengths import CountTokens


def prepare(recipe: Recipe, run: Run, progress: Progress | None = None) -> Report:
    """Read, convert, clean, split: raw files to `run/data`, every dropped row with its reason.

    Raises:
        DataError: What was piped in is needed again, and was not kept because private pieces had to go.
        LuthierError: A source, an option or the machine doesn't allow it.
    """
    try:
        return _prepare(recipe, run, progress or Silent())
    finally:
        if recipe.data.clean.privacy.removes:
            for name in COPIES:
                (run / name).unlink(missing_ok=True)


def _prepare(recipe: Recipe, run: Run, progress: Progress) -> Report:
    from luthier.data.clean.vocabulary import special_tokens
    from luthier.data.lengths import Tokenizer
    from luthier.data.prepare import prepare as prepare_data
    from luthier.model.facts import tokenizer_file

    data, names = sources_of(recipe, run)
    privacy = data.clean.privacy
    if privacy.ner is not None and privacy.ner.needs is not None:
        need(privacy.ner.needs[0], extra=privacy.ner.needs[1])
    if data.clean.language:
        need("py3langid", extra="data")
    train = recipe.train
    rows = train.objective.rows
    inputs = _inputs(recipe, data, names)
    gone = [[name, known] for name, known in _copies(run).items() if name not in dict(inputs)]
    vocabulary = tokenizer_file(recipe.model)
    special = special_tokens(vocabulary)
    secret = Path(privacy.key or "").expanduser()
    drawn_with = known_sha256(secret) if secret.is_file() else None
    counted_with = known_sha256(vocabulary) if vocabulary else None
    asked = [recipe.data.model_dump(mode="json", exclude={"processes"}), rows, train.max_length, train.too_long]
    key = digest([asked, sorted([*inputs, *gone]), drawn_with, counted_with])
    finished = run.finished("prepare", key)
    if finished is not None:
        report = done_before("Dataset Validation Report", finished)
        return replace(report, sections=sections_of(run.manifest()["stages"]["prepare"].get("brief", ())))
    unchanged(run, "prepare", key, _changed_sources(run, [*inputs, *gone]))
    if gone:
        raise DataError(
            "it was removed once it was prepared, as private pieces had to go, and something else is asked for now",
            hint="pipe it in again, or give the rows again",
            place=gone[0][0],
        )
    run.log("stage", stage="prepare", state="began")
    counter, how = _counter(recipe, data, names)
    report = prepare_data(
        data,
        run / "data",
        rows=rows,
        shown_as=names,
        progress=progress,
        tokenizer=Tokenizer(counter, special, how),
        train=train,
    )
    files = sorted(path for path in (run / "data").rglob("*") if path.is_file())
    run.finish("prepare", key=key, report=report.as_dict(), brief=report.brief(), files=files, inputs=inputs)
    return report


def only_text(recipe: Recipe) -> bool:
    """Say whether the first rows of a recipe's sources are plain text, of which no conversation can be made.

    What is piped in is looked at and left where it is.
    """
    from luthier.data.fetched import PIPED, head
    from luthier.data.first import are_plain_text

    data = sources_of(recipe)[0]
    if PIPED not in recipe.data.sources or not (begins := head()):
        return are_plain_text(data)
    with NamedTemporaryFile(prefix="luthier-") as file:
        file.write(begins)
        file.flush()
        return are_plain_text(data.model_copy(update={"sources": (*data.sources, file.name)}))


def _counter(recipe: Recipe, data: Data, names: dict[Path, str]) -> "tuple[Callable[[], CountTokens] | None, str]":
    """Return what makes a counter of tokens, if the model's tokenizer is here and counts fast enough, and say how."""
    from luthier.data.sources import files_of
    from luthier.model.facts import tokenizer_file

    file = tokenizer_file(recipe.model)
    whose = f"the tokenizer of {recipe.model}"
    if file is None:
        return None, f"estimated from bytes: {whose} is not on this machine"
    if importlib.util.find_spec("tokenizers") is None:
        return None, "estimated from bytes: counting needs `pip install 'luthier[train]'`"
    from luthier.tokens.count import countable, counter

    size = sum(source.size for _, source in files_of(data, names, rows=recipe.train.objective.rows))
    if not countable(file, size):
        return None, f"estimated from bytes: {whose} can't be read, or takes too long for so much text"
    return partial(counter, file, size), f"by {whose}, without template"


def _changed_sources(run: Run, inputs: list[list[str]]) -> str:
    """Return the source files that are others than when the rows were prepared, in words."""
    now = dict(inputs)
    before = _before(run)
    named = [f"`{name}`" for name in sorted({*now, *before}) if now.get(name) != before.get(name)]
    return ", ".join(named[:5]) if named else "the way data are prepared"


def _before(run: Run) -> dict[str, str]:
    """Return name and hash of what was read when the run was prepared, if it was."""
    return dict(run.manifest()["stages"].get("prepare", {}).get("inputs", []))


def _copies(run: Run) -> dict[str, str]:
    """Return those of them that were copies in the run, which may be there no more."""
    piped, given = COPIES
    return {name: known for name, known in _before(run).items() if name in (piped, str(run / given))}


def sources_of(recipe: Recipe, run: Run | None = None) -> tuple[Data, dict[Path, str]]:
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
            here, shown = fetch(named, run.path, _copies(run))
            names |= shown
        resolved[field] = tuple(here)
    return recipe.data.model_copy(update=resolved), names


def _inputs(recipe: Recipe, data: Data, names: dict[Path, str]) -> list[list[str]]:
    """Return name and hash of every file that is read or run, so that changed data is prepared anew."""
    from luthier.data.leakage.evaluations import evaluation_files
    from luthier.data.sources import files_of, find_files

    rows, held_out = recipe.train.objective.rows, [*data.valid_sources, *data.test_sources]
    if data.sources:
        found = [file for _, file in files_of(data, names, rows=rows)]
    else:
        found = find_files(held_out, names, rows=rows)
    found += evaluation_files(recipe.data.decontaminate.against)
    inputs = [[file.name, known_sha256(file.path)] for file in found]
    if asked := recipe.data.clean.semantic_duplicates:
        code = named.source(asked.embed)
        inputs.append([asked.embed, known_sha256(code) if code else ""])
    return inputs
