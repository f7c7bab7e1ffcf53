"""How the learning rate moves: functions of the step, without state.

Every one returns the factor on the peak rate at a step counted from 0. The rate rises linearly and reaches 1 on the
*last* step of the warm-up, and a fall reaches its end on the *last* step of the run: no step is taken at rate 0 in the
beginning, and none is missing at the end. The schedulers of Transformers begin at 0 and never take their last value,
so step `s` here has the factor that theirs give at `s + 1`.
"""

import math

from luthier.recipe.methods import Constant, Cosine, InverseSqrt, Linear, Polynomial, Restarts, Wsd


def _rising(step: int, warmup_steps: int) -> float | None:
    """Return the factor within the warm-up, or None after it."""
    return (step + 1) / warmup_steps if step < warmup_steps else None


def _progress(step: int, begin: int, end: int) -> float:
    """Return how much of the way from step `begin` to step `end` lies behind once this step is taken, 0 to 1."""
    return min(1.0, (step + 1 - begin) / max(1, end - begin))


def _between(floor: float, share: float) -> float:
    """Return a value between the floor (share 0) and the peak (share 1)."""
    return floor + (1 - floor) * share


def cosine(options: Cosine, step: int, *, steps: int, warmup_steps: int) -> float:
    """Return half a cosine from 1 down to `options.floor` (Loshchilov & Hutter, arXiv:1608.03983, equation 5)."""
    rising = _rising(step, warmup_steps)
    if rising is not None:
        return rising
    way = _progress(step, warmup_steps, steps)
    return options.floor + (1 - options.floor) * 0.5 * (1 + math.cos(math.pi * way))


def restarts(options: Restarts, step: int, *, steps: int, warmup_steps: int) -> float:
    """Return `options.cycles` half cosines of one length, each from 1 (arXiv:1608.03983, equation 5, T_mult = 1).

    A cycle's first step is at the peak; only the last cycle reaches the floor, on the last step of the run.
    """
    rising = _rising(step, warmup_steps)
    if rising is not None:
        return rising
    way = _progress(step, warmup_steps, steps)
    share = 0.0 if way >= 1 else 0.5 * (1 + math.cos(math.pi * (options.cycles * way % 1.0)))
    return _between(options.floor, share)


def linear(options: Linear, step: int, *, steps: int, warmup_steps: int) -> float:
    """Return a straight line from 1 down to `options.floor` (to zero: Bergsma et al., arXiv:2502.15938)."""
    rising = _rising(step, warmup_steps)
    return _between(options.floor, 1 - _progress(step, warmup_steps, steps)) if rising is None else rising


def polynomial(options: Polynomial, step: int, *, steps: int, warmup_steps: int) -> float:
    """Return floor + (1 - floor) * (share of the steps that is left) ** `options.power`."""
    rising = _rising(step, warmup_steps)
    if rising is not None:
        return rising
    left = 1 - _progress(step, warmup_steps, steps)
    return float(_between(options.floor, left**options.power))


def wsd(options: Wsd, step: int, *, steps: int, warmup_steps: int) -> float:
    """Return 1 until the last share `options.decay` of the steps, then a fall (Hägele et al., arXiv:2405.18392).

    With x the share of the fall that lies behind, it is 1 - sqrt(x) or 1 - x. It begins after the warm-up at the
    earliest.
    """
    rising = _rising(step, warmup_steps)
    if rising is not None:
        return rising
    begin = max(warmup_steps, steps - math.ceil(options.decay * steps))
    if step < begin:
        return 1.0
    way = _progress(step, begin, steps)
    return _between(options.floor, 1 - (math.sqrt(way) if options.shape == "1-sqrt" else way))


def inverse_sqrt(options: InverseSqrt, step: int, *, steps: int, warmup_steps: int) -> float:  # noqa: ARG001
    """Return sqrt(t / (t + steps since the warm-up)), t the timescale (Vaswani et al., arXiv:1706.03762, equation 3).

    Without a timescale t is the length of the warm-up, and this is the paper's schedule over its peak.
    """
    rising = _rising(step, warmup_steps)
    if rising is not None:
        return rising
    timescale = options.timescale or max(1, warmup_steps)
    return math.sqrt(timescale / (timescale + step + 1 - warmup_steps))


def constant(_options: Constant, step: int, *, steps: int, warmup_steps: int) -> float:  # noqa: ARG001
    """Return 1."""
    rising = _rising(step, warmup_steps)
    return 1.0 if rising is None else rising
