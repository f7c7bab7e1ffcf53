"""Attention over packed documents, registered with Transformers under its own name.

Shapes: B batch (always 1), H query heads, G key-value heads, T tokens of a pack, D head width.
"""

from itertools import pairwise
from typing import Any

import torch
from torch.nn import functional
from transformers import AttentionInterface

from luthier.core.errors import ModelError

NAME = "luthier_packed"
"""The implementation's name. Transformers builds no mask for a name it doesn't know: we need none."""


def packed_attention(  # noqa: PLR0913 - the signature is Transformers'
    module: torch.nn.Module,  # noqa: ARG001
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    bounds: list[int],
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: torch.Tensor | None = None,
    **_unused: Any,
) -> tuple[torch.Tensor, None]:
    """Return causal attention within each document; no document sees another.

    Args:
        module: The attention layer; not used, Transformers passes it.
        query: Shape (1, H, T, D).
        key: Shape (1, G, T, D), H a multiple of G.
        value: Shape (1, G, T, D).
        attention_mask: Must be None: documents are told by `bounds`.
        bounds: D + 1 integers: where documents begin, and the end of the last.
        scaling: Factor on query times key; 1/sqrt(D) when None.
        dropout: Share of attention weights set to zero.
        sliding_window: Tokens a token may look back at, itself included; None for all.
        softcap: Must be None: scores that are capped need another kernel.
        s_aux: Must be None: attention sinks need another kernel.

    Returns:
        Shape (1, T, H, D), and None in the place of attention weights.

    Raises:
        ModelError: The layer wants more than softmax attention.
    """
    if softcap is not None or s_aux is not None:
        raise ModelError(
            "the attention of this architecture caps its scores or has sinks, which packing would leave out",
            hint="use a model with plain softmax attention, such as Llama, Mistral, Qwen2 or Qwen3",
        )
    assert attention_mask is None, "a mask was built for packed attention: documents would be told twice"
    dtype = query.dtype
    if query.device.type == "cpu":
        # Measured on an AVX512-BF16 processor: torch's bfloat16 kernel takes two to three times as long as float32's
        # for documents of 100 tokens (docs/log.md). Float32 is also the more exact.
        query, key, value = query.float(), key.float(), value.float()
    else:
        # Under autocast the rotary embedding leaves queries and keys in float32, values are already lower.
        query, key = query.to(value.dtype), key.to(value.dtype)
        dtype = value.dtype
    grouped = query.shape[1] != key.shape[1]
    pieces = []
    with torch.autocast(query.device.type, enabled=False):
        for start, end in pairwise(bounds):
            length = end - start
            mask = None
            if sliding_window is not None and length > sliding_window:
                mask = _banded(length, sliding_window, device=query.device)
            pieces.append(
                functional.scaled_dot_product_attention(
                    query[:, :, start:end],
                    key[:, :, start:end],
                    value[:, :, start:end],
                    attn_mask=mask,
                    dropout_p=dropout,
                    is_causal=mask is None,
                    scale=scaling,
                    enable_gqa=grouped,
                )
            )
    return torch.cat(pieces, dim=2).transpose(1, 2).contiguous().to(dtype), None


def _banded(length: int, window: int, *, device: torch.device) -> torch.Tensor:
    """Return shape (length, length): True where a token may look, its own place and `window - 1` before."""
    ones = torch.ones(length, length, dtype=torch.bool, device=device)
    return ones.tril() & ones.triu(1 - window)


AttentionInterface.register(NAME, packed_attention)
