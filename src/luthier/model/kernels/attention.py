"""Attention over packed documents, registered with Transformers under its own name.

Shapes: B batch (always 1), H query heads, G key-value heads, T tokens of a pack, D head width.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch.nn import functional
from transformers import AttentionInterface

from luthier.model.kernels.memory import Group, Memory, Path, along, first_of, onward

NAME = "luthier_packed"
"""The implementation's name. Transformers builds no mask for a name it doesn't know: we need none."""


def packed_attention(  # noqa: PLR0913 - the signature is Transformers'
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    bounds: list[int],
    shared: list[int] | None = None,
    memory: Memory | None = None,
    prefixes: Sequence[tuple[torch.Tensor, torch.Tensor]] | None = None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: torch.Tensor | None = None,
    **_unused: Any,
) -> tuple[torch.Tensor, None]:
    """Return causal attention within each document; none sees another, but for beginnings that are shared.

    Args:
        module: The attention layer, which knows its number.
        query: Shape (1, H, T, D).
        key: Shape (1, G, T, D), H a multiple of G.
        value: Shape (1, G, T, D).
        attention_mask: Must be None: documents are told by `bounds`.
        bounds: D + 1 integers: where documents begin, and the end of the last.
        shared: D integers: how many first tokens of the document before stand before this one too, wherever they stand
            themselves. The first one shares what is in the memory. None for none.
        memory: What earlier passes left, and where this one leaves what the next will share. None for neither.
        prefixes: For each layer keys and values that stand before every document: shapes (1, G, K, D). None for none.
        scaling: Factor on query times key; 1/sqrt(D) when None.
        dropout: Share of attention weights set to zero.
        sliding_window: Tokens a token may look back at, itself included; None for all.
        softcap: Scores are bent to lie within plus and minus this (Gemma 2); None leaves them as they are.
        s_aux: Shape (H,): a score of each head that takes its share of the softmax and gives nothing (GPT-OSS).

    Returns:
        Shape (1, T, H, D), and None in the place of attention weights.

    Raises:
        TypeError: The architecture builds a mask of its own, which packing can't follow.
    """
    if attention_mask is not None:
        message = "the architecture builds a mask of its own"
        raise TypeError(message)
    dtype = query.dtype
    if query.device.type == "cpu":
        # Measured on an AVX512-BF16 processor: torch's bfloat16 kernel takes two to three times as long as float32's
        # for documents of 100 tokens (docs/log.md). Float32 is also the more exact.
        query, key, value = query.float(), key.float(), value.float()
    else:
        # Under autocast the rotary embedding leaves queries and keys in float32, values are already lower.
        query, key = query.to(value.dtype), key.to(value.dtype)
        dtype = value.dtype
    first = None if prefixes is None else tuple(part.to(key.dtype) for part in prefixes[int(module.layer_idx)])  # type: ignore[arg-type]
    how = _How(scaling, dropout, softcap, s_aux)
    together = shared or [0] * (len(bounds) - 1)
    with torch.autocast(query.device.type, enabled=False):
        if memory is not None:
            assert first is None, "nothing is remembered where virtual tokens stand before documents"
            layer = int(module.layer_idx)  # type: ignore[arg-type]
            key, value = memory.before(layer, key, value)
            kept = key.shape[2] - query.shape[2]
            groups = memory.groups(bounds, together, kept=kept, device=query.device)
            pieces = [_together(group, query, key, value, sliding_window, how) for group in groups]
            memory.keep(layer, key, value)
        else:
            pieces = []
            path: Path = []  # where the tokens of the document stand
            for (start, end), common in zip(pairwise(bounds), together, strict=True):
                path = onward(first_of(path, common), start, end)
                keys, values = along(path, key), along(path, value)
                if first is not None:
                    keys, values = torch.cat([first[0], keys], dim=2), torch.cat([first[1], values], dim=2)
                own, length = end - start, keys.shape[2]
                mask = None
                if length > own or (sliding_window is not None and length > sliding_window):
                    mask = _banded(own, length, sliding_window or length, device=query.device)
                pieces.append(_attend(query[:, :, start:end], keys, values, mask, how))
    return torch.cat(pieces, dim=2).transpose(1, 2).contiguous().to(dtype), None


class _How(NamedTuple):
    """How scores become weights; `packed_attention` says what each is."""

    scaling: float | None
    dropout: float
    softcap: float | None
    sinks: torch.Tensor | None


def _together(
    group: Group, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, window: int | None, how: _How
) -> torch.Tensor:
    """Return the attention of a group of documents: shape (1, H, Q, D)."""
    keys, values = along(group.path, key), along(group.path, value)
    mask = None if group.alone else group.sees
    if window is not None and keys.shape[2] > window:
        mask = group.within(window)
    return _attend(query[:, :, group.start : group.end], keys, values, mask, how)


def _attend(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None, how: _How
) -> torch.Tensor:
    """Return attention in one call; without a mask it is causal. Shapes as `_explicit`'s."""
    if how.softcap is None and how.sinks is None:
        return functional.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=mask,
            dropout_p=how.dropout,
            is_causal=mask is None,
            scale=how.scaling,
            enable_gqa=query.shape[1] != key.shape[1],
        )
    own, length = query.shape[2], key.shape[2]
    sees = _banded(own, length, length, device=query.device) if mask is None else mask
    return _explicit(
        query,
        key,
        value,
        sees=sees,
        scaling=how.scaling,
        dropout=how.dropout,
        softcap=how.softcap,
        sinks=how.sinks,
    )


def _explicit(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    *,
    sees: torch.Tensor,
    scaling: float | None,
    dropout: float,
    softcap: float | None,
    sinks: torch.Tensor | None,
) -> torch.Tensor:
    """Return the attention of one document with every score written out, as no fused kernel of torch computes it.

    Scores and softmax are float32: L * K of them for each head, so memory grows with the square of a document.

    Args:
        query: Shape (1, H, L, D), L tokens of the document.
        key: Shape (1, G, K, D), K those and what stands before them elsewhere.
        value: Shape (1, G, K, D).
        sees: Shape (L, K): True where a token may look.
        scaling: As in `packed_attention`; so are the next two.
        dropout: Share of attention weights set to zero.
        softcap: Bound of the scores.
        sinks: Shape (H,): a further column of scores, dropped after the softmax.

    Returns:
        Shape (1, H, L, D), in the dtype of `value`.
    """
    groups = key.shape[1]
    # Heads that share keys and values stand together: (1, G, H/G, L, D).
    wanted = query.float().view(1, groups, -1, *query.shape[2:]) * (
        query.shape[-1] ** -0.5 if scaling is None else scaling
    )
    scores = wanted @ key.float()[:, :, None].transpose(-1, -2)
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    scores = scores.masked_fill(~sees, float("-inf"))
    if sinks is None:
        weights = scores.softmax(dim=-1)
    else:
        column = sinks.float().view(1, groups, -1, 1, 1).expand(*scores.shape[:-1], 1)
        weights = torch.cat([scores, column], dim=-1).softmax(dim=-1)[..., :-1]
    weights = functional.dropout(weights, p=dropout).to(value.dtype)
    return (weights @ value[:, :, None]).flatten(1, 2)


def _banded(own: int, length: int, window: int, *, device: torch.device) -> torch.Tensor:
    """Return shape (own, length): True where the last `own` tokens may look, each at itself and `window - 1` before."""
    ones = torch.ones(own, length, dtype=torch.bool, device=device)
    before = length - own
    return ones.tril(before) & ones.triu(before + 1 - window)


AttentionInterface.register(NAME, packed_attention)
