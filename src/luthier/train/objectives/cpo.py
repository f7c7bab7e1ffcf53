"""Contrastive preference optimization."""
# ruff: noqa: N806 - names end in the letters of their shape

from typing import Any

from luthier.recipe.methods import Cpo as Options
from luthier.tokens.pack import Pack
from luthier.train.objectives.objective import Share, Totals
from luthier.train.objectives.pairs import Pairs, endings, smoothed, told


class Cpo(Pairs):
    """Mean over pairs of -log sigmoid(b * (log p(w|x) - log p(l|x))), plus the likelihood of better endings.

    arXiv:2401.08417: loss = L(prefer), eq. 3, + L(NLL); the second is a mean over the tokens of the step, weighted by
    `sft_weight`. b is `beta`; with e, `label_smoothing`, the first is as in conservative DPO.
    """

    def __init__(self, options: Options) -> None:
        self.options = options

    def loss(self, model: Any, pack: Pack, totals: Totals) -> Share:
        """Return the pack's part of both means over the step."""
        options, ending = self.options, endings(model, pack)
        better_K, worse_K = options.beta * ending.better_K, options.beta * ending.worse_K
        loss = smoothed(better_K - worse_K, options.label_smoothing).sum() / totals.items
        if options.sft_weight:
            loss = loss + options.sft_weight * ending.nll(totals)
        return Share(loss, told(ending, totals, better_K, worse_K))
