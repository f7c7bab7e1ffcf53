"""Texts that are too long: left out, cut at a turn, or cut at their beginning."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from luthier.core.example import Source
from luthier.tokens.fit import fit
from luthier.tokens.render import Encoded

START = 1


@st.composite
def texts(draw: st.DrawFn) -> Encoded:
    """Draw turns, each followed by a learned answer; ids tell their place and whether they are learned."""
    turns = draw(st.lists(st.tuples(st.integers(0, 6), st.integers(1, 6)), min_size=1, max_size=6))
    flags: list[bool] = [False] if draw(st.booleans()) else []
    start = bool(flags)
    ends = []
    for asked, answered in turns:
        flags += [False] * asked + [True] * answered
        ends.append(len(flags))
    ids = [1000 + 2 * place + flag for place, flag in enumerate(flags)]
    if start:
        ids[0] = START
    return Encoded(np.array(ids, np.int32), np.array(flags, np.bool_), Source("here", 3), tuple(ends))


lengths = st.integers(1, 60)
policies = st.sampled_from(["drop", "turn", "left"])


@given(texts(), lengths, policies)
def test_what_fits_is_short_enough_and_teaches_something(encoded: Encoded, longest: int, policy: str) -> None:
    found = fit(encoded, max_length=longest, too_long=policy, start_id=START)
    if isinstance(found, Encoded):
        assert found.length <= longest
        assert found.learned[1:].any()
        assert found.input_ids.dtype == np.int32
        assert found.source == encoded.source


@given(texts(), lengths, policies)
def test_flags_stay_with_their_ids(encoded: Encoded, longest: int, policy: str) -> None:
    found = fit(encoded, max_length=longest, too_long=policy, start_id=START)
    if isinstance(found, Encoded):
        assert found.input_ids.shape == found.learned.shape
        odd = [bool(token % 2) for token in found.input_ids if token != START]
        assert odd == [bool(flag) for flag, token in zip(found.learned, found.input_ids, strict=True) if token != START]


@given(texts(), lengths, policies)
def test_every_token_is_kept_or_counted_as_cut(encoded: Encoded, longest: int, policy: str) -> None:
    found = fit(encoded, max_length=longest, too_long=policy, start_id=START)
    if isinstance(found, Encoded):
        assert found.length + found.cut == encoded.length


@given(texts(), policies)
def test_a_text_that_is_short_enough_is_not_touched(encoded: Encoded, policy: str) -> None:
    found = fit(encoded, max_length=max(1, encoded.length), too_long=policy, start_id=START)
    assert found is encoded or (isinstance(found, str) and not encoded.learned[1:].any())


@given(texts(), lengths)
def test_drop_leaves_out_what_is_too_long(encoded: Encoded, longest: int) -> None:
    found = fit(encoded, max_length=longest, too_long="drop", start_id=START)
    if encoded.length > longest:
        assert found == f"longer than {longest} tokens"


@given(texts(), lengths)
def test_turn_keeps_the_beginning_up_to_the_last_answer_that_fits(encoded: Encoded, longest: int) -> None:
    found = fit(encoded, max_length=longest, too_long="turn", start_id=START)
    if isinstance(found, Encoded) and found.cut:
        assert found.input_ids.tolist() == encoded.input_ids[: found.length].tolist()
        assert found.length == max(end for end in encoded.ends if end <= longest)
        assert found.ends == tuple(end for end in encoded.ends if end <= longest)


@given(texts(), lengths)
def test_left_keeps_the_end_and_the_start_token(encoded: Encoded, longest: int) -> None:
    found = fit(encoded, max_length=longest, too_long="left", start_id=START)
    if isinstance(found, Encoded) and found.cut:
        assert found.length == longest
        starts = int(encoded.input_ids[0]) == START
        assert (int(found.input_ids[0]) == START) == starts
        assert found.input_ids[starts:].tolist() == encoded.input_ids[encoded.length - longest + starts :].tolist()


@given(texts(), lengths, st.sampled_from(["turn", "left"]))
def test_ends_still_stand_behind_the_same_tokens(encoded: Encoded, longest: int, policy: str) -> None:
    found = fit(encoded, max_length=longest, too_long=policy, start_id=START)
    if isinstance(found, Encoded):
        told = {int(encoded.input_ids[end - 1]) for end in encoded.ends if end}
        assert all(0 < end <= found.length for end in found.ends)
        assert {int(found.input_ids[end - 1]) for end in found.ends} - {START} <= told


def encoded(learned: list[bool], ends: tuple[int, ...] = ()) -> Encoded:
    return Encoded(np.arange(10, 10 + len(learned), dtype=np.int32), np.array(learned, np.bool_), Source("a", 1), ends)


@pytest.mark.parametrize("policy", ["drop", "turn", "left"])
def test_a_text_of_which_nothing_is_learned_is_left_out(policy: str) -> None:
    assert fit(encoded([False] * 4), max_length=9, too_long=policy) == "no token is learned"
    assert fit(encoded([True, False]), max_length=9, too_long=policy) == "no token is learned"
    assert fit(encoded([]), max_length=9, too_long=policy) == "no token is learned"


def test_a_text_of_which_nothing_learned_is_left_is_left_out() -> None:
    text = encoded([False, True, False, False, False], (2,))
    assert fit(text, max_length=3, too_long="left") == "no token is learned of what was left after cutting"


def test_a_first_answer_that_does_not_fit_is_left_out() -> None:
    text = encoded([False, False, True, True], (4,))
    assert fit(text, max_length=3, too_long="turn") == "longer than 3 tokens up to the end of its first answer"


def test_a_text_cut_before_is_counted_on() -> None:
    text = replace(encoded([False, True, False, True], (2, 4)), cut=5)
    found = fit(text, max_length=3, too_long="turn")
    assert isinstance(found, Encoded)
    assert found.cut == 7
