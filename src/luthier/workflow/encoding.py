"""Tokens: rows to what is read and learned, and a look at it."""

import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from luthier.core.files import digest
from luthier.core.progress import Progress, Silent
from luthier.core.report import Report
from luthier.core.run import Run
from luthier.recipe.schema import Recipe
from luthier.workflow.data import prepare
from luthier.workflow.needs import model_facts, need
from luthier.workflow.runs import done_before, unchanged

if TYPE_CHECKING:
    from luthier.core.example import Example, Source
    from luthier.recipe.facts import ModelFacts
    from luthier.tokens.render import Renderer
    from luthier.tokens.store import Stored


def tokens(recipe: Recipe, run: Run, progress: Progress | None = None) -> Report:
    """Render and tokenise prepared rows into `run/tokens`, once; name those that can't be learned, and why."""
    need("transformers", "numpy", extra="train")
    from luthier.recipe.plan import longest

    model = model_facts(recipe)
    prepared = prepare(recipe, run, progress).data
    max_length = longest(recipe, model)[0]
    key = _tokens_key(recipe, model, max_length, prepared["fingerprint"])
    finished = run.finished("tokens", key)
    if finished is not None:
        return done_before("Tokens", finished)
    unchanged(run, "tokens", key, "the tokenizer, the chat template or the way rows are tokenised")

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


def stored_tokens(recipe: Recipe, run: Run, rows: Path, max_length: int) -> "Stored | None":
    """Return the tokens of prepared rows, where the run holds them as they would be made again."""
    from luthier.tokens.stage import SPLITS, open_tokens

    prepared = run.manifest()["stages"]["prepare"]["report"]
    key = _tokens_key(recipe, model_facts(recipe), max_length, prepared["fingerprint"])
    if rows.stem not in SPLITS or run.finished("tokens", key) is None:
        return None
    return open_tokens(run / "tokens", rows.stem)


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
    need("transformers", "numpy", extra="train")
    from luthier.recipe.plan import longest
    from luthier.tokens.encode import Limits
    from luthier.tokens.inspect import Looked, look, report
    from luthier.tokens.verify import verify

    model = model_facts(recipe)
    base = Path(model.path)
    limits = Limits(longest(recipe, model)[0], recipe.train.too_long)
    with tempfile.TemporaryDirectory(prefix="luthier-inspect-") as folder:
        run = Run(Path(folder))
        files = [*prepare(recipe, run, progress).data["encodings"]]
        rows, total = prepared_rows(run, split, files, limit=limit)
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


def prepared_rows(
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
