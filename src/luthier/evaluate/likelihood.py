"""How likely a model finds the learned tokens of each row.

Shapes: R rows, S supervised positions of a pack.
"""
# ruff: noqa: N806, N815 - names end in the letters of their shape

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from luthier.core.progress import Progress, Silent
from luthier.model.forward import batching, precise, supervised_nll
from luthier.model.generate import without_dropout
from luthier.tokens.pack import stream
from luthier.tokens.render import Encoded
from luthier.tokens.store import Stored


class RowNll(NamedTuple):
    """What a model thinks of each row."""

    nll_R: NDArray[np.float64]
    """Summed negative log-likelihood of the learned tokens, in nats; 0 where there are none. Shape (R,)."""
    tokens_R: NDArray[np.int64]
    """Learned tokens that something precedes. Shape (R,)."""


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
    watch = progress or Silent()
    tokens_R = learned_tokens(encoded)
    nll_R = np.zeros(len(encoded), dtype=np.float64)
    watch.start(stage, len(encoded), "row")
    done = int((tokens_R == 0).sum())
    # Not inference_mode, as in `luthier.model.generate`: training may go on with this model.
    with torch.no_grad(), without_dropout(model), precise(model, precision):
        padded = batching(model).way == "padded"
        for pack in stream(encoded, np.flatnonzero(tokens_R).tolist(), capacity, padded=padded):
            np.add.at(nll_R, pack.rows, supervised_nll(model, pack).double().cpu().numpy())
            done += pack.documents
            watch.update(done)
    watch.end()
    return RowNll(nll_R, tokens_R)
