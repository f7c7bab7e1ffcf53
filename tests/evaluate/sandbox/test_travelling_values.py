import json
from collections import Counter, OrderedDict, deque, namedtuple
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from luthier.evaluate.sandbox.values import decode, encode

PLAIN = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary() | st.fractions()
)
HASHED = st.recursive(PLAIN, lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3), max_leaves=5)
VALUES = st.recursive(
    HASHED,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(HASHED, inner, max_size=3) | st.sets(HASHED, max_size=3)
    ),
    max_leaves=8,
)


def travelled(value: object) -> object:
    return decode(
        json.loads(json.dumps(encode(value, lambda _: {"ref": 7}))), lambda reference: ("elsewhere", reference)
    )


@given(VALUES)
def test_a_plain_value_arrives_as_it_was(value: object) -> None:
    assert repr(travelled(value)) == repr(value) or travelled(value) == value


def test_what_builds_on_a_plain_value_arrives_as_that() -> None:
    point = namedtuple("point", "x y")(1, 2)
    for value in (
        Counter("aab"),
        OrderedDict(a=1),
        point,
        deque([1]),
        range(1, 9, 2),
        Decimal("1.50"),
        Fraction(1, 3),
        2j,
    ):
        assert travelled(value) == value
    assert list(travelled(map(str, [1, 2]))) == ["1", "2"]


def test_everything_else_arrives_as_a_reference() -> None:
    assert travelled([object(), len]) == [("elsewhere", {"ref": 7})] * 2


@pytest.mark.parametrize("told", [[1], {}, {"list": 1}, {"dict": [1]}, {"bytes": "x"}, {"list": [1], "set": [2]}])
def test_what_nobody_told_is_refused(told: object) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        decode(told, lambda reference: reference["ref"])
