"""Attention over packed documents, registered with Transformers under its own name.

Shapes: B batch (always 1), H query heads, G key-value heads, T tokens of a pack, D head width.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch.nn import functional
from transformers import AttentionInterface

NAME = "luthier_packed"
"""The implementation's name. Transformers builds no mask for a name it doesn't know: we need none."""

Path = list[tuple[int, int]]
"""Stretches of tokens, each by where it begins and ends, that read one after another are a document."""


def first_of(path: Path, count: int) -> Path:
    """Return the way along the first `count` tokens of a path."""
    found: Path = []
    for start, end in path:
        if count <= 0:
            break
        found.append((start, min(end, start + count)))
        count -= end - start
    return found


def onward(path: Path, start: int, end: int) -> Path:
    """Return a path and a further stretch."""
    if path and path[-1][1] == start:
        return [*path[:-1], (path[-1][0], end)]
    return [*path, (start, end)]


def along(path: Path, tensor: torch.Tensor) -> torch.Tensor:
    """Return the tokens of a path, for `tensor` of shape (1, G, T, D)."""
    pieces = [tensor[:, :, start:end] for start, end in path]
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=2)


class Memory:
    """Keys and values of a document of an earlier pass, as far as the first document of the next begins like it."""

    def __init__(self) -> None:
        self.kept = 0
        """How many first tokens of the last document of a pass are kept for the next: set before each pass."""
        self._layers: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def before(self, layer: int, key: torch.Tensor, value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return keys and values of a pass with those that were kept before them."""
        if layer not in self._layers:
            return key, value
        keys, values = self._layers[layer]
        return torch.cat([keys, key], dim=2), torch.cat([values, value], dim=2)

    def keep(self, layer: int, key: torch.Tensor, value: torch.Tensor, path: Path) -> None:
        """Keep what the next pass begins with: of the last document, whose path this is, the first tokens."""
        kept = first_of(path, self.kept)
        if kept:
            # Copies: a slice would hold the keys of the whole pass.
            self._layers[layer] = along(kept, key).clone(), along(kept, value).clone()
        else:
            self._layers.pop(layer, None)


def packed_attention(  # noqa: PLR0913 - the signature is Transformers'
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    bounds: list[int],
    shared: list[int] | None = None,
    memory: "Memory | None" = None,
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
    plain = softcap is None and s_aux is None
    grouped = query.shape[1] != key.shape[1]
    pieces = []
    with torch.autocast(query.device.type, enabled=False):
        if memory is not None:
            key, value = memory.before(module.layer_idx, key, value)  # type: ignore[arg-type]
        earlier = key.shape[2] - query.shape[2]
        path: Path = [(0, earlier)]  # where the tokens of the document stand among keys
        for (start, end), common in zip(pairwise(bounds), shared or [0] * (len(bounds) - 1), strict=True):
            path = onward(first_of(path, common), earlier + start, earlier + end)
            keys, values = along(path, key), along(path, value)
            if first is not None:
                keys, values = torch.cat([first[0], keys], dim=2), torch.cat([first[1], values], dim=2)
            own, length = end - start, keys.shape[2]
            document = query[:, :, start:end], keys, values
            mask = None
            if length > own or (sliding_window is not None and length > sliding_window):
                mask = _banded(own, length, sliding_window or length, device=query.device)
            if plain:
                piece = functional.scaled_dot_product_attention(
                    *document,
                    attn_mask=mask,
                    dropout_p=dropout,
                    is_causal=mask is None,
                    scale=scaling,
                    enable_gqa=grouped,
                )
            else:
                sees = _banded(own, length, length, device=query.device) if mask is None else mask
                piece = _explicit(*document, sees=sees, scaling=scaling, dropout=dropout, softcap=softcap, sinks=s_aux)
            pieces.append(piece)
        if memory is not None:
            memory.keep(module.layer_idx, key, value, path)  # type: ignore[arg-type]
    return torch.cat(pieces, dim=2).transpose(1, 2).contiguous().to(dtype), None


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
