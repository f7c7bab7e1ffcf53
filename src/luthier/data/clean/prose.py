"""Which parts of a text are prose. Steps that change wording leave programs as they are."""

import re
from collections.abc import Callable

FENCED = re.compile(r"```.*?(?:```|\Z)|~~~.*?(?:~~~|\Z)", re.DOTALL)
"""Markdown's blocks of code. An open one reaches to the end."""

CODE_SPAN = re.compile(rf"{FENCED.pattern}|`[^`\n]{{1,300}}`|^(?: {{4}}|\t)[^\n]*", re.DOTALL | re.MULTILINE)
"""Those, code within a line, and indented lines."""

STAND_IN = "\ufdd0"
"""Stands for a span of code while prose is rewritten: a noncharacter, which no text should hold."""

PROGRAM = re.compile(
    r"^[ \t]{0,40}(?:def \w|class \w+[(:{]|import \w+[;.]?$|import \w[\w.]* as |"
    r"from [\w.]{1,80} import |#include\b|#!/|(?:public|private|protected|static) \w|(?:const|let|var) \w+ ?=|"
    r"func(?:tion)? \w+ ?\(|fn \w+\(|"
    r"(?:if|for|while|switch) ?\(.{0,200}\{|(?:if|for|while|with|elif) .{1,200}:$|return\b.{0,200};?$|"
    r"[\w.\[\]]{1,80} [-+*/]?= .|print\(|@\w+|<\?php|using \w[\w.]*;|package \w[\w.]*;|"
    r"(?:SELECT|INSERT|UPDATE|DELETE|CREATE) |\}|.{0,200};$)",
    re.MULTILINE,
)
"""A line as programs have them."""

FEWEST = 2
"""Lines of a program from which on a text without fences is one."""


def rewritten(text: str, rewrite: Callable[[str], str]) -> str:
    """Return the text with its prose rewritten and its code untouched; a program comes back as it is."""
    return around(CODE_SPAN, text, lambda prose: prose if is_program(prose) else rewrite(prose))


def around(code: re.Pattern[str], text: str, rewrite: Callable[[str], str]) -> str:
    """Return the text rewritten, but for its code.

    Args:
        code: Finds spans of code.
        text: A text, with or without code.
        rewrite: Rewrites a text in which each span of code is the one character `STAND_IN`; where it drops or adds
            one, the text stays as it was.
    """
    if STAND_IN in text:
        return text
    spans: list[str] = []

    def hide(span: re.Match[str]) -> str:
        spans.append(span.group())
        return STAND_IN

    pieces = rewrite(code.sub(hide, text)).split(STAND_IN)
    if len(pieces) != len(spans) + 1:
        return text
    return "".join(piece + span for piece, span in zip(pieces, [*spans, ""], strict=True))


def is_program(text: str) -> bool:
    """Say whether a text without fences has lines that only programs have."""
    lines = PROGRAM.finditer(text)
    return sum(1 for _ in zip(range(FEWEST), lines, strict=False)) == FEWEST
