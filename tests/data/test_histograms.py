import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from luthier.data.histograms import BARS, counted

sizes = st.lists(st.integers(0, 2**32 - 1) | st.integers(0, 300), min_size=1, max_size=200)


def as_sizes(values: list[int]) -> np.ndarray:
    return np.array(values, np.uint32)


@given(sizes, sizes, st.integers(1, 10_000))
def test_every_row_is_in_one_bar_of_each_kind(first: list[int], second: list[int], limit: int) -> None:
    found = counted({"prompt": as_sizes(first), "answer": as_sizes(second)}, limit=limit)
    assert sum(found.counts["prompt"]) == len(first)
    assert sum(found.counts["answer"]) == len(second)
    assert [*found.edges] == sorted({*found.edges})
    assert all(len(counts) == len(found.edges) - 1 <= 2.5 * BARS for counts in found.counts.values())
    assert found.beyond == (max(*first, *second) >= found.edges[-1])


def test_bars_are_round_and_one_giant_row_does_not_hide_the_others() -> None:
    found = counted({"total": as_sizes([*range(1000), 10**9])})
    assert found.edges[:3] == (0, 50, 100)
    assert found.edges[-1] == 1000  # 99.5 % of them lie below 996
    assert found.counts["total"][0] == 50
    assert found.beyond


def test_a_limit_near_by_is_drawn_and_a_far_one_is_not() -> None:
    near = counted({"total": as_sizes([*range(1000)])}, limit=1500)
    assert near.edges[-1] >= 1500
    assert counted({"total": as_sizes([*range(1000)])}, limit=50_000).edges[-1] < 1100
