"""What objectives on pairs have in common: two endings of one conversation, and how likely each is.

Shapes: K pairs of a pack, which are 2K documents.
"""
# ruff: noqa: N803, N806, N815 - names end in the letters of their shape

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch.nn.functional import logsigmoid

from luthier.tokens.pack import Pack, pairs
from luthier.tokens.render import Encoded
from luthier.train.objectives.likelihood import learned_of, log_p
from luthier.train.objectives.objective import Totals


class Pairs:
    """Pairs to packs, and what to count of them; an objective on pairs adds its loss."""

    texts = 2

    def collate(
        self, rows: Sequence[Encoded], members: Sequence[int], capacity: int, *, padded: bool = False
    ) -> list[Pack]:
        """Return the pairs of one optimizer step as packs of at most `capacity` tokens; none is cut in two."""
        return pairs(rows, members, capacity, padded=padded)

    def totals(self, packs: Sequence[Pack]) -> Totals:
        """Return the pairs and learned tokens of a step, those of better endings counted apart too."""
        return Totals(
            items=sum(pack.documents for pack in packs) // 2,
            supervised=sum(len(pack.targets) for pack in packs),
            chosen=sum(int(learned_of(pack)[::2].sum()) for pack in packs),
        )


class Endings(NamedTuple):
    """How likely a model finds the two endings of each pair: log p in nats, summed, and over how many tokens."""

    better_K: torch.Tensor
    worse_K: torch.Tensor
    better_tokens_K: torch.Tensor
    worse_tokens_K: torch.Tensor

    def per_token(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the means of log p over the tokens of the better and the worse endings."""
        return self.better_K / self.better_tokens_K, self.worse_K / self.worse_tokens_K

    def nll(self, totals: Totals) -> torch.Tensor:
        """Return the share of the better endings' mean negative log-likelihood per token."""
        return -self.better_K.sum() / totals.chosen


def endings(model: Any, pack: Pack) -> Endings:
    """Return how likely a model finds the endings of a pack's pairs."""
    logp_D = log_p(model, pack)
    tokens_D = torch.from_numpy(learned_of(pack)).to(logp_D)
    return Endings(logp_D[::2], logp_D[1::2], tokens_D[::2], tokens_D[1::2])


def smoothed(margin_K: torch.Tensor, smoothing: float) -> torch.Tensor:
    """Return -log sigmoid of a margin, for labels of which a share is thought to be the wrong way round."""
    return -(1 - smoothing) * logsigmoid(margin_K) - smoothing * logsigmoid(-margin_K)


def told(
    ending: Endings, totals: Totals, reward_better_K: torch.Tensor, reward_worse_K: torch.Tensor
) -> Mapping[str, torch.Tensor]:
    """Return shares of what is worth telling: means over the pairs of the step."""
    better_K, worse_K = reward_better_K.detach(), reward_worse_K.detach()
    means = {
        "rewards_chosen": better_K,
        "rewards_rejected": worse_K,
        "margin": better_K - worse_K,
        "accuracy": (better_K > worse_K).double(),
        "logps_chosen": ending.better_K.detach(),
        "logps_rejected": ending.worse_K.detach(),
    }
    return {name: value_K.sum() / totals.items for name, value_K in means.items()}
