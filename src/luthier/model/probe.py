"""May documents share a forward pass? Asked of every model that is loaded, of the model itself.

A handful of passes over two short documents tells more than any list of architectures: a layer that carries state
over a boundary, a mask nobody told us of, an attention that is more than softmax all show in the logits.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from luthier.core.errors import ModelError
from luthier.model.forward import Batching, Documents, Packed, packed_logits, padded_logits, plain, set_batching
from luthier.model.generate import attending, own_attention
from luthier.model.kernels import attention

LEAK_LIMIT = 1e-6
"""A packed document's logits are computed by the same kernels from the same numbers: they may not move."""

ROUNDING = {torch.float32: 1e-4, torch.bfloat16: 5e-2, torch.float16: 1e-2}
"""Share of the largest logit by which two orders of the same sums may differ, by type of the weights."""

FOREIGN = (TypeError, ValueError, KeyError, IndexError, AttributeError, RuntimeError)
"""What architectures raise that were not written for packs: unknown arguments, shapes that don't fit, masks of None."""

Logits = Callable[[Any, Packed], torch.Tensor]
"""A way to compute a pack's supervised logits: `packed_logits` or `padded_logits`."""


def settle(model: Any, *, place: str) -> None:
    """Find out how the rows of a freshly loaded model may be batched, and set it up for that.

    A model whose documents don't see each other in a pack, and whose packed logits are its own, stays packed. Any
    other gets its own attention back and is asked the same of padded batches.

    Raises:
        ModelError: The weights give NaN, or rows of a padded batch change each other.
    """
    vocabulary = model.get_input_embeddings().num_embeddings
    refusal, measured = "its attention can't be exchanged", ""
    if plain(model).config._attn_implementation == attention.NAME:
        refusal, measured = _packable(model, vocabulary)
    if not refusal:
        set_batching(model, Batching("packed", measured, _turn(model)))
        return
    if plain(model).config._attn_implementation == attention.NAME:
        plain(model).config._attn_implementation = own_attention(model)
    try:
        seen = leak(model, vocabulary=vocabulary, logits=padded_logits)
        off = distortion(model, vocabulary=vocabulary, logits=padded_logits)
    except torch.OutOfMemoryError:
        raise
    except FOREIGN as error:
        raise ModelError(
            f"this architecture can be run neither on packs nor on padded batches ({error})",
            hint="use another model, such as Llama, Mistral, Qwen or Gemma",
            place=place,
        ) from error
    if math.isnan(seen + off):
        raise ModelError(
            "its weights give numbers that are none (NaN)",
            hint="copy the model's files again, or use another model",
            place=place,
        )
    # Rows of a batch are apart by construction. With experts, how many tokens each gets may change how sums are cut.
    if max(seen, off) > ROUNDING[model.dtype]:
        raise ModelError(
            f"rows of a batch change each other's logits by {seen:.1e} of the largest, and padding by {off:.1e}",
            hint="use another model, such as Llama, Mistral, Qwen or Gemma",
            place=place,
        )
    set_batching(model, Batching("padded", refusal, _turn(model)))


def _packable(model: Any, vocabulary: int) -> tuple[str, str]:
    """Return why a model can't be packed, empty when it can, and what was measured."""
    try:
        if not heeds(model, vocabulary=vocabulary):
            return "the architecture mixes tokens by itself, whatever attention is registered", ""
        seen, off = leak(model, vocabulary=vocabulary), distortion(model, vocabulary=vocabulary)
    except torch.OutOfMemoryError:
        raise
    except FOREIGN as error:
        return f"its attention can't be exchanged ({error})", ""
    measured = f"documents of a pack move each other's logits by {seen:.1e} of the largest, packing by {off:.1e}"
    fits = seen <= LEAK_LIMIT and off <= ROUNDING[model.dtype]
    return ("" if fits else measured), measured


