"""Tokens on disk: what was written is read, from shards of any shape."""

import json
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from luthier.core.example import Source
from luthier.tokens.render import Encoded
from luthier.tokens.store import Shard, Stored, shard_name

sources = st.builds(Source, st.sampled_from(["a.jsonl", "ä b/🎻.csv", ""]), st.integers(0, 2**40))


@st.composite
def rows(draw: st.DrawFn) -> Encoded:
    ids = draw(st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=20))
    flags = draw(st.lists(st.booleans(), min_size=len(ids), max_size=len(ids)))
    cut, label = draw(st.integers(0, 99)), draw(st.floats())
    return Encoded(np.array(ids, np.int32), np.array(flags, np.bool_), draw(sources), cut=cut, label=label)


shards = st.lists(st.lists(rows(), max_size=6), max_size=4)


def written(folder: Path, found: Sequence[Sequence[Encoded]]) -> Stored:
    for number, some in enumerate(found):
        Shard(examples=len(some), rows=[*some]).write(folder / shard_name(number), "key")
    return Stored(folder, len(found))


def equal(one: Encoded, other: Encoded) -> bool:
    return (
        one.input_ids.tolist() == other.input_ids.tolist()
        and one.learned.tolist() == other.learned.tolist()
        and (one.source, one.cut) == (other.source, other.cut)
        and np.array_equal([one.label], [other.label], equal_nan=True)
    )


@given(shards)
@settings(deadline=None, max_examples=25)
def test_rows_of_any_shape_come_back_as_they_were(found: list[list[Encoded]]) -> None:
    flat = [row for some in found for row in some]
    with TemporaryDirectory() as folder:
        stored = written(Path(folder), found)
        assert len(stored) == len(flat)
        assert all(equal(one, other) for one, other in zip(stored, flat, strict=True))
        assert all(equal(stored[-1 - place], flat[-1 - place]) for place in range(len(flat)))
        assert all(equal(one, other) for one, other in zip(stored[1:-1:2], flat[1:-1:2], strict=True))
        assert stored.lengths.tolist() == [row.length for row in flat]
        assert np.array_equal(stored.labels, [row.label for row in flat], equal_nan=True)
        for row in stored:
            assert (row.input_ids.dtype, row.learned.dtype) == (np.int32, np.bool_)


@given(shards)
@settings(deadline=None, max_examples=25)
def test_counts_are_those_of_the_rows(found: list[list[Encoded]]) -> None:
    flat = [row for some in found for row in some]
    with TemporaryDirectory() as folder:
        stored = written(Path(folder), found)
        assert stored.total("examples") == stored.total("rows") == len(flat)
        assert stored.total("tokens") == sum(row.length for row in flat)
        assert stored.total("learned") == sum(int(row.learned[1:].sum()) for row in flat)
        assert stored.total("truncated") == sum(row.cut > 0 for row in flat)
        assert stored.total("cut") == sum(row.cut for row in flat)
        assert stored.most("longest") == max((row.length for row in flat), default=0)
        if flat:
            assert stored.most("highest") == max(int(row.input_ids.max()) for row in flat)


def test_shards_tell_what_their_rows_are(tmp_path: Path) -> None:
    row = Encoded(np.arange(5, dtype=np.int32), np.ones(5, np.bool_), Source("a", 1), label=1.0)
    Shard(rows=[row, row], texts=2, classes=("bad", "good")).write(tmp_path / shard_name(0), "key")
    stored = Stored(tmp_path, 1)
    assert (stored.texts, stored.classes, stored.labels.tolist()) == (2, ("bad", "good"), [1.0, 1.0])
    assert (Stored(tmp_path, 0).texts, Stored(tmp_path, 0).classes) == (1, ())


@pytest.mark.parametrize("place", [-4, 3, 99])
def test_a_place_outside_is_an_error(tmp_path: Path, place: int) -> None:
    row = Encoded(np.zeros(2, np.int32), np.ones(2, np.bool_), Source("a", 1))
    stored = written(tmp_path, [[row, row], [row]])
    with pytest.raises(IndexError):
        stored[place]


def test_tokens_are_mapped_not_loaded(tmp_path: Path) -> None:
    row = Encoded(np.arange(5, dtype=np.int32), np.ones(5, np.bool_), Source("a", 1))
    ids = written(tmp_path, [[row]])[0].input_ids
    assert isinstance(ids, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        ids[0] = 1


def test_the_same_rows_are_the_same_bytes(tmp_path: Path) -> None:
    row = Encoded(np.arange(5, dtype=np.int32), np.ones(5, np.bool_), Source("a", 1))
    for name in ("one", "two"):
        written(tmp_path / name, [[row, row], []])
    one, two = (
        {path.name: path.read_bytes() for path in sorted((tmp_path / name / "00000").iterdir())}
        for name in ("one", "two")
    )
    assert one == two
    assert [*one] == ["ids.npy", "labels.npy", "learned.npy", "rows.npy", "shard.json"]


def test_a_shard_that_is_there_is_replaced_whole(tmp_path: Path) -> None:
    row = Encoded(np.arange(5, dtype=np.int32), np.ones(5, np.bool_), Source("a", 1))
    written(tmp_path, [[row, row, row]])
    (tmp_path / "00000" / "rest").write_text("x")
    assert len(written(tmp_path, [[row]])) == 1
    assert not (tmp_path / "00000" / "rest").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["00000"]


def test_rows_left_out_and_traits_are_told_with_their_places(tmp_path: Path) -> None:
    first, second = Source("ä.csv", 3), Source("b.csv", 9)
    for number, source in enumerate((first, second)):
        shard = Shard(examples=2, left_out=[(source, f"because {number}")])
        shard.traits["control tokens"] += 2
        shard.first["control tokens"] = source
        shard.write(tmp_path / shard_name(number), "key")
    stored = Stored(tmp_path, 2)
    assert [*stored.left_out()] == [(first, "because 0"), (second, "because 1")]
    assert stored.traits() == {"control tokens": (4, first)}
    assert len(stored) == 0
    assert json.loads((tmp_path / "00001" / "shard.json").read_text())["key"] == "key"
