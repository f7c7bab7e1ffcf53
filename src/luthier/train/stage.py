"""The training stage: from prepared rows and a plan to a trained model and its report."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from luthier.core.errors import DataError, ModelError
from luthier.core.example import Example, Source
from luthier.core.files import write_text
from luthier.core.progress import Progress
from luthier.core.report import Report
from luthier.core.run import Run
from luthier.model.load import load_model, load_tokenizer, stop_ids
from luthier.recipe.options import locate
from luthier.recipe.plan import Plan
from luthier.recipe.schema import Recipe
from luthier.tokens.render import Encoded, Renderer
from luthier.train.encode import Encoding, encode, read_examples
from luthier.train.keep import keep
from luthier.train.loop import HeldOut, Work, train
from luthier.train.report import reasons, report
from luthier.train.watch import leak

if TYPE_CHECKING:
    from luthier.model.adapters.adapted import Adapted

LEAK_LIMIT = 1e-3
"""Logits of an isolated document move by rounding at most (1e-5 in float32, exactly 0 where the kernel is the same)."""

HeldOutLoss = Callable[[Any, Sequence[Encoded], int, str], HeldOut]
"""Takes model, rows, pack size and precision; the evaluation stage's, handed in by the workflow."""


def train_model(
    recipe: Recipe, plan: Plan, run: Run, *, base: Path, key: str, held_out: HeldOutLoss, progress: Progress
) -> Report:
    """Train as planned, from the run's last checkpoint if it has one; leave the model in `run/model`.

    Raises:
        DataError: No row can be learned from.
        ModelError: The model can't be loaded, or its packed documents see each other.
    """
    run.log("stage", stage="train", state="began")
    torch.set_num_threads(plan.threads)
    renderer = Renderer(load_tokenizer(base), stop_ids(base))
    rows = _encoded(run / "data" / "train.jsonl", renderer, plan, progress)
    valid = _encoded(run / "data" / "valid.jsonl", renderer, plan, progress)
    if not rows.rows:
        raise DataError(
            f"no row can be learned from: {reasons(rows)}",
            hint="raise `train.max_length`, or look at the rows named in left_out.jsonl",
            place=str(run / "data" / "train.jsonl"),
        )
    _account(run, rows.left_out + valid.left_out)
    technique = recipe.train.technique
    model = load_model(base)
    _fits(model, rows.rows + valid.rows, base)
    _isolated(model)
    adapted: Adapted = locate(technique)(model, technique, base=recipe.model, seed=recipe.train.seed)
    count = sum(parameter.numel() for parameter in adapted.trainable.values())
    run.log("stage", stage="train", trainable_parameters=count, rows=len(rows.rows), left_out=len(rows.left_out))

    def measure(model_in_training: Any) -> HeldOut:
        return held_out(model_in_training, valid.rows, plan.pack_tokens, plan.precision)

    work = Work(recipe, plan, run, key, adapted, rows.rows, measure if valid.rows else None)
    outcome = train(work, progress)
    keep(adapted, renderer, base=base, out=run / "model")
    return report(work, rows, outcome, trainable=count)


def _encoded(path: Path, renderer: Renderer, plan: Plan, progress: Progress) -> Encoding:
    examples: list[Example] = list(read_examples(path)) if path.is_file() else []
    return encode(examples, renderer, max_length=plan.max_length, progress=progress)


def _account(run: Run, left_out: Sequence[tuple[Source, str]]) -> None:
    """Name every row that could not be learned, in `left_out.jsonl`."""
    lines = [json.dumps({"source": source.file, "line": source.line, "reason": reason}) for source, reason in left_out]
    write_text(run / "left_out.jsonl", "".join(f"{line}\n" for line in lines))


def _fits(model: Any, rows: Sequence[Encoded], base: Path) -> None:
    """Refuse a tokenizer that knows more tokens than the model has embeddings for, where the data use them."""
    room = model.get_input_embeddings().num_embeddings
    beyond = [row for row in rows if int(row.input_ids.max()) >= room]
    if beyond:
        highest = max(int(row.input_ids.max()) for row in beyond)
        raise ModelError(
            f"the tokenizer gives token {highest} ({beyond[0].source}), and the model knows {room}",
            hint="use the tokenizer the model was trained with; adding tokens is not possible yet",
            place=str(base),
        )


def _isolated(model: Any) -> None:
    """Refuse a model whose packed documents see each other."""
    change = leak(model, vocabulary=model.get_input_embeddings().num_embeddings)
    if not change <= LEAK_LIMIT:
        raise ModelError(
            f"packed documents see each other in this architecture: logits moved by {change:.3g}",
            hint="report the architecture to us; until then use a Llama, Mistral or Qwen model",
        )
