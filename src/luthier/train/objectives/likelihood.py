"""How likely a model finds each document of a pack.

Shapes: D documents of a pack, S supervised positions.
"""
# ruff: noqa: N806 - names end in the letters of their shape

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from luthier.model.forward import supervised_nll
from luthier.tokens.pack import Pack


def learned_of(pack: Pack) -> NDArray[np.int64]:
    """Return how many tokens of each document are learned, shape (D,)."""
    return np.bincount(pack.document, minlength=pack.documents)


def log_p(model: Any, pack: Pack) -> torch.Tensor:
    """Return log p(learned tokens | what stands before them) of each document, in nats: shape (D,), float32.

    Each document is summed alone: its number doesn't depend on its neighbours, and sums are in the same order again
    on a GPU, where a scattered addition's would not be.
    """
    nll_S = supervised_nll(model, pack)
    parts = torch.split(nll_S, learned_of(pack).tolist())
    return -torch.stack([part.sum() for part in parts])
