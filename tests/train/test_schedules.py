import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from luthier.recipe.methods import Constant, Cosine
from luthier.train.schedules import constant, cosine

steps = st.integers(1, 500)


@given(total=steps, share=st.floats(0, 0.9), floor=st.floats(0, 1))
def test_the_rate_never_leaves_zero_to_peak(total: int, share: float, floor: float) -> None:
    warmup = math.ceil(share * total)
    options = Cosine(warmup=share, floor=floor)
    factors = [cosine(options, step, steps=total, warmup_steps=warmup) for step in range(total)]
    assert all(0 <= factor <= 1 + 1e-12 for factor in factors)


def test_the_peak_is_reached_on_the_last_warm_up_step() -> None:
    assert cosine(Cosine(), 4, steps=100, warmup_steps=5) == 1.0


def test_the_first_step_moves_the_weights() -> None:
    assert cosine(Cosine(), 0, steps=100, warmup_steps=5) == pytest.approx(0.2)


def test_half_way_down_the_factor_is_the_mean_of_peak_and_floor() -> None:
    assert cosine(Cosine(floor=0.2), 49, steps=100, warmup_steps=0) == pytest.approx(0.6)


def test_the_fall_ends_at_the_floor() -> None:
    assert cosine(Cosine(floor=0.1), 99, steps=100, warmup_steps=5) == pytest.approx(0.1)


@given(total=steps, step=st.integers(0, 499))
def test_a_constant_rate_stays_after_the_warm_up(total: int, step: int) -> None:
    assert constant(Constant(), step + 10, steps=total, warmup_steps=10) == 1.0
