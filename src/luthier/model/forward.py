"""One forward pass over a pack: the logits of the positions that are learned, and of no other.

Shapes: D documents and T tokens of a pack, S supervised positions, V vocabulary.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional


class Packed(Protocol):
    """What a forward pass needs of a pack; `luthier.tokens.pack.Pack` says what each array holds."""

    @property
    def input_ids(self) -> NDArray[np.int64]:
        """Shape (T,)."""

    @property
    def position_ids(self) -> NDArray[np.int64]:
        """Shape (T,)."""

    @property
    def bounds(self) -> NDArray[np.int32]:
        """Shape (D + 1,)."""

    @property
    def predict_at(self) -> NDArray[np.int64]:
        """Shape (S,)."""

    @property
    def targets(self) -> NDArray[np.int64]:
        """Shape (S,)."""


def precise(model: torch.nn.Module, precision: str) -> AbstractContextManager[object]:
    """Return the context in which a model computes: `bf16` for its large products, by autocast, or as stored."""
    if precision == "bf16":
        return torch.autocast(next(model.parameters()).device.type, dtype=torch.bfloat16)
    return nullcontext()


def supervised_logits(model: torch.nn.Module, pack: Packed) -> torch.Tensor:
    """Return the logits that predict the learned tokens: shape (S, V), in the dtype the model computes in.

    `use_cache=False` is not a saving but a condition: with a cache, Transformers 5 takes the documents for one
    and they see each other. The head runs on the S rows alone.
    """
    device = next(model.parameters()).device
    logits: torch.Tensor = model(
        input_ids=torch.from_numpy(pack.input_ids)[None].to(device),
        position_ids=torch.from_numpy(pack.position_ids)[None].to(device),
        logits_to_keep=torch.from_numpy(pack.predict_at).to(device),
        bounds=pack.bounds.tolist(),
        use_cache=False,
    ).logits
    return logits[0]


def supervised_nll(model: torch.nn.Module, pack: Packed) -> torch.Tensor:
    """Return the negative log-likelihood of each learned token, in nats: shape (S,), float32."""
    logits = supervised_logits(model, pack)
    targets = torch.from_numpy(pack.targets).to(logits.device)
    return functional.cross_entropy(logits.float(), targets, reduction="none")
