import time

import pytest

from luthier.core.example import Example, Message, Source
from luthier.data.clean import profanity
from luthier.data.clean.step import Notes, run
from luthier.data.rows import Refusal


@pytest.mark.parametrize(
    "text",
    [
        "What the fuck?",
        "SHIT!",
        "so ein Scheißtag, scheiße",
        "sh1t happens",
        "f*ck this",
        "b!tch",
        "C'est de la merde.",
        "Qué mierda",
    ],
)
def test_profanity_is_found_whole_plain_or_disguised(text: str):
    assert profanity.swears(text)


@pytest.mark.parametrize(
    "text",
    [
        "Scunthorpe, Essex and Sussex",
        "Dick van Dyke ate a cock-a-leekie soup",
        "con mucho gusto, una bite",
        "the class assessed the cocktail",
        "She will assassinate him",
        "un retard de deux heures",
        "A5S and 5h1p",
        "f(*args) and a*b*c",
        "f***",
        "Shitake is a mushroom, shiitake too",
        "un pique-nique, mtoto wa kike",
        "$100 @home 4ever",
    ],
)
def test_words_that_only_contain_or_resemble_one_are_not(text: str):
    assert not profanity.swears(text)


@pytest.mark.parametrize("asked", ["flag", "mask", "drop"])
def test_a_row_with_profanity_is_told_masked_or_dropped(asked):
    step, notes = profanity.step(asked), Notes()
    assert step is not None
    row = Example((Message("user", "Why?"), Message("assistant", "No fucking idea, sh1t.")), Source("x", 7))
    clean = Example((Message("user", "Why?"), Message("assistant", "No idea.")), Source("x", 8))
    result, other = run(step, [row, clean], notes)
    assert other is clean
    assert notes.found == {"profanity": 1}
    assert str(notes.first["profanity"]) == "x:7"
    if asked == "drop":
        assert isinstance(result, Refusal)
        assert result.reason == "profanity"
    else:
        said = "No fucking idea, sh1t." if asked == "flag" else "No f****** idea, s***."
        assert result.messages[1].text == said


def test_masking_happens_once_and_keeps_lengths():
    text = "Fuck, sh1t and f**k: Merde! Scheiße?"
    masked = profanity.masked(text)
    assert len(masked) == len(text)
    assert profanity.masked(masked) == masked
    assert not profanity.swears(masked)


def test_nothing_is_looked_for_when_it_is_off():
    assert profanity.step("off") is None


@pytest.mark.parametrize("unit", ["a", "a1", "1", "*", "a*", "sh1t", "$", "a@ "])
def test_hostile_texts_take_little_time(unit: str):
    began = time.process_time()
    profanity.masked(unit * (100_000 // len(unit)))
    profanity.swears(unit * (100_000 // len(unit)))
    assert time.process_time() - began < 1
