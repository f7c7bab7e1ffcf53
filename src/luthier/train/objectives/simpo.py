"""Simple preference optimization."""
# ruff: noqa: N806 - names end in the letters of their shape

from typing import Any

from torch.nn.functional import logsigmoid

from luthier.recipe.methods import Simpo as Options
from luthier.tokens.pack import Pack
from luthier.train.objectives.objective import Share, Totals
from luthier.train.objectives.pairs import Pairs, endings, told


class Simpo(Pairs):
    """Mean over pairs of -log sigmoid(b * (log p(w|x) / |w| - log p(l|x) / |l|) - g) (arXiv:2405.14734, eq. 6).

    |w| counts tokens, b is `beta`, g is `gamma`. `sft_weight` adds the mean -log p per token of better endings.
    """

    def __init__(self, options: Options) -> None:
        self.options = options

    def loss(self, model: Any, pack: Pack, totals: Totals) -> Share:
        """Return the pack's part of the mean over the step's pairs."""
        options, ending = self.options, endings(model, pack)
        better_K, worse_K = ending.per_token()
        margin_K = options.beta * (better_K - worse_K)
        loss = -logsigmoid(margin_K - options.gamma).sum() / totals.items
        if options.sft_weight:
            loss = loss + options.sft_weight * ending.nll(totals)
        return Share(loss, told(ending, totals, options.beta * better_K, options.beta * worse_K))
