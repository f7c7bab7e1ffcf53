"""Supervised fine-tuning: the next token of every answer.

Shapes: S supervised positions of a pack.
"""

from collections.abc import Sequence

import torch

from luthier.model.forward import supervised_nll
from luthier.tokens.pack import Pack, packs
from luthier.tokens.render import Encoded


class Sft:
    """Cross-entropy on learned tokens: loss = -(1/N) * sum of log p(token | what stands before it).

    N counts the learned tokens of the whole optimizer step, so every token weighs the same however the step was
    cut into packs.
    """

    @staticmethod
    def collate(
        encoded: Sequence[Encoded], members: Sequence[int], capacity: int, *, padded: bool = False
    ) -> list[Pack]:
        """Return the examples of one optimizer step as packs of at most `capacity` tokens, `padded` as in `packs`."""
        return packs(encoded, members, capacity, padded=padded)

    @staticmethod
    def loss(model: torch.nn.Module, pack: Pack) -> torch.Tensor:
        """Return the summed negative log-likelihood of a pack's learned tokens, in nats: a scalar, float32."""
        return supervised_nll(model, pack).sum()
