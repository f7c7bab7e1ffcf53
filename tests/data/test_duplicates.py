import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from luthier.data.clean.duplicates import Duplicates

HALVES = st.sampled_from([0, 1, 2, 7, 1 << 63, (1 << 64) - 1])
KEYS = st.lists(st.tuples(HALVES, HALVES), max_size=60)


@given(KEYS, st.integers(1, 20))
def test_keys_are_numbered_as_they_come_however_they_are_cut_into_batches(
    keys: list[tuple[int, int]], cut: int
) -> None:
    first: dict[tuple[int, int], int] = {}
    numbers, new = [], []
    for key in keys:
        new.append(key not in first)
        numbers.append(first.setdefault(key, len(first)))
    seen = Duplicates()
    found = [
        seen.match(np.array(keys[start : start + cut], np.uint64).reshape(-1, 2)) for start in range(0, len(keys), cut)
    ]
    assert [number for batch, _ in found for number in batch] == numbers
    assert [is_new for _, batch in found for is_new in batch] == new


def test_a_hundred_thousand_keys_are_found_again_after_the_table_has_grown() -> None:
    keys = np.random.default_rng(0).integers(0, 1 << 64, (100_000, 2), np.uint64)
    keys[:, 0] &= np.uint64(0x3FFFF)  # many begin to look at the same place
    seen = Duplicates()
    for batch in np.split(keys, 50):
        seen.match(batch)
    numbers, new = seen.match(keys[::-1].copy())
    assert numbers.tolist() == list(range(100_000))[::-1]
    assert not new.any()