def _turn(model: Any) -> int | None:
    """Return the length beyond which LongRoPE (Phi-3) turns to other angles, None where angles are always the same.

    A probe of a few tokens can't see it. Dynamic scaling begins beyond the context, where no row is kept.
    """
    rope = getattr(plain(model).config.get_text_config(), "rope_parameters", None) or {}
    kinds = [rope, *(value for value in rope.values() if isinstance(value, dict))]  # some have one for each layer type
    turns = [kind["original_max_position_embeddings"] for kind in kinds if kind.get("rope_type") == "longrope"]
    return min(turns, default=None)


def leak(model: Any, *, vocabulary: int, logits: Logits = packed_logits) -> float:
    """Return how much one document of a pack changes the logits of the next: 0.0 when they are isolated.

    Two short documents share a pass; the first is exchanged; the largest change of the second's logits is returned, as
    a share of the largest logit.
    """
    first, second = _two(vocabulary)
    one = _last_document(model, [first, second], logits)
    other = _last_document(model, [first[::-1], second], logits)
    return float((one - other).abs().max() / one.abs().max())


def heeds(model: Any, *, vocabulary: int) -> bool:
    """Return whether the model's attention is ours at all: two documents told as one must give other logits.

    Some architectures compute attention by themselves whatever is registered; where documents end never reaches them.
    Low precision may round their leak away; no two logits agree when every token sees twice as much.
    """
    first, second = _two(vocabulary)
    apart, joined = (_pack([first, second], bounds=bounds) for bounds in ([0, 14, 24], [0, 24]))
    with torch.no_grad():
        return not torch.equal(packed_logits(model, apart), packed_logits(model, joined))


def distortion(model: Any, *, vocabulary: int, logits: Logits = packed_logits) -> float:
    """Return how far logits of a shared pass are from those of the architecture alone, as a share of the largest.

    Alone means: one document, no padding, and the attention that Transformers itself gives the architecture. Finds
    layers whose attention is more than ours computes, and padding that reaches what stands before it.
    """
    first, second = _two(vocabulary)
    ours = _last_document(model, [first, second], logits)
    ids = torch.from_numpy(second)[None].to(next(model.parameters()).device)
    used = plain(model).config._attn_implementation
    with torch.no_grad(), attending(model, "eager" if used == attention.NAME else used):
        theirs = model(input_ids=ids, use_cache=False).logits[0, :-1].float()
    return float((ours - theirs).abs().max() / theirs.abs().max())


def _two(vocabulary: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return documents of 14 and 10 tokens, spread over the beginning of the vocabulary."""
    ids = np.linspace(0, min(vocabulary, 1000) - 1, 24).astype(np.int64)
    return ids[:14], ids[14:]


def _pack(documents: Sequence[NDArray[np.int64]], *, bounds: Sequence[int] | None = None) -> Documents:
    """Return documents as a pack, all but first tokens learned; `bounds` may tell other ends than theirs."""
    lengths = [len(document) for document in documents]
    ids = np.concatenate(documents)
    learned = np.concatenate([np.arange(length) > 0 for length in lengths])
    told = np.concatenate([[0], np.cumsum(lengths)]) if bounds is None else np.asarray(bounds)
    return Documents(
        input_ids=ids,
        position_ids=np.concatenate([np.arange(length) for length in lengths]),
        bounds=told.astype(np.int32),
        shared=np.zeros(len(told) - 1, dtype=np.int32),
        predict_at=np.flatnonzero(learned) - 1,
        targets=ids[learned],
        document=np.repeat(np.arange(len(lengths)), lengths)[learned],
        documents=len(told) - 1,
        width=max(16, *lengths),
    )


def _last_document(model: Any, documents: Sequence[NDArray[np.int64]], logits: Logits) -> torch.Tensor:
    """Return the logits of the last document: float32, shape (its tokens - 1, vocabulary)."""
    with torch.no_grad():
        return logits(model, _pack(documents))[-(len(documents[-1]) - 1) :].float()
