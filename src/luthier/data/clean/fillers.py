"""Filler words of transcribed speech, where they are set off from the sentence around them."""

import re
from collections.abc import Callable

from luthier.data.clean import prose
from luthier.recipe.data import Fillers

SOUNDS = {
    "en": "[Uu]h{0,3}m{1,5}|[Uu]h{1,5}|[Ee]rm{1,5}|er|[Hh]m{1,5}|[Mm]hm|[Mm]m{2,5}",
    "de": "[Ää]hm{0,5}|[Öö]hm{0,5}|[Hh]m{1,5}|[Ää]h{1,5}",
    "es": "[Ee]h{1,5}|[Ee]mm{1,5}|[Mm]m{2,5}",
    "fr": "[Ee]uh{1,5}|[Hh]um",
    "it": "[Ee]hm{1,5}|[Uu]hm{1,5}|[Mm]m{2,5}",
    "pt": "[Hh]ã{1,5}|[Éé]h{1,5}|[Hh]um{2,5}|[Aa]hn",
    "nl": "[Uu]hm{0,5}|[Ee]hm{1,5}|[Hh]m{1,5}",
}
"""Sounds that are no word of the language. Capitals only at the beginning: `UM` and `ER` are abbreviations."""

PHRASES = {
    "en": "you know|I mean|sort of|kind of|like",
    "de": "weißt du|sag ich mal|sozusagen",
    "es": "o sea|sabes",
    "fr": "tu vois|vous voyez|tu sais",
    "it": "cioè|sai|diciamo",
    "pt": "tipo|sabe|quer dizer|né",
    "nl": "weet je|zeg maar",
}
"""Words with a meaning of their own: fillers only between two commas."""

GLUED = {"ja": "えーっと|えーと|ええと|えっと|あのー|あのう|うーん", "zh": "嗯{1,5}|呃{1,5}"}
"""Sounds of languages that are written without spaces."""

SENTENCE_BEGINS = re.compile(r"(?:^|[.!?…\n\ufdd0][\"'”’)]{0,2}|\w:)[ \t]{0,3}\Z")
ENDS = (*".!?;:)\n", "")


def apply(options: Fillers) -> Callable[[list[str]], list[str]]:
    """Return what takes the filler words of the languages out of texts."""
    sounds = [SOUNDS[language] for language in options.languages if language in SOUNDS]
    either = "|".join([*sounds, *map(re.escape, options.words)])
    phrases = "|".join(PHRASES[language] for language in options.languages if language in PHRASES)
    glued = "|".join(GLUED[language] for language in options.languages if language in GLUED)
    alone = re.compile(
        rf"(?P<lead>,?[ \t]{{0,3}})(?<![\w'’\"“”*_/-])(?<!\d )(?P<word>(?:{either})(?:[, \t]{{1,3}}(?:{either}))*)"
        rf"(?![\w'’\"“”*_/-])[ \t]{{0,3}}(?P<trail>,|\.\.\.|…)?(?P<space>[ \t]{{0,3}})(?P<next>\w?)"
    )
    quick = re.compile(rf"\b(?:{either})\b")
    set_off = re.compile(rf",(?:[ \t]{{1,3}}(?:{phrases})[ \t]{{0,3}},)+")
    spaceless = re.compile(rf"(?:{glued})[、，,…]?")

    def one(text: str) -> str:
        before = text
        for _ in range(4):  # a filler may stand behind a filler
            text = alone.sub(_without, text) if either and quick.search(text) else text
            text = set_off.sub("", text) if phrases else text
            text = spaceless.sub("", text) if glued else text
        return text if text.strip() else before

    return lambda texts: [prose.rewritten(text, one) for text in texts]


def _without(match: re.Match[str]) -> str:
    """Return what stands there without the filler: one comma less than there were, the capital where it was."""
    text, lead, follows = match.string, match["lead"], match["next"]
    ends = not follows and text[match.end() : match.end() + 1] in ENDS
    if "," not in lead and SENTENCE_BEGINS.search(text, max(0, match.start() - 8), match.start("word")):
        if ends:
            return match.group()  # a sentence of its own
        return lead + (follows.upper() if match["word"][0].isupper() else follows)
    if ends:
        return match["space"] if match["trail"] is None and not lead else ""
    comma = "," if lead.startswith(",") and match["trail"] is None else ""
    return f"{comma} {follows}"
