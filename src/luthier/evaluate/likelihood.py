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
from luthier.model.forward import precise, supervised_nll
from luthier.model.generate import without_dropout
from luthier.tokens.pack import packs
from luthier.tokens.render import Encoded


class RowNll(NamedTuple):
    """What a model thinks of each row."""

    nll_R: NDArray[np.float64]
    """Summed negative log-likelihood of the learned tokens, in nats; 0 where there are none. Shape (R,)."""
    tokens_R: NDArray[np.int64]
    """Learned tokens that something precedes. Shape (R,)."""


def learned_tokens(encoded: Encoded) -> int:
    """Return how many tokens of a row are learned; a first token is none, because nothing precedes it."""
    return int(encoded.learned[1:].sum())


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

    Rows are packed, so a pass costs what their tokens cost. A row's value does not depend on the rows it is
    packed with, but for rounding. May be called in the middle of a training: dropout is off while it
    measures, and the model's mode is afterwards what it was.

    Args:
        model: A causal language model with packed attention, adapters on or off.
        encoded: The rows. One without a learned token costs nothing.
        capacity: Tokens of a pack, at least those of the longest row.
        precision: `bf16` or `fp32`, as the plan says.
        stage: What to tell those who watch.
        progress: Somebody who watches.

    Raises:
        ValueError: A row is longer than the capacity.
    """
    watch = progress or Silent()
    tokens_R = np.array([learned_tokens(row) for row in encoded], dtype=np.int64)
    nll_R = np.zeros(len(encoded), dtype=np.float64)
    watch.start(stage, len(encoded), "row")
    done = int((tokens_R == 0).sum())
    # Not inference_mode, as in `luthier.model.generate`: training may go on with this model.
    with torch.no_grad(), without_dropout(model), precise(model, precision):
        for pack in packs(encoded, np.flatnonzero(tokens_R).tolist(), capacity):
            nll_S = supervised_nll(model, pack).double().cpu().numpy()
            nll_R += np.bincount(pack.rows, weights=nll_S, minlength=len(encoded))
            done += pack.documents
            watch.update(done)
    watch.end()
    return RowNll(nll_R, tokens_R)
