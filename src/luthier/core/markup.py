"""Texts and tables of a report as HTML: escaped, with control characters shown, so that no data becomes markup."""

import html
from collections.abc import Sequence

from luthier.core.markdown import code_spans, filled_rows, numeric_columns
from luthier.core.report import Table
from luthier.core.text import one_line, safe

STATUS = ("PASS", "NOTE", "FAIL")
"""Cells that have a colour."""


def escaped(text: str) -> str:
    """Return text that stays text, in an element as in an attribute between quotes."""
    return html.escape(safe(text))


def prose(text: str) -> str:
    """Return a sentence whose `code` is an element."""
    pieces = code_spans(text)
    return "".join(f"<code>{escaped(piece)}</code>" if code else escaped(piece) for piece, code in pieces)


def figure(title: str, body: str, kind: str = "") -> str:
    """Return a titled box around something."""
    caption = f'<figcaption dir="auto">{escaped(title)}</figcaption>' if title else ""
    style = f' class="{kind}"' if kind else ""
    return f"<figure{style}>{caption}{body}</figure>"


def scrolled(title: str, table: str) -> str:
    """Return a table in a box that scrolls by itself, also by keyboard, when it is too wide."""
    label = html.escape(one_line(title or "table"))
    return f'<div class="scroll" role="region" tabindex="0" aria-label="{label}">{table}</div>'


def table(table: Table) -> str:
    """Return a table; columns of numbers stand to the right."""
    header, rows = filled_rows(table)
    numeric = numeric_columns(rows) or [False] * len(header)
    classes = [' class="number"' if right else "" for right in numeric]
    head = "".join(f'<th scope="col"{style}>{prose(cell)}</th>' for cell, style in zip(header, classes, strict=True))
    body = "".join(f"<tr>{_row(row, classes)}</tr>" for row in rows)
    return scrolled(table.title, f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")


def _row(row: Sequence[str], classes: Sequence[str]) -> str:
    first = f'<th scope="row" dir="auto">{prose(row[0])}</th>' if row else ""
    others = [f"<td{style}>{_cell(cell)}</td>" for cell, style in zip(row[1:], classes[1:], strict=True)]
    return first + "".join(others)


def _cell(text: str) -> str:
    return f'<span class="{text}">{text}</span>' if text in STATUS else prose(text)
