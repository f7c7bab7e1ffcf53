"""HTML to text, where HTML is how the text was stored. Where a conversation is about HTML, it stays."""

import re
from collections.abc import Sequence
from html import unescape
from html.entities import html5

from selectolax.lexbor import LexborHTMLParser

from luthier.core.example import Example
from luthier.data.clean.special_tokens import STRUCK
from luthier.data.clean.step import Notes, pinned, turns, with_texts
from luthier.data.rows import Refusal

NAMES = (
    "p|br|hr|div|span|a|b|i|u|em|strong|small|sub|sup|font|center|blockquote|ul|ol|li|dl|dt|dd|h[1-6]|"
    "table|thead|tbody|tfoot|tr|td|th|img|pre|code|html|head|body|title|meta|link|style|script|section|article|"
    "header|footer|main|nav|label|button|strike|del|ins|mark|tt|big|caption|figure|figcaption"
)
"""Tags that make a text HTML. `<s>` alone doesn't: it is a control token as often (`special_tokens`)."""
TAG = re.compile(rf"</?(?:{NAMES})(?:\s[^<>]{{0,2000}})?\s{{0,9}}/?>", re.IGNORECASE)
"""A real tag. `if a < b` and `List<int>` are none."""

TYPE_ARGUMENT = re.compile(r"\w<(?:a|b|i|u|s|p)>", re.IGNORECASE)
"""`List<a>`: a tag by its looks, code by what stands before it."""

ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|([A-Za-z][A-Za-z0-9]{1,30}));")
COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
"""An open one reaches to the end, as parsers have it. So no second beginning is looked at."""
NOT_A_TAG = re.compile(rf"<(?!/?(?:{NAMES})(?:[\s/>])|!--)", re.IGNORECASE)

ABOUT_MARKUP = re.compile(
    r"```|`[^`\n]{0,200}[<&][^`\n]{0,200}`|<!doctype|"
    r"\b(?:x?html5?|css|xml|svg|jsx|javascript|jquery|typescript|react\.?js|angular|php|bootstrap|"
    r"markup|(?:opening|closing) tags?|regex|parser?|scrap(?:e|er|ing))\b|"
    r"\b(?:create|write|build|design|make|code|develop|generate)\b[^.?!]{0,60}"
    r"\b(?:web ?site|web ?page|page|form)\b",
    re.IGNORECASE,
)
"""What people say when markup is the subject. Tags and addresses are taken away before the look."""

QUOTED_TAG = re.compile(rf"[\"'`]\s?</?(?:{NAMES})\b[^<>]{{0,2000}}>", re.IGNORECASE)
"""`split("<p>")`: a tag that is spoken about."""

CODE = re.compile(
    r"=>\s{0,9}[({]|\bclassName=|=\{|\breturn \(|\bexport default\b|\bdef \w+\(|\bfunction\s{0,9}\w*\(|#include\b|"
    r"\b(?:var|let|const|int|string) \w+ ?= ?|;[ \t]{0,20}\n\s{0,40}\}"
)
"""What programs say and people don't: markup beside it is part of the program."""

ADDRESS = re.compile(r"\bhttps?://\S{1,2000}|\bwww\.\S{1,2000}")

BREAKS = (
    (re.compile(r"[ \t]{0,20}<br\s{0,9}/?>[ \t]{0,20}\n?", re.IGNORECASE), "\n"),
    (re.compile(r"<li(?:\s[^<>]{0,2000})?>", re.IGNORECASE), "<li>\n- "),
    (re.compile(r"</(?:p|h[1-6]|ul|ol|table|blockquote)>[ \t]{0,20}\n{0,2}", re.IGNORECASE), "\n\n"),
    (re.compile(r"</(?:div|tr|dt|dd|section|article|header|footer)>[ \t]{0,20}\n?", re.IGNORECASE), "\n"),
    (re.compile(r"</t[dh]>", re.IGNORECASE), "\t"),
)


def step(examples: Sequence[Example], notes: Notes) -> list[Example | Refusal]:
    """Turn HTML into text, conversation by conversation: what one is about says nothing of the next."""
    del notes
    return [_text_of(example) for example in examples]


def _text_of(example: Example) -> Example:
    texts = [turn.text for turn in turns(example)]
    for text in texts:
        if "<" in text or "&" in text:
            break
    else:
        return example
    if pinned(example):
        return example
    return with_texts(example, after) if (after := apply(texts)) is not texts else example


def apply(texts: list[str]) -> list[str]:
    """Return the texts of a conversation with tags turned into line breaks or nothing and entities into characters."""
    found = [_holds_markup(text) for text in texts]
    if not any(found) or _about_markup(texts):
        return texts
    return [_to_text(text) if marked else text for text, marked in zip(texts, found, strict=True)]


def _holds_markup(text: str) -> bool:
    if "<" in text and TAG.search(text) is not None and TYPE_ARGUMENT.search(text) is None:
        return True
    return "&" in text and any(_character(match) != match.group() for match in ENTITY.finditer(text))


def _character(entity: re.Match[str]) -> str:
    """Return what an entity stands for. `unescape` alone would take `&copyright;` for `&copy`."""
    name = entity.group(1)
    return entity.group() if name and f"{name};" not in html5 else unescape(entity.group())


def _about_markup(texts: list[str]) -> bool:
    return any(
        QUOTED_TAG.search(text) or CODE.search(text) or ABOUT_MARKUP.search(ADDRESS.sub(" ", TAG.sub(" ", text)))
        for text in texts
    )


def _to_text(text: str) -> str:
    if TAG.search(text) is None:
        return ENTITY.sub(_character, text)
    text = NOT_A_TAG.sub("&lt;", STRUCK.sub(r"\1", COMMENT.sub("", text)))
    for tag, sign in BREAKS:
        text = tag.sub(sign, text)
    body = LexborHTMLParser(f"<body>{text}").body
    if body is None:
        return text
    for gone in body.css("script, style, title"):
        gone.decompose()
    return re.sub(r"\n{3,}", "\n\n", body.text(deep=True, separator="")).strip("\n")
