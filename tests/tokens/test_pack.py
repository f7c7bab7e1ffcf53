import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from luthier.core.example import Source
from luthier.tokens.pack import MULTIPLE, best_fit, pack, packs
from luthier.tokens.render import Encoded

CAPACITY = 64
lengths = st.lists(st.integers(1, CAPACITY), max_size=200)


def encoded(length: int, learned: list[int], *, first: int = 0) -> Encoded:
    flags = np.zeros(length, dtype=np.bool_)
    flags[learned] = True
    return Encoded(np.arange(first, first + length, dtype=np.int32), flags, Source("here", 1))


@given(lengths)
def test_every_document_lands_in_exactly_one_bin(sizes: list[int]) -> None:
    assert sorted(i for places in best_fit(sizes, CAPACITY) for i in places) == list(range(len(sizes)))


@given(lengths)
def test_no_bin_is_fuller_than_the_capacity(sizes: list[int]) -> None:
    assert all(sum(sizes[i] for i in places) <= CAPACITY for places in best_fit(sizes, CAPACITY))


@given(lengths)
def test_best_fit_decreasing_stays_within_its_bound(sizes: list[int]) -> None:
    # Dosa 2007: FFD, and BFD with it, needs at most 11/9 of the optimum plus 6/9; the optimum is at least the volume.
    floor = -(-sum(sizes) // CAPACITY)
    big = sum(size > CAPACITY // 2 for size in sizes)
    assert len(best_fit(sizes, CAPACITY)) <= max(floor, big) * 1.5 + 1


def test_a_document_goes_into_the_fullest_bin_that_has_room() -> None:
    assert best_fit([6, 5, 4, 3], 10) == [[0, 2], [1, 3]]


def test_a_document_longer_than_a_pack_is_refused() -> None:
    with pytest.raises(ValueError, match="document 1 has 11 tokens"):
        best_fit([3, 11], 10)


def test_a_learned_token_is_predicted_from_the_one_before() -> None:
    joined = pack([encoded(4, [2, 3]), encoded(3, [1], first=10)], [0, 1])
    assert joined.predict_at.tolist() == [1, 2, 4]
    assert joined.targets.tolist() == [2, 3, 11]
    assert joined.rows.tolist() == [0, 0, 1]


def test_positions_restart_and_bounds_tell_the_documents() -> None:
    joined = pack([encoded(4, []), encoded(3, [])], [1, 0])
    assert joined.position_ids[:7].tolist() == [0, 1, 2, 0, 1, 2, 3]
    assert joined.bounds[:3].tolist() == [0, 3, 7]


def test_filler_is_a_document_of_its_own_and_nothing_of_it_is_learned() -> None:
    joined = pack([encoded(4, [2, 3]), encoded(3, [1])], [0, 1])
    assert joined.tokens == 7
    assert len(joined.input_ids) == len(joined.position_ids) == MULTIPLE
    assert joined.bounds.tolist() == [0, 4, 7, MULTIPLE]
    assert joined.position_ids[7] == 0
    assert joined.predict_at.max() < 7


def test_a_full_pack_gets_no_filler() -> None:
    assert pack([encoded(MULTIPLE, [5])], [0]).bounds.tolist() == [0, MULTIPLE]


def test_the_first_token_of_a_document_is_never_predicted_from_its_neighbour() -> None:
    joined = pack([encoded(2, [0, 1]), encoded(2, [0, 1])], [0, 1])
    assert joined.predict_at.tolist() == [0, 2]


@given(st.lists(st.tuples(st.integers(2, 30), st.integers(0, 29)), min_size=1, max_size=40))
def test_packing_keeps_every_learned_token(documents: list[tuple[int, int]]) -> None:
    rows = [
        encoded(length, [place] if 0 < place < length else [], first=100 * i)
        for i, (length, place) in enumerate(documents)
    ]
    wanted = sorted(int(row.input_ids[i]) for row in rows for i in np.flatnonzero(row.learned))
    got = sorted(int(target) for one in packs(rows, range(len(rows)), CAPACITY) for target in one.targets)
    assert got == wanted
