"""Odds ratio preference optimization.

Shapes: K pairs of a pack.
"""
# ruff: noqa: N803, N806 - names end in the letters of their shape

from typing import Any

import torch
from torch.nn.functional import logsigmoid

from luthier.recipe.methods import Orpo as Options
from luthier.tokens.pack import Pack
from luthier.train.objectives.objective import Share, Totals
from luthier.train.objectives.pairs import Pairs, endings, told

HALF = -0.6931471805599453
"""log 1/2: below, 1 - p is better taken from p; above, from log p (Maechler 2012)."""

SURE = -1e-7
"""Largest log p: an ending of probability 1 has infinite odds."""


class Orpo(Pairs):
    """Likelihood of better endings, and odds of better against worse (arXiv:2403.07691, eq. 6 and 7).

    loss = -mean log p(token of w) - b * mean over pairs of log sigmoid(log odds(w|x) - log odds(l|x)),
    odds = p / (1 - p), with log p(w|x) the mean over the ending's tokens (eq. 3).

    The first mean is over the better endings' tokens, as the paper writes it. TRL and the authors' code take the
    prompt's tokens in too; here a prompt is not learned, as in supervised fine-tuning.
    """

    def __init__(self, options: Options) -> None:
        self.options = options

    def loss(self, model: Any, pack: Pack, totals: Totals) -> Share:
        """Return the pack's part of both means over the step."""
        ending, beta = endings(model, pack), self.options.beta
        better_K, worse_K = ending.per_token()
        nll = ending.nll(totals)
        log_odds_K = log_odds(better_K) - log_odds(worse_K)
        loss = nll - beta * logsigmoid(log_odds_K).sum() / totals.items
        figures = told(ending, totals, beta * better_K, beta * worse_K)
        more = {"nll": nll.detach(), "log_odds": log_odds_K.detach().sum() / totals.items}
        return Share(loss, {**figures, **more})


def log_odds(logp_K: torch.Tensor) -> torch.Tensor:
    """Return log(p / (1 - p)) of a log p below 0."""
    known_K = logp_K.clamp(max=SURE)
    # Both branches are computed, so each gets a number it can take: a NaN would come back in the gradient.
    small_K, large_K = known_K.clamp(max=HALF), known_K.clamp(min=HALF)
    rest_K = torch.where(known_K < HALF, torch.log1p(-small_K.exp()), torch.log(-torch.expm1(large_K)))
    return known_K - rest_K
