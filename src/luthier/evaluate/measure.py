"""What one model does with held-out rows: how likely it finds them, and what it answers.

Shapes: R texts, C conversations.
"""
# ruff: noqa: N806 - names end in the letters of their shape

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from luthier.core.errors import Failed, ModelError
from luthier.core.example import Source
from luthier.core.progress import Progress
from luthier.evaluate.held_out import Exam, HeldOut
from luthier.evaluate.likelihood import RowNll, row_nll
from luthier.model.adapters import lora
from luthier.model.forward import precise
from luthier.model.generate import generate, room
from luthier.model.load import load_model, stored_as
from luthier.model.new_tokens import ids_of
from luthier.model.quantised import Quantised
from luthier.tokens.render import Encoded, Renderer
from luthier.tokens.store import Stored


@dataclass(frozen=True, slots=True)
class Measured:
    """What one model did."""

    texts: RowNll
    """Shape (R,) each."""
    conversations: RowNll
    """Summed over the texts of each conversation. Shape (C,) each."""
    answers: tuple[str, ...]
    cut: int
    """Answers that reached the limit before a stop token."""
    clipped: int
    """Prompts that did not fit the context."""


def both(
    base_path: Path, tuned_path: Path, measure: Callable[[Any, str], Sequence[Measured]], precision: str
) -> tuple[Sequence[Measured], Sequence[Measured]]:
    """Return what base and tuned model did. The weights of two models are never in memory together."""
    dtype, new_ids = stored_as(precision), ids_of(tuned_path)
    if (tuned_path / "adapter_config.json").is_file():
        model = load_model(base_path, dtype=dtype, quantised=Quantised.of(tuned_path), new_ids=new_ids)
        base = measure(model, "base")  # before the adapter is on it: switched off, its biases would stay
        return base, measure(with_adapter(model, tuned_path), "tuned")
    if not (tuned_path / "config.json").is_file():
        raise ModelError(
            "this folder holds neither an adapter nor a model",
            hint="name the folder that training wrote: it holds adapter_config.json or config.json",
            place=str(tuned_path),
        )
    base = measure(load_model(base_path, dtype=dtype, new_ids=new_ids), "base")
    return base, measure(load_model(tuned_path, dtype=dtype), "tuned")


def with_adapter(base: Any, folder: Path) -> Any:
    """Return the base with the adapter on it; one that fits in part is as wrong as one that doesn't."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="Found missing adapter keys")
            return lora.load(base, folder)
    except (OSError, ValueError, KeyError, RuntimeError, UserWarning) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(
            f"the adapter can't be put on this base ({reason})",
            hint="name the base it was trained on, and check that adapter_model.safetensors is whole",
            place=str(folder),
        ) from error


def measure(
    model: Any,
    name: str,
    exam: Exam,
    *,
    renderer: Renderer,
    max_new_tokens: int,
    capacity: int,
    precision: str,
    progress: Progress,
) -> Measured:
    """Return what a model does with the rows of an exam."""
    held_out, questions = exam.held_out, exam.questions
    _knows_the_tokens(model, name, held_out.texts)
    texts = row_nll(
        model,
        held_out.texts,
        capacity=capacity,
        precision=precision,
        stage=f"measure {name}",
        progress=progress,
    )
    conversations = by_conversation(texts, held_out)
    _is_a_number(conversations, name, held_out.conversations)
    tokenizer = renderer.tokenizer
    pad_id = next(iter(renderer.stop_ids)) if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    progress.start(f"ask {name}", len(questions), "prompt")
    with precise(model, precision):
        answers = generate(
            model,
            [question.ids for question in questions],
            stop_ids=renderer.stop_ids,
            max_new_tokens=max_new_tokens,
            pad_id=pad_id,
            on_done=progress.update,
        )
    progress.end()
    rooms = [room(model, len(question.ids), max_new_tokens=max_new_tokens) for question in questions]
    return Measured(
        texts=texts,
        conversations=conversations,
        answers=tuple(tokenizer.decode(answer, skip_special_tokens=True) for answer in answers),
        cut=sum(len(answer) >= space.answer for answer, space in zip(answers, rooms, strict=True)),
        clipped=sum(space.read < len(question.ids) for question, space in zip(questions, rooms, strict=True)),
    )


def _knows_the_tokens(model: Any, name: str, texts: Sequence[Encoded]) -> None:
    known = model.get_input_embeddings().weight.shape[0]
    largest = texts.most("highest") if isinstance(texts, Stored) else max(int(text.input_ids.max()) for text in texts)
    if largest >= known:
        raise ModelError(
            f"the {name} model knows {known:,} tokens, the held-out texts hold token {largest:,}:"
            " perplexity per token can't be compared over different vocabularies",
            hint="compare models that share one tokenizer",
        )


def _is_a_number(measured: RowNll, name: str, conversations: Sequence[Source]) -> None:
    wrong = np.flatnonzero(~np.isfinite(measured.nll_R)).tolist()
    if wrong:
        raise Failed(
            f"the loss of the {name} model is not a number on {len(wrong)} of {len(conversations)} conversations",
            hint="train with a smaller `train.learning_rate`, or with `--set train.precision=fp32`",
            place=str(conversations[wrong[0]]),
        )


def by_conversation(texts: RowNll, held_out: HeldOut) -> RowNll:
    """Return the sums over the texts of each conversation."""
    place_R, count = held_out.conversation_of, len(held_out.conversations)
    nll_C, tokens_C = (np.bincount(place_R, weights=values, minlength=count) for values in texts)
    return RowNll(nll_C.astype(np.float64), tokens_C.astype(np.int64))
