import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from luthier.core.example import Source
from luthier.tokens import pack as module
from luthier.tokens.pack import MULTIPLE, best_fit, by_length, lengths_of, pack, packs, pairs, stream
from luthier.tokens.render import Encoded
from luthier.tokens.store import Shard, Stored, shard_name

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


@given(lengths)
def test_every_document_lands_in_exactly_one_batch(sizes: list[int]) -> None:
    assert sorted(i for places in by_length(sizes, CAPACITY) for i in places) == list(range(len(sizes)))


@given(lengths)
def test_no_batch_with_its_padding_is_larger_than_the_capacity(sizes: list[int]) -> None:
    assert all(len(places) * max(sizes[i] for i in places) <= CAPACITY for places in by_length(sizes, CAPACITY))


@given(lengths)
def test_batches_hold_like_lengths_together(sizes: list[int]) -> None:
    order = [sizes[i] for places in by_length(sizes, CAPACITY) for i in places]
    assert order == sorted(sizes, reverse=True)


def test_documents_of_like_lengths_share_a_batch_by_hand() -> None:
    assert by_length([2, 9, 3, 10, 2], 20) == [[3, 1], [2, 0, 4]]
    with pytest.raises(ValueError, match="document 1 has 9 tokens, a pack holds 8"):
        by_length([1, 9], 8)


