"""Transcripts of speech: times, sounds and speaker tags that a recorder wrote between the words."""

import re
from collections.abc import Callable

from luthier.data.clean import prose
from luthier.recipe.data import Transcript

SECONDS = r"\d{1,2}:\d{2}:\d{2}"
CLOCK = r"\d{1,2}:\d{2}(?::\d{2})?(?:[.,]\d{1,3})?"

SUBTITLE = re.compile(
    rf"^(?:\d{{1,6}}\n)?{CLOCK} --> {CLOCK}[^\n]{{0,200}}(?:\n|\Z)|^WEBVTT[^\n]{{0,200}}(?:\n+|\Z)", re.MULTILINE
)
"""The lines of SRT and WebVTT that say when a line is shown."""

TIME = re.compile(
    rf"^[ \t]{{0,9}}(?:[\[(<]{CLOCK}(?:\s?-{{1,2}}>?\s?{CLOCK})?[\])>]|{SECONDS}(?:[.,]\d{{1,3}})?(?= ))"
    rf"[ \t]{{0,9}}(?:[-–|][ \t]{{1,9}})?|[ \t]{{0,3}}\[{SECONDS}\]",
    re.MULTILINE,
)
"""A time before a line, and within one when it is in square brackets and has seconds. `(3:16)` in a sentence is a
verse or a score, and `10:30 Breakfast` is a plan."""

SOUNDS = (
    "music|applause|laughter|laughs|laughing|chuckles|inaudible|unintelligible|indistinct|crosstalk|silence|pause|noise|"
    "background noise|coughs|coughing|sighs|clears throat|foreign language|"
    "musik|applaus|gelächter|lachen|unverständlich|pause|música|aplausos|risas|inaudible|musique|applaudissements|rires"
)
SOUND = re.compile(rf"[ \t]{{0,3}}(?:[\[(][ ♪]{{0,3}}(?:{SOUNDS})[ ♪]{{0,3}}[\])]|♪{{1,9}})", re.IGNORECASE)

NUMBERED = re.compile(
    r"^[ \t]{0,9}(?:>> ?)?(?:<v )?[\[(]?(?:speaker|spk|sprecher|locuteur|hablante|interlocutor)"
    r"[ _-]?0{0,3}(\d{1,3}|[A-H])(?:>|(?:[\])]:?| ?[:>]| -)(?=\s|$))[ \t]{0,9}",
    re.IGNORECASE | re.MULTILINE,
)
"""`SPEAKER_01:`, `[Speaker 1]`, `<v Speaker 1>`, `>> Speaker 2:` at the beginning of a line."""


def apply(options: Transcript) -> Callable[[list[str]], list[str]]:
    """Return what takes out of texts what the options name."""
    named = _named(options.names)

    def one(text: str) -> str:
        if options.timestamps:
            text = TIME.sub("", SUBTITLE.sub("", text))
        if options.sounds:
            text = SOUND.sub("", text)
        if options.speakers:
            tag, name = (r"Speaker \1: ", r"\1: ") if options.speakers == "even" else ("", "")
            text = NUMBERED.sub(tag, text)
            text = named.sub(name, text) if named else text
        return text

    return lambda texts: [prose.rewritten(text, lambda prose: _settled(one, prose)) for text in texts]


def _settled(rewrite: Callable[[str], str], text: str) -> str:
    """Rewrite until nothing changes: a tag may stand behind a time, and a time behind a tag."""
    for _ in range(5):
        before, text = text, rewrite(text)
        if text == before:
            break
    return text


def _named(names: tuple[str, ...]) -> re.Pattern[str] | None:
    if not names:
        return None
    either = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    return re.compile(rf"^[ \t]{{0,9}}(?:>> ?)?\[?({either})\]? ?:[ \t]{{0,9}}", re.IGNORECASE | re.MULTILINE)
