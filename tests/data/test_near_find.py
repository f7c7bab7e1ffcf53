"""The search over all rows, against comparing each with each in plain Python."""

import random
from collections.abc import Sequence
from contextlib import closing
from itertools import combinations, pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from luthier.core.example import Example, Message, Source
from luthier.data.kept import Kept
from luthier.data.near.compared import Compared
from luthier.data.near.find import Near, find
from luthier.data.near.pairs import fewest_equal
from luthier.recipe.data import NearDuplicates
from luthier.recipe.methods import Rows

WORDS = [f"{first}{last}" for first in ("ba", "ke", "di", "lo", "mu") for last in ("ran", "sel", "tik", "von", "zup")]


def asked(prompt: str, answer: str, *, label: bool | None = None, system: str = "") -> Example:
    context = [Message("system", system)] if system else []
    return Example((*context, Message("user", prompt), Message("assistant", answer)), Source("rows", 1), label=label)


def text(words: str) -> Example:
    return Example((Message("text", words),), Source("rows", 1))


def found(examples: Sequence[Example], rows: Rows = "conversation", *, batch: int = 1000, **options: object) -> Near:
    compared = Compared(NearDuplicates.model_validate(options), rows)
    prompts = [compared.texts(example)[0] for example in examples]
    same = np.array([prompts.index(prompt) for prompt in prompts] if len(prompts) < 5000 else range(len(prompts)))
    with TemporaryDirectory() as folder, closing(Kept(Path(folder) / "columns")) as kept:
        for begin in range(0, len(examples), batch):
            signed = compared.sign(examples[begin : begin + batch])
            kept.add("rows", {"line": same[begin : begin + batch], **signed})
        return find(compared, kept.__getitem__, kept.shingles, same.astype(np.uint64))


def alike(one: str, other: str) -> float:
    sets = [{*pairwise(words)} or {*words} for words in (one.split(), other.split())]
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1]) if sets[0] or sets[1] else 1.0


def edited(words: list[str], count: int, draw: random.Random) -> list[str]:
    words = [*words]
    for place in draw.sample(range(len(words)), count):
        words[place] = draw.choice(WORDS)
    return words


def family(seed: int, size: int, length: int) -> list[str]:
    """Some texts with edited copies of them and of their copies, in any order."""
    draw = random.Random(seed)
    made: list[list[str]] = []
    for _ in range(size):
        new = not made or draw.random() < 0.3
        made.append(draw.choices(WORDS, k=length) if new else edited(draw.choice(made), draw.randrange(4), draw))
    return [" ".join(words) for words in made]


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([8, 40]), st.sampled_from([0.6, 0.8, 0.95]))
def test_the_rows_kept_are_those_that_comparing_each_with_each_keeps(seed: int, length: int, threshold: float) -> None:
    texts = family(seed, 60, length)
    kept: list[int] = []
    for row, words in enumerate(texts):
        if all(alike(words, texts[other]) < threshold for other in kept):
            kept.append(row)
    near = found([text(words) for words in texts], "text", threshold=threshold)
    mistaken = {*kept} ^ {*np.flatnonzero(near.matched < 0).tolist()}
    assert len(mistaken) <= 1  # bands and checks may miss a pair at the threshold
    for row in np.flatnonzero(near.matched >= 0).tolist():
        match = int(near.matched[row])
        assert match < row
        assert near.matched[match] < 0
        assert near.alike[row] == pytest.approx(alike(texts[row], texts[match]))
        assert near.alike[row] >= threshold


def test_of_two_thousand_pairs_near_the_threshold_hardly_one_is_missed() -> None:
    draw = random.Random(0)
    names = [f"w{number}" for number in range(5000)]
    texts = []
    for _ in range(2000):
        words = draw.choices(names, k=60)
        texts += [" ".join(words), " ".join(edited(words, 3, draw))]
    pairs = [(row, row + 1) for row in range(0, 4000, 2) if alike(texts[row], texts[row + 1]) >= 0.8]
    near = found([text(words) for words in texts], "text")
    assert len(pairs) > 1900
    assert sum(near.matched[later] == first for first, later in pairs) >= 0.99 * len(pairs)


def test_batches_make_no_difference() -> None:
    examples = [asked(words, words[::-1]) for words in family(3, 300, 30)]
    one, other = (found(examples, batch=batch) for batch in (7, 300))
    assert one.matched.tolist() == other.matched.tolist()
    assert one.cluster.tolist() == other.cluster.tolist()


def test_a_chain_of_rows_each_near_the_next_keeps_both_ends() -> None:
    words = [f"w{number}" for number in range(40)]
    chain = [" ".join([*(f"x{number}" for number in range(step)), *words[step:]]) for step in range(13)]
    near = found([text(words) for words in chain], "text")
    kept = np.flatnonzero(near.matched < 0).tolist()
    assert len(kept) > 1
    assert all(alike(chain[one], chain[other]) < 0.8 for one, other in combinations(kept, 2))


ESSAY = "the quick brown fox jumps over the lazy dog while seven wizards box quietly in the old garden near a lake"
OTHER = "in a distant harbour nine sailors count the stars and sing of home until the morning bell calls them to work"


