import pytest
from hypothesis import given
from hypothesis import strategies as st

from luthier.core.example import Example, Message, Source
from luthier.data.keys import evened, parted, prompt_key
from luthier.data.split import WHOLE, assign, place
from luthier.recipe.data import Split

keys = st.lists(st.integers(0, WHOLE - 1), max_size=60)
splits = st.builds(Split, valid=st.sampled_from([0.0, 0.1, 0.4]), test=st.sampled_from([0.0, 0.1, 0.4]))


@given(keys=keys, split=splits)
def test_equal_prompts_share_a_split(keys: list[int], split: Split) -> None:
    parts: dict[int, set[str]] = {}
    for key, part in zip(keys, assign(keys, split), strict=True):
        parts.setdefault(key, set()).add(part)
    assert all(len(found) == 1 for found in parts.values())


@given(keys=keys, split=splits)
def test_no_split_that_was_asked_for_is_empty_when_the_prompts_suffice(keys: list[int], split: Split) -> None:
    wanted = {"train"} | ({"valid"} if split.valid else set()) | ({"test"} if split.test else set())
    found = set(assign(keys, split))
    assert found <= wanted
    if len(set(keys)) >= len(wanted):
        assert found == wanted
    elif keys:
        assert "train" in found


@given(keys=keys, more=keys, split=splits)
def test_adding_rows_moves_none_once_every_split_has_its_own(keys: list[int], more: list[int], split: Split) -> None:
    settled = {place(key, split) for key in keys}
    wanted = {"train"} | ({"valid"} if split.valid else set()) | ({"test"} if split.test else set())
    if settled == wanted:
        assert assign(keys + more, split)[: len(keys)] == assign(keys, split)


@given(keys=keys, split=splits)
def test_the_order_of_the_rows_does_not_matter(keys: list[int], split: Split) -> None:
    assert assign(keys[::-1], split) == assign(keys, split)[::-1]


def test_shares_are_met_on_many_prompts() -> None:
    keys = [prompt_key([f"user\x1f{number}"], seed=0) for number in range(20_000)]
    parts = assign(keys, Split(valid=0.1, test=0.05))
    assert parts.count("valid") / len(parts) == pytest.approx(0.1, abs=0.01)
    assert parts.count("test") / len(parts) == pytest.approx(0.05, abs=0.01)


def test_a_test_share_takes_from_train_and_leaves_valid_as_it_was() -> None:
    some = [prompt_key([f"user\x1f{number}"], seed=0) for number in range(500)]
    before, after = assign(some, Split(valid=0.1)), assign(some, Split(valid=0.1, test=0.2))
    assert [part == "valid" for part in before] == [part == "valid" for part in after]


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
