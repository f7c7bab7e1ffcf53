from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from luthier.core.example import Example, Message, Source
from luthier.data.keys import evened, parted, prompt_key
from luthier.data.split import PARTS, TEST, TRAIN, VALID, WHOLE, Units, assign, torn, units
from luthier.recipe.data import Split

keys = st.lists(st.integers(0, WHOLE - 1), max_size=60)
splits = st.builds(Split, valid=st.sampled_from([0.0, 0.1, 0.4]), test=st.sampled_from([0.0, 0.1, 0.4]))
columns = st.integers(1, 40).flatmap(
    lambda count: st.lists(st.lists(st.integers(0, 20), min_size=count, max_size=count), min_size=1, max_size=3)
)


def array(numbers: Sequence[int]) -> np.ndarray:
    return np.array(numbers, np.uint64)


def number(name: object) -> int:
    return prompt_key([str(name)], seed=7)


def parts_of(numbers: Sequence[int], split: Split, **about: object) -> list[str]:
    """Return the parts of rows of which each is a unit with those that have the same key."""
    return [PARTS[part] for part in assign(array(numbers), split, units([array(numbers)]), **about)]


def wanted(split: Split) -> set[str]:
    return {"train"} | ({"valid"} if split.valid else set()) | ({"test"} if split.test else set())


@given(keys=keys, split=splits)
def test_equal_prompts_share_a_split(keys: list[int], split: Split) -> None:
    parts: dict[int, set[str]] = defaultdict(set)
    for key, part in zip(keys, parts_of(keys, split), strict=True):
        parts[key].add(part)
    assert all(len(found) == 1 for found in parts.values())


@given(keys=keys, split=splits)
def test_no_split_that_was_asked_for_is_empty_when_the_prompts_suffice(keys: list[int], split: Split) -> None:
    found = set(parts_of(keys, split))
    assert found <= wanted(split)
    if len(set(keys)) >= len(wanted(split)):
        assert found == wanted(split)
    elif keys:
        assert "train" in found


@given(keys=st.sets(st.integers(0, WHOLE - 1), max_size=60), more=st.sets(st.integers(0, WHOLE - 1)), split=splits)
def test_adding_rows_moves_none_once_every_split_has_its_own(keys: set[int], more: set[int], split: Split) -> None:
    before, added = [*keys], [*(more - keys)]
    by_key_alone = {
        "valid" if key < split.valid * WHOLE else "test" if key < (split.valid + split.test) * WHOLE else "train"
        for key in keys
    }
    if by_key_alone == wanted(split):
        assert parts_of(before + added, split)[: len(before)] == parts_of(before, split)


@given(keys=keys, split=splits)
def test_the_order_of_the_rows_does_not_matter(keys: list[int], split: Split) -> None:
    assert parts_of(keys[::-1], split) == parts_of(keys, split)[::-1]


def test_shares_are_met_on_many_prompts() -> None:
    found = Counter(parts_of([number(each) for each in range(20_000)], Split(valid=0.1, test=0.05)))
    assert found["valid"] / 20_000 == pytest.approx(0.1, abs=0.01)
    assert found["test"] / 20_000 == pytest.approx(0.05, abs=0.01)


def test_a_test_share_takes_from_train_and_leaves_valid_as_it_was() -> None:
    some = [number(each) for each in range(500)]
    before, after = parts_of(some, Split(valid=0.1)), parts_of(some, Split(valid=0.1, test=0.2))
    assert [part == "valid" for part in before] == [part == "valid" for part in after]


def by_hand(together: list[list[int]]) -> list[set[int]]:
    """Return the units as sets of rows, by joining again and again."""
    found: list[set[int]] = [{row} for row in range(len(together[0]))]
    for column in together:
        for value in set(column):
            rows = {row for row, each in enumerate(column) if each == value}
            met = [unit for unit in found if unit & rows]
            found = [unit for unit in found if not unit & rows] + [set().union(*met)]
    return sorted(found, key=min)


def as_sets(made: Units) -> list[set[int]]:
    return [set(np.flatnonzero(made.of == unit).tolist()) for unit in range(len(made.first))]


@given(columns)
def test_units_are_what_is_connected_over_equal_values(together: list[list[int]]) -> None:
    made = units([np.array(column) for column in together])
    expected = by_hand(together)
    assert as_sets(made) == expected
    assert made.first.tolist() == [min(unit) for unit in expected]
    assert made.size.tolist() == [len(unit) for unit in expected]


