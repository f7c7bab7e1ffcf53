"""Swear words and slurs, by whole words from lists of our own. What a list can't know is tone.

Profanity is not toxicity: a friendly text may swear, a hateful one need not. Words that are ordinary in another
language or meaning (`con`, `bite`, `Dick`, `ass`) are left out: lists should err on the side of silence.
"""

import re
import string
from collections.abc import Sequence
from typing import Literal

from luthier.core.example import Example
from luthier.data.clean.step import Notes, Step, turns, with_texts
from luthier.data.rows import Refusal

LISTS = {
    "en": "fuck fucks fucked fucker fuckers fucking fuckin fuckup motherfucker motherfuckers motherfucking shit "
    "shits shitty shitting shithead shitheads bullshit horseshit dipshit asshole assholes arsehole "
    "arseholes dumbass jackass dumbasses badass bitch bitches bitching bastard bastards cunt cunts twat "
    "twats wanker wankers bollocks slut sluts whore whores cocksucker cocksuckers dickhead dickheads "
    "douchebag douchebags goddamn goddamned nigger niggers nigga niggas faggot faggots wetback "
    "wetbacks raghead ragheads towelhead towelheads retarded",
    "de": "scheiße scheisse scheiß scheiss beschissen beschissene arsch arschloch arschlöcher fotze fotzen "
    "hurensohn hurensöhne wichser ficken ficker gefickt fickt schlampe schlampen hure huren missgeburt "
    "schwuchtel schwuchteln kanake kanaken spasti verpiss verfickt verfickte",
    "fr": "merde merdes putain putains pute putes connard connards connasse connasses enculé enculés enculer "
    "encule salope salopes salaud salauds niquer pédé pédés foutre couilles emmerder emmerde "
    "bougnoule bougnoules nègre nègres enfoiré enfoirés",
    "es": "mierda mierdas puta putas puto putos joder jodido jodida cabrón cabrones cabrona gilipollas coño "
    "hijoputa pendejo pendejos pendeja maricón maricones chingar chingada chingado cojones carajo culero "
    "sudaca sudacas",
    "it": "cazzo cazzi cazzata cazzate stronzo stronza stronzi stronze vaffanculo puttana puttane coglione "
    "coglioni minchia bastardo bastardi frocio froci incazzato incazzata zoccola",
    "pt": "caralho foda foder fodido fodida fodeu merda buceta cuzão arrombado arrombada viado viados putaria",
}
WORDS = frozenset(word for words in LISTS.values() for word in words.split())

WORD = re.compile(r"[^\W\d_]{3,}")
SPACED = {ord(sign): " " for sign in f"{string.punctuation}“”„‘’…«»¿¡–—。，！？"}

SIGN_INSIDE = re.compile(r"[013457@$!*](?<=[^\W\d_].)[013457@$!*]{0,3}[^\W\d_]")
DISGUISED = re.compile(r"(?<![\w@$!*])[^\W\d_][\w@$!*]{1,23}[^\W\d_](?![\w@$*])")
"""A word that may have signs or digits inside: `sh1t`, `f*ck`, `b!tch`."""

AS_LETTERS = str.maketrans("013457@$!", "oieastasi")

STARRED = {
    f"{word[0]}{'*' * hidden}{word[1 + hidden :]}" for word in WORDS for hidden in (1, 2) if len(word) > hidden + 2
}
"""`f*ck`, `f**k`."""


def step(asked: Literal["off", "flag", "mask", "drop"]) -> Step | None:
    """Return the step that tells, masks or drops profanity; None where it may stay unseen."""
    if asked == "off":
        return None

    def work(examples: Sequence[Example], notes: Notes) -> list[Example | Refusal]:
        results: list[Example | Refusal] = []
        for example in examples:
            texts = [turn.text for turn in turns(example)]
            if not any(map(swears, texts)):
                results.append(example)
                continue
            notes.see("profanity", example.source)
            if asked == "drop":
                results.append(Refusal("profanity", "holds a word from the lists of profanity"))
            else:  # as long as before, so characters named to be learned stay where they are
                results.append(with_texts(example, [*map(masked, texts)]) if asked == "mask" else example)
        return results

    return work


def swears(text: str) -> bool:
    """Say whether a text holds a word of the lists, plain or with a few letters disguised."""
    if not WORDS.isdisjoint(text.lower().translate(SPACED).split()):
        return True
    return SIGN_INSIDE.search(text) is not None and any(map(_is_profane, DISGUISED.findall(text)))


def _is_profane(word: str) -> bool:
    lower = word.lower()
    return lower in WORDS or lower in STARRED or lower.translate(AS_LETTERS) in WORDS


def masked(text: str) -> str:
    """Return a text with all but the first letter of such words as stars."""
    return WORD.sub(_starred, DISGUISED.sub(_starred, text))


def _starred(match: re.Match[str]) -> str:
    word = match.group()
    return word[0] + "*" * (len(word) - 1) if _is_profane(word) else word
