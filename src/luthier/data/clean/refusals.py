"""Answers that refuse: the model would learn to refuse likewise."""

import re

from luthier.core.example import Example
from luthier.data.clean.step import answers
from luthier.data.rows import Refusal

OPENINGS = {
    "en": (
        r"{SORRY}\W{1,3}(?:but )?{CANT}",
        r"{SORRY}\W{1,3}(?:but )?(?:as|since|because|i['’]m|i am) (?:i am |i['’]m )?(?:just )?an? {AI}",
        r"as an? {AI}[\w ]{0,40}\W{1,3}(?:\w+ ){0,6}?{CANT}",
        r"i (?:can(?:not|['’]t| not)|am unable to|won['’]t) (?:assist|help|fulfil|comply)\w* (?:you )?with\b",
    ),
    "de": (
        r"(?:es )?tut mir (?:sehr )?leid\W{1,3}(?:aber )?(?:ich kann|das kann ich|dabei kann ich|ich bin nicht|als ki)",
        r"als (?:ki|sprachmodell|künstliche intelligenz)\b.{0,60}\b(?:kann|bin|habe|darf) ich\b.{0,40}\b(?:nicht|kein)",
    ),
    "fr": (
        r"(?:je suis )?(?:désolée?|navrée?)\W{1,3}(?:mais )?(?:je ne (?:peux|suis)|en tant qu)",
        r"en tant qu(?:e modèle|['’]ia|['’]intelligence).{0,60}\bje ne\b",
    ),
    "es": (
        r"lo siento\W{1,3}(?:pero )?(?:no puedo|como (?:ia|modelo|inteligencia))",
        r"como (?:modelo de lenguaje|inteligencia artificial|ia)\b.{0,40}\bno\b",
    ),
    "it": (
        r"mi dispiace\W{1,3}(?:ma )?(?:non posso|come (?:ia|modello))",
        r"come (?:modello linguistico|intelligenza artificiale)\b.{0,40}\bnon\b",
    ),
    "pt": (
        r"(?:sinto muito|desculpe|lamento)\W{1,3}(?:mas )?(?:não posso|como (?:ia|modelo))",
        r"como (?:um )?(?:modelo de linguagem|uma ia|inteligência artificial)\b.{0,40}\bnão\b",
    ),
    "nl": (
        r"(?:het )?spijt me\W{1,3}(?:maar )?(?:ik kan|als (?:ai|taalmodel))",
        r"als (?:ai|taalmodel)\b.{0,40}\bkan ik\b.{0,40}\b(?:niet|geen)\b",
    ),
    "ru": (
        r"(?:извините|простите|к сожалению|мне жаль)\W{1,3}(?:но )?(?:я не могу|как (?:ии|языковая модель))",
        r"как (?:языковая модель|ии|искусственный интеллект)\b.{0,40}\bне\b",
    ),
    "zh": (
        r"(?:很|非常)?(?:抱歉|对不起|遗憾).{0,20}(?:无法|不能|没有办法)",
        r"(?:我(?:只)?是|作为)一?[个名款]?(?:大型)?(?:ai|人工智能|语言模型).{0,40}(?:无法|不能|没有)",
    ),
    "ja": (
        r"(?:申し訳(?:ありません|ございません)|すみません|ごめんなさい).{0,30}(?:できません|いたしかねます)",
        r"(?:私は)?(?:ai|人工知能|言語モデル).{0,20}(?:ため|ので).{0,40}ません",
    ),
}
"""How refusals begin, by language. `Sorry for the delay` is none: what can't be done must follow the excuse."""

PARTS = {
    "{SORRY}": r"(?:(?:i['’]m|i am) (?:\w+ )?sorry|sorry|i apologi[sz]e|my apologies|unfortunately)",
    "{AI}": r"(?:\w+ ){0,4}?(?:ai|artificial intelligence|language model)\b",
    "{CANT}": (
        r"i(?:['’]m| am)? ?(?:not able|unable|not allowed|not programmed|not connected|may not be able|"
        r"(?:can(?:not|['’]t| not)|won['’]t|do(?: not|n['’]t)) (?:\w+ )?(?:have|assist|help|fulfil|comply|provide|"
        r"create|write|generate|answer|complete|engage|support|access|browse|do that|possess|feel|experience))"
    ),
}


def _written_out(pattern: str) -> str:
    for name, part in PARTS.items():
        pattern = pattern.replace(name, part)
    return pattern


OPENING = re.compile(_written_out("|".join(one for some in OPENINGS.values() for one in some)), re.IGNORECASE)

FIRST = frozenset("iasumdejlnhtcизпмк很非抱对遗我作申すご私人言")
"""Letters such an answer begins with: a quick look that most don't pass."""

LOOKED_AT = 240
"""Characters of an answer."""


def find(example: Example) -> Refusal | None:
    """Return why an answer is a refusal, or None. What follows a refusal doesn't make it an answer."""
    for answer in answers(example):
        opening = answer[:LOOKED_AT].lstrip(" \n\"'“*")
        if opening[:1].lower() in FIRST and (refusing := OPENING.match(opening)):
            return Refusal("refusal", f"the answer begins with a refusal: {refusing[0]}")
    return None
