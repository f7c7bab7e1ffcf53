"""Small grammar: choosing between alternatives, filling slots, and getting articles and capitals right.

A pattern such as `[My|Our] {x} is {a colour} one.` holds alternatives in square brackets (they may nest)
and slots in braces; `{a x}` puts the right indefinite article before the value. Articles are corrected by
sound at the end.
"""

import random
import re
from collections.abc import Mapping

from scripts.base_model.world import IRREGULAR_PLURALS

_INNERMOST = re.compile(r"\[([^\[\]]*)\]")
_SLOT = re.compile(r"\{(a )?(\w+)\}")
_ARTICLE = re.compile(r"\b([Aa])n? (?=([\w']+))")
_SENTENCE_START = re.compile(r"(?:^|(?<=[.!?] )|(?<=[.!?]\n)|(?<=\n))[\"“]?[a-z]")
_SPACES = re.compile(r" {2,}")
_VOWEL_SOUND = ("hour", "honest")
_CONSONANT_SOUND = ("uk", "us", "uni", "eu", "one", "once")


def starts_with_vowel_sound(word: str) -> bool:
    """Say whether `an` goes before the word: an hour, an oak, but a ukulele, a useful key."""
    low = word.lower()
    if low.startswith(_VOWEL_SOUND):
        return True
    return low[0] in "aeiou" and not low.startswith(_CONSONANT_SOUND)


def with_article(noun: str) -> str:
    """Put `a` or `an` before a noun phrase."""
    return ("an " if starts_with_vowel_sound(noun) else "a ") + noun


def plural(noun: str) -> str:
    """Form the plural of a noun, or of the last word of a noun phrase."""
    if noun in IRREGULAR_PLURALS:
        return IRREGULAR_PLURALS[noun]
    head, _, last = noun.rpartition(" ")
    prefix = f"{head} " if head else ""
    if last in IRREGULAR_PLURALS:
        return prefix + IRREGULAR_PLURALS[last]
    if last.endswith(("s", "x", "ch", "sh")):
        return prefix + last + "es"
    if last.endswith("y") and last[-2] not in "aeiou":
        return prefix + last[:-1] + "ies"
    return prefix + last + "s"


def joined(items: list[str] | tuple[str, ...]) -> str:
    """Join with commas and a final `and`: a pear, a plum and a grape."""
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " and " + items[-1]


def choose_alternatives(pattern: str, rng: random.Random) -> str:
    """Replace every `[a|b|c]`, innermost first, by one of its alternatives."""
    while True:
        match = _INNERMOST.search(pattern)
        if match is None:
            return pattern
        pattern = pattern[: match.start()] + rng.choice(match.group(1).split("|")) + pattern[match.end() :]


def expand(pattern: str, rng: random.Random, slots: Mapping[str, str] | None = None) -> str:
    """Turn a pattern into text with the right articles, single spaces and a capital after each full stop."""
    values = slots or {}

    def fill(match: re.Match[str]) -> str:
        value = values[match.group(2)]
        return with_article(value) if match.group(1) else value

    text = pattern
    for _ in range(3):
        text = choose_alternatives(text, rng)
        if "{" not in text:
            break
        text = _SLOT.sub(fill, text)
    return tidy(text)


def tidy(text: str) -> str:
    """Correct `a`/`an`, double spaces and the capital letter of every sentence."""
    text = _SPACES.sub(" ", text).replace(" .", ".").strip()
    text = _ARTICLE.sub(lambda m: m.group(1) + ("n " if starts_with_vowel_sound(m.group(2)) else " "), text)
    return _SENTENCE_START.sub(lambda m: m.group(0).upper(), text)


def casual(text: str, rng: random.Random) -> str:
    """Write a message the way people type: lower case, no question mark, now and then a slip."""
    kind = rng.random()
    if kind < 0.45:
        text = text.lower()
    if kind < 0.6 and text.endswith(("?", ".")):
        text = text[:-1]
    elif kind < 0.7:
        text = text.replace("I am ", "I'm ").replace("do not", "don't").replace("cannot", "can't")
        text = text.replace("does not", "doesn't").replace("will not", "won't").replace("It is", "It's")
    if rng.random() < 0.3:
        text = slip(text, rng)
    return text


def slip(text: str, rng: random.Random) -> str:
    """Make one typing mistake: two letters swapped, one dropped or one doubled."""
    places = [i for i in range(1, len(text) - 2) if text[i].isalpha() and text[i + 1].isalpha()]
    if not places:
        return text
    i = rng.choice(places)
    kind = rng.randrange(3)
    if kind == 0:
        return text[:i] + text[i + 1] + text[i] + text[i + 2 :]
    return text[:i] + text[i + 1 :] if kind == 1 else text[:i] + text[i] + text[i:]
