"""Counting tokens without template: the same numbers as the tokenizer's, fast or not."""

import pickle
from functools import partial
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from luthier.bundled import model_path
from luthier.tokens.count import MANY, countable, counter

FILE = model_path() / "tokenizer.json"
SLOW, FAST = counter(FILE, 0), counter(FILE, MANY)
BACKEND = Tokenizer.from_file(str(FILE))


@given(st.lists(st.text() | st.sampled_from(["The peg slips.", "Grün, don't you?"]), max_size=5))
def test_both_ways_count_what_the_tokenizer_makes(texts: list[str]) -> None:
    wanted = [len(BACKEND.encode(text, add_special_tokens=False).ids) for text in texts]
    assert SLOW(texts) == wanted
    assert FAST(texts) == wanted


def test_a_counter_can_be_made_in_another_process() -> None:
    made = pickle.loads(pickle.dumps(partial(counter, FILE, 10)))
    assert made()(["one", ""]) == SLOW(["one", ""])


def test_what_is_no_tokenizer_counts_nothing(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{broken")
    assert not countable(tmp_path / "tokenizer.json", 10)
    assert countable(FILE, 10)
    assert countable(FILE, 10**12)  # byte-level: there is a fast way
