"""How likely a model finds the learned tokens of each row, or all of them.

Shapes: R rows, S supervised positions of a pack.
"""
# ruff: noqa: N803, N806, N815 - names end in the letters of their shape

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, overload

import numpy as np
import torch
from numpy.typing import NDArray

from luthier.core.progress import Progress, Silent
from luthier.model.forward import batching, precise, supervised_nll
from luthier.model.generate import without_dropout
from luthier.tokens.pack import Pack, lengths_of, stream
from luthier.tokens.render import Encoded
from luthier.tokens.store import Stored


class RowNll(NamedTuple):
    """What a model thinks of each row."""

    nll_R: NDArray[np.float64]
    """Summed negative log-likelihood of the learned tokens, in nats; 0 where there are none. Shape (R,)."""
    tokens_R: NDArray[np.int64]
    """Learned tokens that something precedes. Shape (R,)."""


class Likelihood(NamedTuple):
    """How likely a model finds texts."""

    learned: RowNll
    """What training learns of them."""
    every: RowNll | None = None
    """All their tokens, the prompts' too, but for a first one; None where nobody asked."""
    computed: str = "torch"
    """What computed it: another program rounds otherwise, always in the same direction."""


LOGITS = 2**28
"""Logits of a pass, at most, unless a row alone has more: a gigabyte as float32."""


def learned_tokens(encoded: Sequence[Encoded]) -> NDArray[np.int64]:
    """Return how many tokens of each row are learned, shape (R,); a first token is none: nothing precedes it."""
    if isinstance(encoded, Stored):
        return encoded.learned
    return np.array([row.learned[1:].sum() for row in encoded], dtype=np.int64)


def row_nll(
    model: Any,
    encoded: Sequence[Encoded],
    *,
    capacity: int,
    precision: str = "fp32",
    stage: str = "measure",
    progress: Progress | None = None,
) -> RowNll:
    """Return the summed negative log-likelihood of each row's learned tokens.

    Rows are packed, so a pass costs what their tokens cost; rows of a model that can't be packed are padded, with
    others of like lengths. One pack is in memory at a time, however many rows there are. A row's value does not depend
    on the rows it goes with, but for rounding. May be called in the middle of a training: dropout is off while it
    measures, and the model's mode is afterwards what it was.

    Args:
        model: A causal language model of `load_model`, adapters on or off.
        encoded: The rows. One without a learned token costs nothing.
        capacity: Tokens of a pack, at least those of the longest row.
        precision: `bf16`, `fp16` or `fp32`, as the plan says.
        stage: What to tell those who watch.
        progress: Somebody who watches.

    Raises:
        ValueError: A row is longer than the capacity.
    """
    tokens_R = learned_tokens(encoded)
    nll_R = np.zeros(len(encoded), dtype=np.float64)
    for pack, nll_S in _measured(model, encoded, tokens_R, capacity, precision, stage, progress or Silent()):
        np.add.at(nll_R, pack.rows, nll_S)
    return RowNll(nll_R, tokens_R)


def likelihood(
    model: Any,
    encoded: Sequence[Encoded],
    fresh_R: NDArray[np.int64],
    *,
    capacity: int,
    precision: str = "fp32",
    stage: str = "measure",
    progress: Progress | None = None,
) -> Likelihood:
    """Return what `row_nll` does and the same of all tokens, from the same passes.

    Args:
        model: As in `row_nll`, like all that is not named here.
        encoded: The rows.
        fresh_R: The first token of each that counts, shape (R,): those before it count in another row.
        capacity: Tokens of a pack; fewer go into one where the vocabulary is large.
        precision: `bf16`, `fp16` or `fp32`.
        stage: What to tell those who watch.
        progress: Somebody who watches.
    """
    whole = Whole(encoded, fresh_R)
    lengths_R = lengths_of(encoded)
    capacity = max(min(capacity, LOGITS // len(model.get_input_embeddings().weight)), int(lengths_R.max(initial=1)))
    tokens_R = np.maximum(lengths_R - np.maximum(fresh_R, 1), 0)
    nll_KR = np.zeros((2, len(encoded)), dtype=np.float64)
    for pack, nll_S in _measured(model, whole, tokens_R, capacity, precision, stage, progress or Silent()):
        learned_S = np.concatenate([encoded[row].learned[max(1, fresh_R[row]) :] for row in pack.members])
        np.add.at(nll_KR[0], pack.rows[learned_S], nll_S[learned_S])
        np.add.at(nll_KR[1], pack.rows, nll_S)
    return Likelihood(RowNll(nll_KR[0], learned_tokens(encoded)), RowNll(nll_KR[1], tokens_R))


class Whole(Sequence[Encoded]):
    """Rows of which every token counts, from some first one on."""

    def __init__(self, encoded: Sequence[Encoded], fresh_R: NDArray[np.int64]) -> None:
        self.encoded, self.fresh_R = encoded, fresh_R

    def __len__(self) -> int:
        return len(self.encoded)

    @overload
    def __getitem__(self, place: int) -> Encoded: ...
    @overload
    def __getitem__(self, place: slice) -> list[Encoded]: ...
    def __getitem__(self, place: int | slice) -> Encoded | list[Encoded]:
        if isinstance(place, slice):
            return [self[one] for one in range(*place.indices(len(self)))]
        row = self.encoded[place]
        return replace(row, learned=np.arange(row.length) >= max(1, self.fresh_R[place]))


def _measured(
    model: Any,
    encoded: Sequence[Encoded],
    tokens_R: NDArray[np.int64],
    capacity: int,
    precision: str,
    stage: str,
    watch: Progress,
) -> Iterator[tuple[Pack, NDArray[np.float64]]]:
    """Yield packs of the rows that have a token, each with the nats of its supervised positions, shape (S,)."""
    watch.start(stage, len(encoded), "row")
    done = int((tokens_R == 0).sum())
    # Not inference_mode, as in `luthier.model.generate`: training may go on with this model.
    with torch.no_grad(), without_dropout(model), precise(model, precision):
        padded = batching(model).way == "padded"
        for pack in stream(encoded, np.flatnonzero(tokens_R).tolist(), capacity, padded=padded):
            yield pack, supervised_nll(model, pack).double().cpu().numpy()
            done += pack.documents
            watch.update(done)
    watch.end()
