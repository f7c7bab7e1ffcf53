"""A reward model: of two endings the better one scores higher.

Shapes: D documents of a pack, B pairs of a pack.
"""
# ruff: noqa: N806 - names end in the letters of their shape

from typing import Any

import torch
from torch.nn import functional

from luthier.model.heads import scores
from luthier.recipe.methods import Reward as Options
from luthier.tokens.pack import Pack
from luthier.train.objectives.objective import Share, Totals
from luthier.train.objectives.pairs import Pairs


class Reward(Pairs):
    """Bradley-Terry on scores r: loss = -(1/N) * sum of log sigmoid(r_better - r_worse - m), N pairs of the step.

    Source: Ouyang et al. 2022, arXiv:2203.02155, equation 1; with the margin m of a pair Touvron et al. 2023,
    arXiv:2307.09288, equation 2. Only differences are learned, so scores may drift; `center` adds
    c * (r_better + r_worse)^2 a pair (Eisenstein et al. 2023, arXiv:2312.09244).
    """

    def __init__(self, options: Options) -> None:
        self.options = options

    def loss(self, model: Any, pack: Pack, totals: Totals) -> Share:
        """Return the pack's loss in nats over the pairs of the step; the share ranked right, and by how much."""
        scores_D = scores(model, pack)[:, 0]
        better_B, worse_B = scores_D[0::2], scores_D[1::2]
        gap_B = better_B - worse_B
        margin_B = torch.from_numpy(pack.labels[0::2]).nan_to_num(0.0).to(gap_B) * self.options.margin
        loss_B = -functional.logsigmoid(gap_B - margin_B) + self.options.center * (better_B + worse_B) ** 2
        right = (gap_B > 0).sum().double()  # shares of packs add up to 1 in double precision
        figures = {"accuracy": right / totals.items, "margin": gap_B.detach().sum() / totals.items}
        return Share(loss_B.sum() / totals.items, figures)
