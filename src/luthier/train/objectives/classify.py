"""Classification: which class a text belongs to.

Shapes: D documents of a pack, K classes.
"""
# ruff: noqa: N803, N806 - names end in the letters of their shape

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from luthier.model.heads import scores
from luthier.recipe.methods import Classify as Options
from luthier.tokens.pack import Pack
from luthier.train.objectives.objective import Share, Totals
from luthier.train.objectives.singles import Singles


class Classify(Singles):
    """Cross-entropy over classes: loss = -(1/N) * sum of w_y * log softmax(scores)_y, over N texts of the step.

    With label smoothing e, the class y counts 1 - e, and every class e/K of its own weight w (Szegedy et al. 2016,
    arXiv:1512.00567, section 7). The weights have a mean of 1 over the training rows, and the sum is divided by texts,
    not by weights: so a text counts the same in whatever step it comes.
    """

    def __init__(self, options: Options, weights_K: NDArray[np.float64] | None = None) -> None:
        self.options = options
        self.weights_K = weights_K

    def studied(self, labels: Sequence[float]) -> Self:
        """Return the objective with the weights of the classes: `balanced` gives each the same sum, N / (K * N_y).

        Source: King and Zeng 2001, "Logistic Regression in Rare Events Data", section 4.2.
        """
        if self.options.weights == "even":
            return self
        counts_K = np.bincount(np.asarray(labels, dtype=np.int64))
        share_K = counts_K * np.count_nonzero(counts_K) / len(labels)
        return type(self)(self.options, np.divide(1.0, share_K, out=np.zeros(len(counts_K)), where=counts_K > 0))

    def loss(self, model: Any, pack: Pack, totals: Totals) -> Share:
        """Return the pack's loss in nats over the texts of the step, and the share classified right."""
        scores_DK = scores(model, pack)
        labels_D = torch.from_numpy(pack.labels).long().to(scores_DK.device)
        loss = functional.cross_entropy(
            scores_DK,
            labels_D,
            weight=self._weights(scores_DK),
            label_smoothing=self.options.label_smoothing,
            reduction="sum",
        )
        right = (scores_DK.argmax(dim=-1) == labels_D).sum()
        return Share(loss / totals.items, {"accuracy": right.double() / totals.items})

    def _weights(self, scores_DK: torch.Tensor) -> torch.Tensor | None:
        """Return the weight of each class, 0 for those that no training row has; None where all weigh the same."""
        if self.weights_K is None:
            return None
        weights = np.zeros(scores_DK.shape[1])
        weights[: len(self.weights_K)] = self.weights_K
        return torch.from_numpy(weights).to(scores_DK)
