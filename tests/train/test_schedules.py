import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import optimization

from luthier.recipe.methods import Constant, Cosine, InverseSqrt, Linear, Polynomial, Restarts, Wsd
from luthier.recipe.options import Method, locate
from luthier.train.schedules import constant, cosine

steps = st.integers(1, 500)

EVERY = [
    Cosine(),
    Constant(),
    Linear(),
    Restarts(cycles=3),
    Polynomial(power=3.0),
    Wsd(),
    Wsd(shape="linear", decay=1.0),
    InverseSqrt(),
]


def factors(options: Method, total: int, warmup: int) -> list[float]:
    return [locate(options)(options, step, steps=total, warmup_steps=warmup) for step in range(total)]


@pytest.mark.parametrize("options", EVERY, ids=lambda options: options.kind)
@given(total=steps, share=st.floats(0, 0.9))
def test_the_rate_stays_between_zero_and_the_peak(options: Any, total: int, share: float) -> None:
    assert all(0 <= factor <= 1 + 1e-12 for factor in factors(options, total, math.ceil(share * total)))


@pytest.mark.parametrize("options", EVERY, ids=lambda options: options.kind)
def test_the_peak_is_reached_on_the_last_warm_up_step_and_the_first_step_moves(options: Method) -> None:
    found = factors(options, 100, 5)
    assert found[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])


@pytest.mark.parametrize("options", [option for option in EVERY if hasattr(option, "floor")], ids=lambda o: o.kind)
@given(total=st.integers(10, 200), floor=st.floats(0, 1))
def test_the_fall_ends_at_the_floor_on_the_last_step(options: Any, total: int, floor: float) -> None:
    assert factors(options.model_copy(update={"floor": floor}), total, 3)[-1] == pytest.approx(floor)


THEIRS = {
    "linear": (Linear(floor=0.0), optimization.get_linear_schedule_with_warmup, {}),
    "cosine": (Cosine(floor=0.0), optimization.get_cosine_schedule_with_warmup, {}),
    "cosine-floor": (Cosine(floor=0.3), optimization.get_cosine_with_min_lr_schedule_with_warmup, {"min_lr_rate": 0.3}),
    "restarts": (
        Restarts(cycles=3, floor=0.0),
        optimization.get_cosine_with_hard_restarts_schedule_with_warmup,
        {"num_cycles": 3},
    ),
    "polynomial": (
        Polynomial(power=2.5, floor=0.2),
        optimization.get_polynomial_decay_schedule_with_warmup,
        {"power": 2.5, "lr_end": 0.1},  # theirs is a rate, over a peak of 0.5
    ),
    "wsd-sqrt": (
        Wsd(decay=0.25, floor=0.0),
        optimization.get_wsd_schedule,
        {"num_decay_steps": 25, "decay_type": "1-sqrt"},
    ),
    "wsd-linear": (
        Wsd(decay=0.25, shape="linear", floor=0.0),
        optimization.get_wsd_schedule,
        {"num_decay_steps": 25, "decay_type": "linear"},
    ),
    "inverse-sqrt": (InverseSqrt(), optimization.get_inverse_sqrt_schedule, {}),
    "inverse-sqrt-scale": (InverseSqrt(timescale=40), optimization.get_inverse_sqrt_schedule, {"timescale": 40}),
    "constant": (Constant(), optimization.get_constant_schedule_with_warmup, {}),
}


@pytest.mark.parametrize("name", THEIRS)
def test_each_step_has_the_rate_that_transformers_gives_one_step_later(name: str) -> None:
    options, make, more = THEIRS[name]
    total, warmup, peak = 100, 7, 0.5
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=peak)
    length = {} if name.startswith(("inverse", "constant")) else {"num_training_steps": total}
    scheduler = make(optimizer, num_warmup_steps=warmup, **length, **more)  # type: ignore[operator]
    theirs = []
    for _ in range(total):
        optimizer.step()
        scheduler.step()
        theirs.append(optimizer.param_groups[0]["lr"] / peak)
    assert factors(options, total, warmup) == pytest.approx(theirs, abs=1e-12)


def test_half_way_down_the_factor_is_the_mean_of_peak_and_floor() -> None:
    assert cosine(Cosine(floor=0.2), 49, steps=100, warmup_steps=0) == pytest.approx(0.6)
    assert factors(Linear(floor=0.2), 100, 0)[49] == pytest.approx(0.6)


def test_a_quarter_of_the_way_1_sqrt_has_lost_half() -> None:
    found = factors(Wsd(decay=0.2, floor=0.0), 100, 0)
    assert found[:80] == [1.0] * 80
    assert found[84] == pytest.approx(0.5)


def test_every_cycle_begins_at_the_peak() -> None:
    found = factors(Restarts(cycles=2, floor=0.0), 100, 0)
    assert found[49] == 1.0
    assert found[24] == pytest.approx(0.5)


def test_after_three_more_warm_ups_an_inverse_root_has_halved() -> None:
    assert factors(InverseSqrt(), 100, 10)[39] == pytest.approx(0.5)


@given(total=steps, step=st.integers(0, 499))
def test_a_constant_rate_stays_after_the_warm_up(total: int, step: int) -> None:
    assert constant(Constant(), step + 10, steps=total, warmup_steps=10) == 1.0