def test_a_long_chain_is_one_unit() -> None:
    count = 100_000
    chain = np.random.default_rng(0).permutation(count)
    made = units([chain // 2, (chain + 1) // 2])
    assert made.size.tolist() == [count]


@given(together=columns, split=splits, stratify=st.booleans(), data=st.data())
def test_no_unit_is_ever_torn(together: list[list[int]], split: Split, stratify: bool, data: st.DataObject) -> None:
    made = units([np.array(column) for column in together])
    count = len(together[0])
    classes = array([number(data.draw(st.integers(0, 3))) for _ in range(count)])
    own = array([number(("row", row)) for row in range(count)])
    fixed = np.array(data.draw(st.lists(st.sampled_from([0, 0, 0, 1, 2]), min_size=count, max_size=count)), np.uint8)
    parts = assign(own, split, made, strata=classes if stratify else None, classes=classes, fixed=fixed)
    assert len(parts) == count
    for unit in as_sets(made):
        rows = [*unit]
        assert len(set(parts[rows].tolist())) == 1
        if fixed[rows].any():
            assert parts[rows[0]] == fixed[rows].max()


def test_a_unit_goes_where_its_first_row_would() -> None:
    rows = 400
    own = array([number(row) for row in range(rows)])
    pairs = units([np.arange(rows) // 2])
    parts = assign(own, Split(valid=0.3), pairs)
    expected = [VALID if key < 0.3 * WHOLE else TRAIN for key in own[::2].tolist()]
    assert parts[::2].tolist() == parts[1::2].tolist() == expected


def test_rows_that_join_a_unit_later_do_not_move_it() -> None:
    own = array([number(row) for row in range(600)])
    group = np.arange(600) % 200
    before = assign(own[:200], Split(), units([group[:200]]))
    after = assign(own, Split(), units([group]))
    assert (after == before[group]).all()


def test_a_giant_is_learned_whatever_its_key() -> None:
    own = array([0, *(number(row) for row in range(999))])
    group = np.where(np.arange(1000) < 300, 0, np.arange(1000))
    parts = assign(own, Split(valid=0.1, test=0.1), units([group]))
    assert set(parts[:300].tolist()) == {TRAIN}
    assert {VALID, TEST} <= set(parts[300:].tolist())


def test_with_few_rows_the_smallest_key_of_what_is_no_giant_fills_an_empty_part() -> None:
    group = np.array([0, 0, 0, 0, 1, 2])
    own = array([WHOLE // 5] * 4 + [WHOLE // 3, WHOLE // 2])
    assert assign(own, Split(valid=0.1), units([group])).tolist() == [TRAIN] * 4 + [VALID, TRAIN]


named_rows = st.lists(st.sampled_from("aaaaaabbbc"), min_size=1, max_size=300)


@given(names=named_rows, split=splits)
def test_stratified_every_class_has_its_share_to_the_row_and_is_learned(names: list[str], split: Split) -> None:
    own = array([number(("row", row)) for row in range(len(names))])
    strata = array([number(name) for name in names])
    parts = assign(own, split, units([own]), strata=strata, classes=strata)
    for name, count in Counter(names).items():
        found = Counter(PARTS[part] for part, each in zip(parts.tolist(), names, strict=True) if each == name)
        assert found["train"] >= 1
        filled = 1 if len(names) < 40 else 0  # a part that would be empty takes a row
        assert abs(found["valid"] - split.valid * count) < 1 + filled
        assert abs(found["valid"] + found["test"] - (split.valid + split.test) * count) < 1 + 2 * filled


def test_stratified_many_small_classes_add_up_to_the_share() -> None:
    classes = np.repeat(np.arange(2000), 4)
    strata = array([number(name) for name in classes])
    own = array([number(("row", row)) for row in range(8000)])
    parts = assign(own, Split(valid=0.1, test=0.1), units([own]), strata=strata, classes=strata)
    assert (parts == VALID).mean() == pytest.approx(0.1, abs=0.012)
    assert (parts == TEST).mean() == pytest.approx(0.1, abs=0.012)


def test_stratified_by_what_differs_in_every_row_still_holds_back_the_share() -> None:
    own = array([number(("row", row)) for row in range(5000)])
    parts = assign(own, Split(valid=0.1), units([own]), strata=array([number(row) for row in range(5000)]))
    assert (parts == VALID).mean() == pytest.approx(0.1, abs=0.015)


@given(names=st.lists(st.sampled_from("aab"), min_size=80, max_size=200), new=st.sampled_from("abc"))
def test_stratified_a_new_row_moves_at_most_one_of_its_class(names: list[str], new: str) -> None:
    def of(each: list[str]) -> np.ndarray:
        own = array([number(("row", row)) for row in range(len(each))])
        strata = array([number(name) for name in each])
        return assign(own, Split(valid=0.2), units([own]), strata=strata, classes=strata)

    before, after = of(names), of([*names, new])[:-1]
    moved = [name for name, one, other in zip(names, before, after, strict=True) if one != other]
    assert moved in ([], [new])


def test_stratified_groups_stay_whole_and_shares_come_near() -> None:
    rng = np.random.default_rng(1)
    group = np.sort(rng.integers(0, 300, 3000))
    strata = array([number(each % 3) for each in group])
    own = array([number(each) for each in group])
    parts = assign(own, Split(valid=0.2), units([group]), strata=strata)
    assert all(len(set(parts[group == each].tolist())) == 1 for each in set(group.tolist()))
    for name in set(strata.tolist()):
        assert (parts[strata == name] == VALID).mean() == pytest.approx(0.2, abs=0.02)


@given(
    st.lists(st.tuples(st.integers(0, WHOLE - 1), st.sampled_from("abc")), min_size=1, max_size=40),
    st.sampled_from([0.1, 0.5, 0.9]),
    st.booleans(),
)
def test_every_class_is_learned(rows: list[tuple[int, str]], valid: float, stratify: bool) -> None:
    own, classes = array([key for key, _ in rows]), array([number(name) for _, name in rows])
    parts = assign(own, Split(valid=valid), units([own]), strata=classes if stratify else None, classes=classes)
    assert {*classes[parts == TRAIN].tolist()} == {*classes.tolist()}


def test_a_class_that_only_held_back_rows_have_is_learned() -> None:
    own = array([0, 1, 2, *[WHOLE - 1 - row for row in range(60)]])
    classes = np.array([1, 1, 2, *[3] * 60])
    parts = assign(own, Split(valid=0.1), units([own]), classes=classes)
    assert parts[:3].tolist() == [VALID, TRAIN, TRAIN]


def test_rows_of_files_for_validation_and_tests_stay_there_and_what_equals_them_is_named() -> None:
    fixed = np.array([VALID, TEST, TRAIN, TRAIN, VALID, TRAIN, TRAIN], np.uint8)
    made = units([np.array([0, 1, 0, 1, 1, 2, 3]), np.array([0, 1, 2, 3, 4, 5, 0])])
    own = array([number(row) for row in range(7)])
    parts = assign(own, Split(valid=0, test=0), made, fixed=fixed)
    assert parts.tolist() == [VALID, TEST, VALID, TEST, TEST, TRAIN, VALID]
    rows, why = torn(made, fixed)
    assert rows.tolist() == [2, 3, 4, 6]
    assert why.tolist() == [0, 1, 1, 0]


@given(columns, st.data())
def test_when_torn_rows_are_gone_none_straddles(together: list[list[int]], data: st.DataObject) -> None:
    count = len(together[0])
    fixed = np.array(data.draw(st.lists(st.sampled_from([0, 1, 2]), min_size=count, max_size=count)), np.uint8)
    made = units([np.array(column) for column in together])
    gone = dict(zip(*(numbers.tolist() for numbers in torn(made, fixed)), strict=True))
    assert all(fixed[why] > fixed[row] and why not in gone for row, why in gone.items())
    left = [row for row in range(count) if row not in gone]
    for column in together:
        for value in set(column):
            assert len({int(fixed[row]) for row in left if column[row] == value}) <= 1


def test_no_rows_have_no_parts() -> None:
    none = np.empty(0, np.uint64)
    assert assign(none, Split(), units([none]), strata=none, classes=none).tolist() == []
    assert [len(numbers) for numbers in torn(units([none]), np.empty(0, np.uint8))] == [0, 0]


def test_another_seed_gives_another_split() -> None:
    turns = ["user\x1fQ"]
    assert prompt_key(turns, seed=0) != prompt_key(turns, seed=1) != prompt_key(turns, seed=-1)


def test_case_width_and_spaces_make_no_difference_and_words_do() -> None:
    assert evened(" Ｈello\n  WORLD ") == "hello world"
    assert evened("Straße") == evened("STRASSE")
    assert evened("a b") != evened("ab")


def make(*said: tuple[str, str], **extra: object) -> Example:
    return Example(tuple(Message(role, text, dict(extra)) for role, text in said), Source("x", 1))


def test_who_speaks_and_what_else_a_turn_holds_tell_conversations_apart() -> None:
    said = make(("user", "a"), ("assistant", "b"))
    others = [
        make(("user", "a b")),
        make(("system", "a"), ("assistant", "b")),
        make(*[("user", "a"), ("assistant", "b")], name="x"),
    ]
    assert parted(said).key() not in [parted(other).key() for other in others]


def test_the_answer_plays_no_part_in_the_prompt_key() -> None:
    one, other = make(("user", "Q"), ("assistant", "A")), make(("user", "q "), ("assistant", "B"))
    assert parted(one).prompt == parted(other).prompt
