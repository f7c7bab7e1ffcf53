"""Direct preference optimization, and its relatives that compare with the model before training.

Shapes: K pairs of a pack, R rows.
"""
# ruff: noqa: N806 - names end in the letters of their shape

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import logsigmoid

from luthier.recipe.methods import Dpo as Options
from luthier.tokens.pack import Pack
from luthier.tokens.render import Encoded
from luthier.train.objectives.objective import Share, Totals
from luthier.train.objectives.pairs import Pairs, endings, smoothed, told


class Dpo(Pairs):
    """Mean over pairs of f(d), d = log p(w|x) / p0(w|x) - log p(l|x) / p0(l|x), with p0 before training.

    w is the better ending, l the worse one, x the prompt, b `beta`, e `label_smoothing`:

    - sigmoid: -(1 - e) log sigmoid(b d) - e log sigmoid(-b d). arXiv:2305.18290, eq. 7; e > 0 is conservative DPO
      (Mitchell 2023).
    - robust: (-(1 - e) log sigmoid(b d) + e log sigmoid(-b d)) / (1 - 2 e). arXiv:2403.00409.
    - hinge: max(0, 1 - b d). arXiv:2305.10425.
    - ipo: (d' - 1 / (2 b))^2, where d' takes each ratio per token of its ending. arXiv:2310.12036, eq. 17; per token
      as its authors did, otherwise long endings would count most.

    `sft_weight` adds the mean -log p(w|x) per token of the step (arXiv:2404.19733, eq. 1, per token of all pairs).
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        self.before_R: NDArray[np.float32] | None = None

    def referred(self, rows: Sequence[Encoded]) -> Mapping[str, Sequence[Encoded]]:
        """Return both endings of every pair."""
        return {"endings": rows}

    def bind(self, rows: Sequence[Encoded], logp: Mapping[str, NDArray[np.float32]]) -> Self:  # noqa: ARG002 - protocol
        """Return the objective with log p0 of every row."""
        bound = type(self)(self.options)
        bound.before_R = logp["endings"]
        return bound

    def loss(self, model: Any, pack: Pack, totals: Totals) -> Share:
        """Return the pack's part of the mean over the step's pairs."""
        assert self.before_R is not None, "bind first"
        options, ending = self.options, endings(model, pack)
        before_D = torch.from_numpy(self.before_R[pack.members]).to(ending.better_K)
        better_K, worse_K = ending.better_K - before_D[::2], ending.worse_K - before_D[1::2]
        margin_K = options.beta * (better_K - worse_K)
        match options.loss:
            case "sigmoid":
                loss_K = smoothed(margin_K, options.label_smoothing)
            case "robust":
                wrong = options.label_smoothing
                loss_K = ((wrong - 1) * logsigmoid(margin_K) + wrong * logsigmoid(-margin_K)) / (1 - 2 * wrong)
            case "hinge":
                loss_K = torch.relu(1 - margin_K)
            case "ipo":
                per_token_K = better_K / ending.better_tokens_K - worse_K / ending.worse_tokens_K
                loss_K = (per_token_K - 1 / (2 * options.beta)) ** 2
        loss = loss_K.sum() / totals.items
        if options.sft_weight:
            loss = loss + options.sft_weight * ending.nll(totals)
        return Share(loss, told(ending, totals, options.beta * better_K, options.beta * worse_K))
