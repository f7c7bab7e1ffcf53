"""The optimiser."""

import torch

from luthier.model.adapters.adapted import Adapted


def adamw(adapted: Adapted, *, learning_rate: float, weight_decay: float) -> torch.optim.AdamW:
    """Return AdamW over what learns (arXiv:1711.05101); matrices are decayed, vectors (norms, biases) are not.

    Args:
        adapted: The model in training.
        learning_rate: Peak rate; the loop sets each step's.
        weight_decay: Share of a weight taken away per step and unit of learning rate.
    """
    parameters = list(adapted.trainable.values())
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=learning_rate, betas=(0.9, 0.999), fused=True)
