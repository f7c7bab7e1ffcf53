import pytest
from hypothesis import given
from hypothesis import strategies as st

from luthier.core.example import Example, Message, Source
from luthier.data.diversity import MOST, WORDS, Diversity, Looking, opening, spread


def talk(prompt: str, answer: str, system: str = "") -> Example:
    turns = (Message("user", prompt), Message("assistant", answer))
    return Example((Message("system", system), *turns) if system else turns, Source("x", 1))


def looked(*examples: Example) -> Diversity:
    looking = Looking(len(examples))
    for example in examples:
        looking.look(example)
    return looking.diversity()


def test_different_words_pairs_and_triples_are_shares_of_all() -> None:
    # Words: a b a b | a b c. Pairs: ab ba ab | ab bc: 3 of 5 differ. Triples: aba bab | abc: all 3.
    found = looked(talk("Q", "A b, a b!"), talk("Q", "a b c"))
    assert found.words == 7
    assert found.distinct == (round(3 / 7, 4), round(3 / 5, 4), 1.0)


def test_what_most_texts_begin_with_is_counted() -> None:
    rows = [talk(f"Write a poem about {i}", "Sure,  here\nis one" if i % 4 else "No.") for i in range(8)]
    found = looked(*rows)
    assert (found.answer.text, found.answer.rows) == ("sure, here is", 6)
    assert (found.prompt.text, found.prompt.rows) == ("write a poem", 8)


def test_system_prompts_code_and_turns_are_counted() -> None:
    several = Example((*talk("Q", "A").messages, *talk("Q", "```x```").messages), Source("x", 1))
    found = looked(talk("Q", "A", system="S"), talk("Q", "A", system="S"), talk("Q", "A", system="T"), several)
    assert (found.systems, found.without_system) == (2, 1)
    assert (found.code, found.several_turns) == (1, 1)


@pytest.mark.parametrize(
    ("text", "begins"),
    [
        ("One  two three four", "one two three"),
        ("", ""),
        ("word", "word"),
        ("这是一个很长的句子没有空格也没有标点符号用来测试开头", "这是一个很长的句"),
    ],
)
def test_texts_without_spaces_have_an_opening_too(text: str, begins: str) -> None:
    assert opening(text) == begins


@given(st.integers(1, 10**7))
def test_the_rows_looked_at_are_few_and_spread_over_all(count: int) -> None:
    places = range(0, count, spread(count))
    assert len(places) <= MOST
    assert count < MOST or len(places) > MOST / 2


@given(st.text(max_size=300), st.text(max_size=300))
def test_any_text_has_shares_between_none_and_all(prompt: str, answer: str) -> None:
    assert all(0 < share <= 1 for share in looked(talk(prompt, answer)).distinct)


def test_a_long_text_gives_no_more_than_its_part_of_the_words() -> None:
    assert looked(talk("Q", "word " * 100_000), talk("Q", "short")).words == WORDS // 2 + 1
