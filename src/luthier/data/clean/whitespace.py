"""Line ends, ends of lines, ends of the text, runs of blank lines."""

import re

from luthier.data.clean.prose import FENCED, around

UNUSUAL_LINE_ENDS = re.compile("\r\n|[\r\x85\u2028\u2029]")
BLANK_RUN = re.compile(r"\n{4,}")
DIRT = (" \n", "\t\n", "\xa0\n", "\n\n\n\n", "\r", "\x85", "\u2028", "\u2029")


def apply(texts: list[str]) -> list[str]:
    """Return the texts with line feeds, trimmed lines and ends, and at most two blank lines in a row.

    Two are kept because code has them between functions. Indentation is kept, that of the first line too when
    others are indented as deep: such a text is a piece of code. Within Markdown's blocks of code only line ends change.
    """
    return [_fix(text) if _is_dirty(text) else text for text in texts]


def _is_dirty(text: str) -> bool:
    return bool(text) and (text[0].isspace() or text[-1].isspace() or any(dirt in text for dirt in DIRT))


def _fix(text: str) -> str:
    text = UNUSUAL_LINE_ENDS.sub("\n", text)
    return around(FENCED, text, _trimmed) if "```" in text or "~~~" in text else _trimmed(text)


def _trimmed(text: str) -> str:
    lines = [line.rstrip() for line in text.split("\n")]
    text = BLANK_RUN.sub("\n\n\n", "\n".join(lines)).strip("\n")
    return text if _is_a_piece_of_code(text) else text.lstrip()


def _is_a_piece_of_code(text: str) -> bool:
    first, *others = text.split("\n")
    depth = first[: len(first) - len(first.lstrip(" \t"))]
    return bool(depth) and any(line.startswith(depth) for line in others)
