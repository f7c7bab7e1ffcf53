"""Pairs of words, their hashes and what is counted on them, against plain Python."""

import random
import re
import string
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from luthier.data.near.jaccard import jaccard
from luthier.data.near.shingles import Shingles, shingles
from luthier.data.near.signatures import Shape, banded, minima, shape

WORD = re.compile(r"[0-9a-zA-Z_\u00c0-\u07ff\u0900-\u0dff]+|[^\s\x00-\x1f\x7f]")
texts = st.lists(st.text(st.sampled_from("abC1_ .,\n-é中ไт😀ß"), max_size=40), max_size=12)


def plain(text: str) -> set[tuple[str, ...]]:
    """Pairs of words the slow way; the alphabet above has one character of each kind."""
    words = [word.lower() if word.isascii() else word for word in WORD.findall(text)]
    return {*pairwise(words)} or {*((word,) for word in words)}


def of(part: Shingles, number: int) -> set[int]:
    return {*part.hashes[part.bounds[number] : part.bounds[number + 1]].tolist()}


def similarity(left: set, right: set) -> float:
    return len(left & right) / len(left | right) if left or right else 1.0


@given(texts)
def test_there_are_as_many_shingles_as_different_pairs_of_words(some: list[str]) -> None:
    found = shingles(some)
    assert [len(of(found, number)) for number in range(len(some))] == [len(plain(text)) for text in some]


@given(texts, st.integers(0, 12))
def test_what_stands_beside_a_text_changes_nothing(some: list[str], cut: int) -> None:
    together, apart = shingles(some), [shingles(some[:cut]), shingles(some[cut:])]
    assert together.hashes.tolist() == [h for part in apart for h in part.hashes.tolist()]
    alone = [minima(part, 16) for part in apart]
    assert np.array_equal(minima(together, 16), np.concatenate(alone))


def test_blocks_of_texts_change_nothing() -> None:
    draw = random.Random(1)
    some = ["".join(draw.choices(string.ascii_letters + "    ", k=draw.randrange(3000))) for _ in range(300)]
    together = shingles(some)
    alone = [shingles([text]) for text in some]
    assert together.hashes.tolist() == [h for part in alone for h in part.hashes.tolist()]
    assert np.array_equal(minima(together, 8), np.concatenate([minima(part, 8) for part in alone]))


@given(st.lists(st.text(st.sampled_from("ab c,中ก"), max_size=30), min_size=2, max_size=12))
def test_similarity_is_counted_exactly(some: list[str]) -> None:
    pairs = [(one, other) for one in range(len(some)) for other in range(len(some))]
    left, right = np.array(pairs).T
    expected = [similarity(plain(some[one]), plain(some[other])) for one, other in pairs]
    assert jaccard(shingles(some), left, right).tolist() == expected


def test_similarity_of_many_long_texts_is_counted_exactly() -> None:
    draw = random.Random(2)
    words = [f"word{number}" for number in range(400)]
    some = [" ".join(draw.choices(words, k=draw.randrange(600))) for _ in range(60)]
    left, right = np.array([(draw.randrange(60), draw.randrange(60)) for _ in range(2500)]).T
    expected = [similarity(plain(some[a]), plain(some[b])) for a, b in zip(left, right, strict=True)]
    assert jaccard(shingles(some), left, right) == pytest.approx(expected, abs=0)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        (" \n\t", 0),
        ("hello", 1),
        ("hello, world", 2),
        ("((-1 + 2))", 7),
        ("日本語です", 4),
        ("สวัสดี", 5),
        ("안녕하세요", 4),
        ("नमस्ते दुनिया", 1),
        ("Việt Nam", 1),
        ("naïve café", 1),
    ],
)
def test_words_in_many_scripts(text: str, count: int) -> None:
    assert len(shingles([text]).hashes) == count


def test_case_and_spaces_make_no_difference_but_signs_do() -> None:
    found = shingles(["The  CAT\nsat", "the cat sat", "the cat, sat", "7 - 2 = 5", "7 + 2 = 5"])
    assert of(found, 0) == of(found, 1) != of(found, 2)
    assert of(found, 3) != of(found, 4)


def test_a_row_of_ten_megabytes_and_a_word_of_ten_megabytes_take_no_more_than_their_share() -> None:
    found = shingles(["lorem ipsum " * 800_000, "x" * 10_000_000, "短" * 1_000_000, "!" * 1_000_000])
    assert np.diff(found.bounds).tolist() == [1_599_999, 156_249, 999_999, 999_999]
    assert minima(found, 8).shape == (4, 8)
    assert jaccard(found, np.array([0, 0]), np.array([0, 1])).tolist() == [1, 0]


@pytest.mark.parametrize("alike", [0.5, 0.8, 0.9])
@pytest.mark.parametrize("size", [12, 200])
def test_values_agree_as_often_as_texts_are_alike(size: int, alike: float) -> None:
    draw = np.random.default_rng(0)
    common = round(2 * size * alike / (1 + alike))
    rows = draw.integers(0, 2**64, (3000, 2 * size - common), np.uint64)
    sets = np.stack([rows[:, :size], np.concatenate([rows[:, :common], rows[:, size:]], axis=1)], axis=1)
    values = minima(Shingles(sets.ravel(), np.arange(0, 6000 * size + 1, size)), 48)
    truth = common / (2 * size - common)
    agree = (values[::2] == values[1::2]).mean(axis=1)
    assert agree.mean() == pytest.approx(truth, abs=0.006)
    assert agree.std() == pytest.approx((truth * (1 - truth) / 48) ** 0.5, rel=0.08)


@pytest.mark.parametrize("fields", [1, 2, 3])
@pytest.mark.parametrize("threshold", [0.5, 0.6, 0.7, 0.8, 0.9, 0.95])
def test_bands_miss_one_pair_in_a_hundred_at_most(threshold: float, fields: int) -> None:
    made = shape(threshold, fields)
    assert (1 - threshold ** (fields * made.rows)) ** made.bands <= 0.002
    assert made.values <= 64


def test_a_band_agrees_if_all_its_values_do_and_the_salt() -> None:
    values = np.arange(8, dtype=np.uint32).reshape(1, 8).repeat(3, axis=0)
    values[1, 7] = 99
    same, other = np.array([1, 1, 1], np.uint64), np.array([1, 1, 2], np.uint64)
    bands = banded([values], Shape(2, 4), same)
    assert (bands[0] == bands[1]).tolist() == [True, False]
    assert not (banded([values], Shape(2, 4), other)[0] == banded([values], Shape(2, 4), other)[2]).any()
