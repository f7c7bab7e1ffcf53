"""TXT, Markdown and HTML: the file is one document, and one row."""

import re
from collections import Counter
from collections.abc import Iterator
from io import TextIOBase

from selectolax.lexbor import LexborHTMLParser

from luthier.data.encoding import BROKEN
from luthier.data.readers.opened import LONGEST, Opened, shown
from luthier.data.rows import RawRow, Read

UNSEEN = "script, style, noscript, template, head"
"""What a page holds and nobody reads on it."""

BLOCKS = "p, div, br, li, tr, h1, h2, h3, h4, h5, h6, section, article, header, footer, blockquote, pre, table, ul, ol"
"""What begins a new line on a page."""


TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]{0,20})")

NEVER_CLOSED = frozenset(
    [
        "p",
        "li",
        "dt",
        "dd",
        "tr",
        "td",
        "th",
        "option",
        "br",
        "hr",
        "img",
        "input",
        "meta",
        "link",
        "col",
        "wbr",
        "area",
    ]
)
"""Tags whose end many pages leave out, and that don't nest without it."""

DEEPEST = 5000


def read(opened: Opened) -> Iterator[Read]:
    """Yield the whole file as one row with a `text`; one that is longer than a row may be in parts, cut at a line."""
    handle = opened.text(newline=None)
    line, rest = 1, ""
    while True:
        text = rest + handle.read(LONGEST + 1 - len(rest))
        more = len(text) > LONGEST
        cut = (text.rfind("\n", 0, LONGEST) + 1 or LONGEST) if more else len(text)
        text, rest = text[:cut], text[cut:]
        yield _row(opened, line, text.removeprefix("\ufeff"))
        if not more:
            return
        opened.tell(f"longer than {LONGEST:,} characters, so it is several rows")
        line += text.count("\n")


def read_page(opened: Opened) -> Iterator[Read]:
    """Yield the text of an HTML page as one row with a `text`, and a `title` where it has one."""
    source = _all(opened.text(newline=None))
    if source is None:
        yield opened.unreadable(1, "", "too_long", f"longer than {LONGEST:,} characters")
        return
    if _nests_deep(source):
        yield opened.unreadable(1, source[:1000], "nested_too_deep", f"more than {DEEPEST:,} open tags of a kind")
        return
    page = LexborHTMLParser(source)
    title = page.css_first("title")
    named = {"title": title.text(strip=True)} if title is not None else {}
    for gone in page.css(UNSEEN):
        gone.decompose()
    for block in page.css(BLOCKS):
        block.insert_before("\n")
        block.insert_after("\n")
    text = page.body.text(deep=True, separator="") if page.body is not None else ""
    lines = [" ".join(line.split()) for line in text.split("\n")]
    kept = [line for number, line in enumerate(lines) if line or (number and lines[number - 1])]
    row = _row(opened, 1, "\n".join(kept).strip())
    yield RawRow({**row.row, **named}, row.source) if isinstance(row, RawRow) else row


def _nests_deep(source: str) -> bool:
    """Say whether tags are open inside each other in such numbers that the parser would never finish."""
    open_tags = Counter[str]()
    for match in TAG.finditer(source):
        open_tags[match[2].lower()] += -1 if match[1] else 1
    return any(count > DEEPEST for name, count in open_tags.items() if name not in NEVER_CLOSED)


def _all(handle: TextIOBase) -> str | None:
    text = handle.read(LONGEST + 1)
    return None if len(text) > LONGEST else text


def _row(opened: Opened, line: int, text: str) -> Read:
    if BROKEN in text:
        return opened.unreadable(line, shown(text[:1000]), "invalid_encoding", f"not {opened.encoding}")
    return RawRow({"text": text}, opened.at(line))