@pytest.mark.parametrize(
    ("first", "second", "options"),
    [
        (asked("Tell a story", ESSAY), asked("Tell a story", OTHER), {}),
        (asked("Tell a story", ESSAY), asked("What do you see there", ESSAY), {}),
        (asked(ESSAY, "Yes."), asked(f"{ESSAY} now", "Yes."), {}),
        (asked(ESSAY, OTHER, label=True), asked(f"{ESSAY} now", OTHER, label=False), {}),
        (asked(ESSAY, OTHER, system="Be brief."), asked(f"{ESSAY} now", OTHER, system="Be rude."), {}),
        (asked("Tell a story", ESSAY), asked("Tell a story", OTHER), {"key": "answer"}),
        (asked("", ""), asked("Tell a story", ""), {}),
    ],
)
def test_rows_that_differ_in_what_matters_both_stay(first: Example, second: Example, options: dict[str, str]) -> None:
    assert found([first, second], **options).matched.tolist() == [-1, -1]


@pytest.mark.parametrize(
    ("first", "second", "options"),
    [
        (asked(ESSAY, OTHER), asked(f"{ESSAY} now", f"{OTHER}!"), {}),
        (asked("Tell a story", ESSAY), asked("Tell a story", OTHER), {"key": "prompt"}),
        (asked("Tell a story", ESSAY), asked("What do you see there", ESSAY), {"key": "answer"}),
        (asked("Hi", f"{ESSAY} {OTHER}"), asked("Ho", f"{ESSAY} {OTHER}"), {"key": "text"}),
        (asked("Tell a story", ESSAY), asked("Tell a story", OTHER), {"key": "last_user"}),
        (asked(ESSAY, OTHER), asked(f"{ESSAY} {ESSAY}", OTHER), {}),
        (asked("如何学习中文并且记住很多汉字呢", "每天读书写字听广播看电影和朋友聊天"),
         asked("如何学习中文并且记住很多汉字", "每天读书写字听广播看电影和朋友聊天吧"), {}),
        (asked("ประเทศไทยมีเมืองหลวงชื่อว่าอะไร", "กรุงเทพมหานครเป็นเมืองหลวงของประเทศไทย"),
         asked("ประเทศไทยมีเมืองหลวงชื่ออะไร", "กรุงเทพมหานครเป็นเมืองหลวงของประเทศไทยครับ"), {}),
    ],
)  # fmt: skip
def test_rows_that_are_nearly_the_same_are_matched(first: Example, second: Example, options: dict[str, str]) -> None:
    assert found([first, second], **options).matched.tolist() == [-1, 0]


def test_pairs_are_near_only_if_both_endings_are() -> None:
    def pair(chosen: str, rejected: str) -> Example:
        asks = Message("user", "Tell a story, please")
        good, bad = ((asks, Message("assistant", words)) for words in (chosen, rejected))
        return Example(good, Source("rows", 1), rejected=bad)

    near = found([pair(ESSAY, OTHER), pair(f"{ESSAY}.", OTHER[::-1]), pair(f"{ESSAY}.", f"{OTHER}.")], "pair")
    assert near.matched.tolist() == [-1, -1, 0]


def test_no_two_rows_with_near_prompts_are_in_different_clusters() -> None:
    prompts = family(5, 400, 25)
    near = found([asked(prompt, f"answer {number}") for number, prompt in enumerate(prompts)])
    assert (near.matched < 0).all()
    for one, other in combinations(range(len(prompts)), 2):
        if alike(prompts[one], prompts[other]) >= 0.8:
            assert near.cluster[one] == near.cluster[other]
    assert len({*near.cluster.tolist()}) > 50


def test_rows_that_are_told_and_not_dropped_are_held_back_with_their_match() -> None:
    rows = [asked("Tell a story", ESSAY), asked("Anything else then", OTHER), asked("What do you see there", ESSAY)]
    near = found(rows, key="answer", action="tell")
    assert near.matched.tolist() == [-1, -1, 0]
    assert near.cluster.tolist() == [0, 1, 0]


@pytest.mark.parametrize("rows", [["same thing again and again"], ["word", ""]])
def test_a_hundred_thousand_equal_rows_take_seconds(rows: list[str]) -> None:
    examples = [text(rows[number % len(rows)]) for number in range(100_000)]
    near = found(examples, "text", batch=5000)
    assert np.flatnonzero(near.matched < 0).tolist() == [*range(len(rows))]


def test_thousands_of_rows_cut_to_one_pattern_take_seconds_and_stay() -> None:
    draw = random.Random(4)
    pattern = " ".join(f"p{number}" for number in range(30))
    examples = [text(f"{pattern} {' '.join(draw.choices(WORDS, k=25))}") for _ in range(4000)]
    assert (found(examples, "text").matched < 0).mean() > 0.99


def test_the_look_at_values_passes_over_two_pairs_in_a_thousand() -> None:
    draw = np.random.default_rng(0)
    equal = draw.binomial(128, 0.8, 100_000)
    assert (equal < fewest_equal(128, 0.8)).mean() <= 0.0025


def test_rows_of_a_pattern_that_cannot_all_be_compared_are_told_apart_and_others_are_not() -> None:
    draw = random.Random(4)
    pattern = " ".join(f"p{number}" for number in range(30))
    of_pattern = [text(f"{pattern} {' '.join(draw.choices(WORDS, k=4))}") for _ in range(1000)]
    others = [text(words) for words in family(1, 200, 40)]
    unsure = found([*of_pattern, *others], "text", threshold=0.9).unsure
    assert unsure[:1000].mean() > 0.5
    assert not unsure[1000:].any()
