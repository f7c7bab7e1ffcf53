"""Lines that stand under every page and letter, whatever it is about."""

import re
from collections.abc import Callable

from luthier.data.clean import prose
from luthier.data.keys import evened
from luthier.recipe.data import Boilerplate

LINE = re.compile(
    r"(?:copyright )?(?:©|\(c\)|copyright|&copy;) ?(?:19|20)\d\d.{0,120}|.{0,120}\ball rights reserved\.?.{0,40}|"
    r"alle rechte vorbehalten\.?|tous droits réservés\.?|todos los derechos reservados\.?|"
    r"(?:this (?:web)?site|we|our (?:web)?site) uses? (?:essential |necessary )?cookies\b.{0,300}|"
    r"by (?:continuing to (?:use|browse)|using) (?:this|our) (?:web)?site,? you (?:agree|consent).{0,300}|"
    r"(?:accept|reject|allow|manage|alle) (?:all )?cookies(?: akzeptieren)?|cookie (?:settings|policy|preferences)|"
    r"(?:diese web(?:site|seite)|wir) (?:verwendet|verwenden|nutzt|nutzen) cookies\b.{0,300}|"
    r"(?:skip|jump) to (?:the )?(?:main )?content|back to top|(?:previous|next) (?:article|post)|"
    r"(?:subscribe|sign up) (?:to|for) our (?:free )?newsletter.{0,80}|(?:click here )?to unsubscribe.{0,120}|"
    r"unsubscribe(?: here| from this list)?\.?|newsletter abbestellen\.?|"
    r"you (?:are receiving|received) this (?:e-?mail|message) because.{0,300}|"
    r"(?:share (?:this|on)|follow us on|like us on)\b.{0,60}|"
    r"(?:privacy policy|terms of (?:service|use))(?: ?[|•·].{0,120})?|"
    r"sent from my (?:iphone|ipad|android|samsung|blackberry|mobile)\b.{0,60}|get outlook for (?:ios|android)|"
    r"von meinem (?:iphone|ipad|handy) gesendet|envoyé de mon (?:iphone|ipad)|enviado desde mi (?:iphone|ipad)|"
    r"(?:this|the information in this) (?:e-?mail|message|communication)\b.{0,120}"
    r"\b(?:confidential|privileged)\b.{0,900}|"
    r"diese e-?mail .{0,80}vertrauliche.{0,900}|please consider the environment before printing.{0,80}",
    re.IGNORECASE,
)
"""A whole line, its ends trimmed. Sentences that go on about something else do not match."""

SIGNATURE = re.compile(r"\n-- ?\n(?:[^\n]{0,120}(?:\n|\Z)){1,8}\Z")
"""What follows the line `-- ` at the end of a letter (RFC 3676, section 4.3)."""


def apply(options: Boilerplate) -> Callable[[list[str]], list[str]]:
    """Return what drops lines of boilerplate from texts. A text that holds nothing else stays as it is."""
    own = frozenset(map(evened, options.lines))

    def one(text: str) -> str:
        lines = text.split("\n")
        left = [line for line in lines if not _goes(line, own)]
        shorter = _unsigned("\n".join(left) if len(left) < len(lines) else text)
        return shorter.rstrip("\n") if len(shorter) < len(text) and shorter.strip() else text

    return lambda texts: [prose.rewritten(text, one) for text in texts]


def _unsigned(text: str) -> str:
    """Return the text without the signatures at its end."""
    end = len(text)
    while (mark := text.rfind("\n--", 0, end)) >= 0 and SIGNATURE.match(text, mark, end):
        end = mark
    return text[:end]


def _goes(line: str, own: frozenset[str]) -> bool:
    stripped = line.strip(" \t|•·*-")
    return 3 < len(stripped) < 1500 and (LINE.fullmatch(stripped) is not None or (bool(own) and evened(line) in own))
