"""The training stage: from prepared rows and a plan to a trained model and its report."""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from luthier.core.errors import DataError, ModelError
from luthier.core.files import write_text
from luthier.core.progress import Progress
from luthier.core.report import Report
from luthier.core.run import Run
from luthier.model.load import load_model, load_tokenizer, stop_ids, stored_as
from luthier.recipe.options import locate
from luthier.recipe.plan import Plan, with_rows
from luthier.recipe.schema import Recipe
from luthier.tokens.render import Encoded, Renderer
from luthier.train.encode import Encoding, encode, read_examples
from luthier.train.keep import keep
from luthier.train.loop import HeldOut, Work, train
from luthier.train.report import reasons, report
from luthier.train.watch import distortion, heeds, leak

if TYPE_CHECKING:
    from luthier.core.example import Example
    from luthier.model.adapters.adapted import Adapted

AGAIN = "copy the model's files again, or use another model"

LEAK_LIMIT = 1e-6
"""The second document's logits are computed by the same kernels from the same numbers: they may not move."""

DISTORTION_LIMIT = {torch.float32: 1e-4, torch.bfloat16: 5e-2, torch.float16: 1e-2}
"""Share of the largest logit by which two orders of the same sums may differ, by type of the weights."""

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
    _account(run, train=rows, valid=valid)
    if not rows.rows:
        raise DataError(
            f"no row can be learned from: {reasons(rows)}",
            hint=f"they are named in {run / 'left_out.jsonl'}; longer ones need a larger `train.max_length` or context",
            place=str(run / "data" / "train.jsonl"),
        )
    technique = recipe.train.technique
    model = load_model(base, dtype=stored_as(plan.precision))
    _fits(model, rows.rows + valid.rows, base)
    _packable(model, base)
    adapted: Adapted = locate(technique)(model, technique, base=recipe.model, seed=recipe.train.seed)
    count = sum(parameter.numel() for parameter in adapted.trainable.values())
    run.log("stage", stage="train", trainable_parameters=count, rows=len(rows.rows), left_out=len(rows.left_out))

    def measure(model_in_training: Any) -> HeldOut:
        return held_out(model_in_training, valid.rows, plan.pack_tokens, plan.precision)

    planned, plan = plan, with_rows(plan, recipe, len(rows.rows))
    work = Work(recipe, plan, run, key, adapted, rows.rows, measure if valid.rows else None)
    outcome = train(work, progress)
    keep(adapted, renderer, base=base, out=run / "model")
    return report(work, rows, outcome, trainable=count, planned_steps=planned.steps)


def _encoded(path: Path, renderer: Renderer, plan: Plan, progress: Progress) -> Encoding:
    examples: list[Example] = list(read_examples(path)) if path.is_file() else []
    return encode(examples, renderer, max_length=plan.max_length, progress=progress)


def _account(run: Run, **splits: Encoding) -> None:
    """Name every row that could not be learned or measured, in `left_out.jsonl`."""
    lines = [
        json.dumps({"source": source.file, "line": source.line, "split": split, "reason": reason})
        for split, encoding in splits.items()
        for source, reason in encoding.left_out
    ]
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


def _packable(model: Any, base: Path) -> None:
    """Refuse a model whose packed documents see each other, or that packing would compute otherwise."""
    vocabulary = model.get_input_embeddings().num_embeddings
    try:
        if not heeds(model, vocabulary=vocabulary):
            raise TypeError("the architecture computes it by itself")
        seen, off = leak(model, vocabulary=vocabulary), distortion(model, vocabulary=vocabulary)
    except TypeError as error:
        seen, off = float("nan"), float("nan")
        why = f"its attention can't be exchanged ({error})"
    else:
        why = f"packed logits are {off:.1e} off, and documents move each other's by {seen:.1e}"
        if math.isnan(seen + off):
            raise ModelError("its weights give numbers that are none (NaN)", hint=AGAIN, place=str(base))
    if not (seen <= LEAK_LIMIT and off <= DISTORTION_LIMIT[model.dtype]):
        raise ModelError(
            f"documents of this architecture can't be packed: {why}",
            hint="use a model with plain softmax attention, such as Llama, Mistral, Qwen2 or Qwen3",
            place=str(base),
        )
