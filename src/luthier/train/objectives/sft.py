"""Supervised fine-tuning and continued pretraining: the next token, of every answer or of all text.

Shapes: S supervised positions of a pack.
"""
# ruff: noqa: N806 - names end in the letters of their shape

from typing import Any

from luthier.model.forward import supervised_nll
from luthier.recipe.methods import Pretrain
from luthier.recipe.methods import Sft as Options
from luthier.tokens.pack import Pack
from luthier.train.objectives.objective import Share, Totals
from luthier.train.objectives.singles import Singles


class Sft(Singles):
    """Cross-entropy on learned tokens: loss = -(1/N) * sum of log p(token | what stands before it).

    N counts the learned tokens of the whole optimizer step, so every token weighs the same however the step was
    cut into packs. With label smoothing e (arXiv:1512.00567, section 7), log p(token) becomes
    (1 - e) * log p(token) + e * the mean of log p over the vocabulary.
    """

    def __init__(self, options: Options | Pretrain) -> None:
        self.options = options

    def loss(self, model: Any, pack: Pack, totals: Totals) -> Share:
        """Return the pack's negative log-likelihood, in nats, over the learned tokens of the step."""
        nll_S = supervised_nll(model, pack, smoothing=self.options.label_smoothing)
        return Share(nll_S.sum() / totals.supervised)
