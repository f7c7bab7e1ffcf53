"""What several processes must agree on, and what one must not notice."""

from itertools import pairwise

import torch
from hypothesis import given
from hypothesis import strategies as st

from luthier.train.parallel import World, shares

COSTS = st.lists(st.integers(1, 5000), max_size=40)


@given(COSTS, st.integers(1, 9))
def test_every_pack_is_computed_by_one_process(costs: list[int], size: int) -> None:
    taken = shares(costs, size)
    assert len(taken) == size
    assert sorted(piece for pieces in taken for piece in pieces) == list(range(len(costs)))
    assert all(first < second for pieces in taken for first, second in pairwise(pieces))


@given(COSTS.filter(bool), st.integers(1, 9))
def test_no_process_waits_longer_than_graham_allows(costs: list[int], size: int) -> None:
    loads = [sum(costs[piece] for piece in pieces) for pieces in shares(costs, size)]
    least = max(max(costs), sum(costs) / size)  # no schedule ends sooner
    # Graham's 4/3 is of the best schedule, which may be longer than this; 2 - 1/m holds of this (Graham 1966).
    assert max(loads) <= (2 - 1 / size) * least + 1e-9


def test_unequal_packs_are_shared_by_tokens_not_by_count() -> None:
    assert shares([100, 900, 300, 400, 150], 2) == [[1], [0, 2, 3, 4]]


def test_the_first_process_has_work_in_every_step() -> None:
    assert shares([7], 3) == [[0], [], []]


def test_one_process_exchanges_nothing() -> None:
    alone = World()
    weight = torch.nn.Parameter(torch.ones(3))
    alone.add_gradients([weight])
    assert weight.grad is None
    assert alone.tell({"a": 1}) == [{"a": 1}]
    assert alone.sums({"loss": 0.1}) == {"loss": 0.1}
    assert alone.from_first(lambda: "made") == "made"
    assert alone.mine([5, 3, 4]) == [0, 1, 2]
    assert alone.capacity([10, 20], 512) == 512
    assert alone.asked("SIGTERM") == "SIGTERM"
    alone.same("here", "key")


@given(st.lists(st.integers(1, 300), min_size=1, max_size=30), st.integers(2, 8))
def test_a_forward_pass_holds_the_longest_example_and_no_more_than_memory_allows(lengths: list[int], size: int) -> None:
    capacity = World(size=size).capacity(lengths, 300)
    assert max(lengths) <= capacity <= 300
    assert capacity * size >= min(300 * size, sum(lengths))


def test_a_short_step_is_cut_so_that_each_process_has_a_pack() -> None:
    from luthier.tokens.pack import best_fit

    lengths = [30, 40, 35, 45, 50, 20, 25, 60]
    assert len(best_fit(lengths, 2048)) == 1
    assert len(best_fit(lengths, World(size=4).capacity(lengths, 2048))) >= 4
