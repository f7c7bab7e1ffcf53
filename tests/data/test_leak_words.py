import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from luthier.data.leakage.words import CHUNK, OVERLAP, Words, chunks, run_number, runs, within, words

texts = st.lists(
    st.text(st.one_of(st.characters(), st.sampled_from("aA0_é ßＡ 漢字かなไทย'-\n")), max_size=30),
    min_size=1,
    max_size=6,
)


def spelled(found: Words) -> list[list[str]]:
    """Return the words of each row."""
    return [
        [word for word, row in zip(found.spelled(0, len(found.row)), found.row, strict=True) if row == number]
        for number in range(found.rows)
    ]


def by_hand(text: str) -> list[str]:
    """Return the words of a text, character by character."""
    evened = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    found: list[str] = []
    begun = False
    for character in evened:
        unspaced = any(
            first <= ord(character) <= last
            for first, last in (
                (0x0E00, 0x0EFF),
                (0x1000, 0x109F),
                (0x1780, 0x17FF),
                (0x3005, 0x3007),
                (0x3040, 0x30FF),
                (0x31F0, 0x31FF),
                (0x3400, 0x4DBF),
                (0x4E00, 0x9FFF),
                (0xF900, 0xFAFF),
                (0x20000, 0x323AF),
            )
        )
        letter = character.isalnum() or character == "_" or unicodedata.category(character).startswith("M")
        if letter and begun and not unspaced:
            found[-1] += character
        elif letter:
            found.append(character)
        begun = letter and not unspaced
    return found


@given(texts)
def test_words_are_runs_of_letters_digits_and_marks_or_characters_where_no_spaces_are_set(rows: list[str]) -> None:
    assert spelled(words(rows)) == [by_hand(text) for text in rows]


@given(texts)
def test_words_joined_by_spaces_are_the_same_words(rows: list[str]) -> None:
    found = spelled(words(rows))
    assert spelled(words([" ".join(row) for row in found])) == found


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Don't STOP, please!", "don t stop -- please"),
        ("ﬁve ｗｏｒｄｓ", "Five words"),
        ("Straße", "STRASSE"),
        ("cafe\u0301", "CAFÉ"),
        ("已经发生。", "已 经 发 生"),
    ],
)
def test_case_width_and_punctuation_make_no_other_words(one: str, other: str) -> None:
    assert spelled(words([one])) == spelled(words([other]))
    assert words([one]).number.tolist() == words([other]).number.tolist()


def test_vowel_signs_do_not_cut_a_word() -> None:
    assert spelled(words(["हिन्दी में", "జానెట్ బాతులు"])) == [["हिन्दी", "में"], ["జానెట్", "బాతులు"]]


@given(texts, st.integers(1, 5))
def test_a_run_has_the_same_number_wherever_it_stands(rows: list[str], length: int) -> None:
    every = words(rows)
    found: dict[int, tuple[str, ...]] = {}
    for at, (number, inside) in enumerate(
        zip(runs(every.number, length).tolist(), within(every.row, length).tolist(), strict=True)
    ):
        run = tuple(every.spelled(at, at + length))
        alone = words([" ".join(run)])
        assert inside == (every.row[at] == every.row[at + length - 1])
        assert runs(alone.number, length).tolist() == [number]
        assert run_number(every.number, np.array([at]), np.array([length])).tolist() == [number]
        assert found.setdefault(number, run) == run


def test_a_text_longer_than_a_chunk_comes_in_pieces_that_share_what_lies_on_their_border() -> None:
    text = " ".join(str(number) for number in range(CHUNK // 4))
    assert len(text) > CHUNK
    needle = words([text[CHUNK - 300 : CHUNK + 300].partition(" ")[2].rpartition(" ")[0]])
    [wanted] = runs(needle.number, len(needle.number)).tolist()
    seen = []
    for indices, found in chunks(["short", text, "last"]):
        assert len(found.text) <= CHUNK + len(indices)
        seen += indices
        assert found.rows == len(indices)
        if wanted in runs(found.number, len(needle.number)).tolist():
            wanted = None
    assert wanted is None
    assert seen == sorted(seen)
    assert len(seen) == 3 + (len(text) - OVERLAP) // (CHUNK - OVERLAP)


def test_no_text_and_an_empty_text_have_no_words() -> None:
    assert [*chunks([])] == []
    [(indices, found)] = chunks(["", "…"])
    assert (indices, len(found.number)) == ([0, 1], 0)
    assert len(runs(found.number, 13)) == len(within(found.row, 13)) == 0