@given(lengths, st.integers(1, CAPACITY))
def test_a_width_that_is_rounded_up_counts_as_it_is(sizes: list[int], multiple: int) -> None:
    batches = by_length(sizes, CAPACITY, multiple=multiple)
    assert sorted(i for places in batches for i in places) == list(range(len(sizes)))
    for places in batches:
        width = -(-max(sizes[i] for i in places) // multiple) * multiple
        assert len(places) * width <= CAPACITY or len(places) == 1


def test_packs_for_a_model_that_pads_are_batches_by_length() -> None:
    rows = [encoded(length, [length - 1]) for length in (2, 9, 3, 17, 2)]
    got = packs(rows, [0, 1, 2, 3], 32, padded=True)
    assert [one.rows.tolist() for one in got] == [[3], [1, 2], [0]]
    assert [one.width for one in got] == [32, 16, 16]


def same(one: module.Pack, other: module.Pack) -> bool:
    fields = [(getattr(one, name), getattr(other, name)) for name in module.Pack.__slots__]
    return all(np.array_equal(a, b, equal_nan=isinstance(a, np.ndarray)) for a, b in fields)


@given(st.lists(st.integers(2, CAPACITY), max_size=60), st.booleans())
def test_a_stream_of_few_documents_is_the_packs_of_all(sizes: list[int], padded: bool) -> None:
    rows = [encoded(length, [length - 1], first=100 * i) for i, length in enumerate(sizes)]
    members = list(range(0, len(rows), 2))
    streamed = list(stream(rows, members, CAPACITY, padded=padded))
    at_once = packs(rows, members, CAPACITY, padded=padded)
    assert len(streamed) == len(at_once)
    assert all(map(same, streamed, at_once))


@pytest.mark.parametrize("padded", [False, True])
def test_a_stream_of_many_documents_goes_window_by_window(monkeypatch: pytest.MonkeyPatch, padded: bool) -> None:
    monkeypatch.setattr(module, "WINDOW", 7)
    sizes = np.random.default_rng(0).integers(2, CAPACITY, 40).tolist()
    rows = [encoded(length, [length - 1]) for length in sizes]
    streamed = list(stream(rows, range(40), CAPACITY, padded=padded))
    parts = [packs(rows, range(40)[start : start + 7], CAPACITY, padded=padded) for start in range(0, 40, 7)]
    assert all(map(same, streamed, [one for part in parts for one in part]))
    assert sorted(int(i) for one in streamed for i in one.rows) == list(range(40))


def test_a_stream_holds_one_pack_at_a_time() -> None:
    rows = [encoded(50, [49])] * 5_000
    tracemalloc.start()
    count = sum(one.documents for one in stream(rows, range(5_000), 100))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 5_000
    assert peak < 2_000_000  # 250,000 tokens in packs take 5 MB; the plan of a window stays


def test_a_stream_refuses_a_document_longer_than_a_pack() -> None:
    with pytest.raises(ValueError, match="11 tokens, a pack holds 10"):
        list(stream([encoded(11, [])], [0], 10))


def test_stored_rows_tell_their_lengths_as_rows_in_memory_do(tmp_path: Path) -> None:
    rows = [encoded(length, [1]) for length in (3, 9, 4)]
    Shard(rows=rows).write(tmp_path / shard_name(0), "key")
    stored = Stored(tmp_path, 1)
    assert lengths_of(stored).tolist() == lengths_of(rows).tolist() == [3, 9, 4]
    assert all(map(same, stream(stored, [0, 2], 10), stream(rows, [0, 2], 10)))


def text(ids: list[int], learned: int, label: float = float("nan")) -> Encoded:
    """Return a text of which the last tokens are learned."""
    flags = np.arange(len(ids)) >= len(ids) - learned
    return Encoded(np.array(ids, dtype=np.int32), flags, Source("here", 1), label=label)


def test_a_pair_shares_what_both_begin_with_by_hand() -> None:
    rows = [text([1, 2, 3, 4, 5], 2, 0.5), text([1, 2, 3, 6, 7, 8], 3, 0.5)]
    (one,) = pairs(rows, [0], 8)
    assert one.input_ids[:8].tolist() == [1, 2, 3, 4, 5, 6, 7, 8]
    assert one.bounds[:3].tolist() == [0, 5, 8]
    assert one.shared.tolist() == [0, 3]
    assert one.position_ids[:8].tolist() == [0, 1, 2, 3, 4, 3, 4, 5]
    assert one.predict_at.tolist() == [2, 3, 2, 5, 6]  # 6 is predicted from the 3 they share
    assert one.targets.tolist() == [4, 5, 6, 7, 8]
    assert one.document.tolist() == one.rows.tolist() == [0, 0, 1, 1, 1]
    assert one.members.tolist() == [0, 1]
    assert one.labels.tolist() == [0.5, 0.5]
    assert (one.tokens, one.documents, one.width) == (8, 2, 16)


def test_learned_tokens_that_both_begin_with_count_in_each() -> None:
    (one,) = pairs([text([1, 2, 3, 4], 3), text([1, 2, 3], 2)], [0], 5)
    assert one.input_ids[:5].tolist() == [1, 2, 3, 4, 3]
    assert one.shared.tolist() == [0, 2]  # a document keeps a token of its own
    assert one.targets.tolist() == [2, 3, 4, 2, 3]
    assert one.predict_at.tolist() == [0, 1, 2, 0, 1]


@given(st.lists(st.tuples(st.integers(1, 12), st.integers(1, 12), st.integers(0, 8)), max_size=30), st.data())
def test_a_pair_is_never_split(sizes: list[tuple[int, int, int]], data: st.DataObject) -> None:
    rows = [
        text([*range(alike), *range(100 + i, 100 + i + own)], own)
        for i, (a, b, alike) in enumerate(sizes)
        for i, own in ((2 * i, a), (2 * i + 1, b))
    ]
    examples = data.draw(st.permutations(range(len(sizes))))
    padded, share = data.draw(st.sampled_from([(True, True), (False, True), (False, False)]))
    got = pairs(rows, examples, CAPACITY, padded=padded, share=share)
    halves = [one.members.reshape(-1, 2) for one in got]
    assert sorted(pair for of in halves for pair, _ in (of // 2).tolist()) == list(range(len(sizes)))
    assert all((of[:, 0] + 1 == of[:, 1]).all() and (of[:, 0] % 2 == 0).all() for of in halves)
    assert all(one.tokens <= CAPACITY for one in got)
    assert sum(len(one.targets) for one in got) == sum(int(row.learned[1:].sum()) for row in rows)


def test_a_pair_longer_than_a_pack_is_refused() -> None:
    rows = [text([1, 2, 3, 4, 5], 2), text([1, 2, 3, 6, 7, 8], 3)]
    with pytest.raises(ValueError, match="8 tokens, a pack holds 7"):
        pairs(rows, [0], 7)
    with pytest.raises(ValueError, match="11 tokens, a pack holds 10"):
        pairs(rows, [0], 10, share=False)
