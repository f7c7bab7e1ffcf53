"""How the learning rate moves: functions of the step, without state."""

import math

from luthier.recipe.methods import Constant, Cosine


def cosine(options: Cosine, step: int, *, steps: int, warmup_steps: int) -> float:
    """Return the factor on the peak rate at a step counted from 0 (Loshchilov & Hutter, arXiv:1608.03983).

    Rises linearly to 1 over the warm-up, reached on its last step; then half a cosine down to `options.floor`,
    reached on the last step.
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    progress = (step + 1 - warmup_steps) / max(1, steps - warmup_steps)
    return options.floor + (1 - options.floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def constant(_options: Constant, step: int, *, steps: int, warmup_steps: int) -> float:  # noqa: ARG001
    """Return the factor on the peak rate at a step counted from 0: rises to 1 over the warm-up, and stays."""
    return min(1.0, (step + 1) / warmup_steps) if warmup_steps else 1.0
