"""Which examples belong to which optimizer step: a pure function, so that a position is one integer."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


def steps_per_epoch(examples: int, batch_size: int) -> int:
    """Return the optimizer steps of one pass; the last may hold fewer examples."""
    return -(-examples // batch_size)


@lru_cache(maxsize=2)
def epoch_order(examples: int, *, seed: int, epoch: int) -> NDArray[np.int64]:
    """Return the order of examples in one epoch: shape (examples,), the same on every machine.

    Philox is counter-based (Salmon et al. 2011): seed and epoch are its key, so no state is carried or saved.
    """
    generator = np.random.Generator(np.random.Philox(key=[seed, epoch]))
    order = np.argsort(generator.random(examples), kind="stable")
    order.flags.writeable = False  # it is remembered: every step of an epoch asks for it
    return order


def members(step: int, examples: int, *, batch_size: int, seed: int) -> Sequence[int]:
    """Return the examples of an optimizer step, counted from 0 over all epochs."""
    epoch, place = divmod(step, steps_per_epoch(examples, batch_size))
    order = epoch_order(examples, seed=seed, epoch=epoch)
    return [int(i) for i in order[place * batch_size : (place + 1) * batch_size]]
