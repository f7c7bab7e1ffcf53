import pytest
from hypothesis import given
from hypothesis import strategies as st

from luthier.core.text import CONTROL, did_you_mean, human_bytes, human_seconds, one_line, plural, safe


@given(st.text())
def test_safe_text_holds_nothing_that_drives_a_terminal(text: str) -> None:
    assert not CONTROL.search(safe(text))


@given(st.text(), st.integers(2, 50))
def test_one_line_is_one_line_of_that_width(text: str, width: int) -> None:
    line = one_line(text, width)
    assert len(line) <= width
    assert "\n" not in line


@pytest.mark.parametrize(("wrong", "meant"), [("learning_rat", "learning_rate"), ("EPOCHS", "epochs"), ("zzz", None)])
def test_a_typo_finds_the_word_that_was_meant(wrong: str, meant: str | None) -> None:
    assert did_you_mean(wrong, ["learning_rate", "epochs"]) == meant


@pytest.mark.parametrize(
    ("count", "noun", "words"),
    [
        (1, "row", "1 row"),
        (1204, "row", "1,204 rows"),
        (2, "entry", "2 entries"),
        (1, "class", "1 class"),
        (0, "class", "0 classes"),
    ],
)
def test_counts_are_said_in_english(count: int, noun: str, words: str) -> None:
    assert plural(count, noun) == words


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "0 B"), (999, "999 B"), (9_400_000, "9.4 MB"), (2.5e12, "2.5 TB"), (2.5e15, "2500.0 TB")],
)
def test_sizes_are_said_in_powers_of_a_thousand(count: float, words: str) -> None:
    assert human_bytes(count) == words


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.84, "0.8 s"), (42, "42 s"), (185, "3 min 05 s"), (7800, "2 h 10 min")]
)
def test_durations_are_said_as_people_say_them(seconds: float, words: str) -> None:
    assert human_seconds(seconds) == words
