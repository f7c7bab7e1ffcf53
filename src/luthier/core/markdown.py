"""A report as GitHub Markdown, and what all written forms share: number columns, sparklines, code in prose.

The texts of a report are data: a row of somebody's file, a model's answer. They are escaped so that they show
as they are and never become HTML, a link, an image, a heading or another table column.
"""

import math
import re
from collections.abc import Iterator, Sequence
from itertools import zip_longest

from luthier.core.report import Block, Comparison, Curve, Finding, Paragraph, Report, Section, Table
from luthier.core.text import safe

BARS = "▁▂▃▄▅▆▇█"
EMPTY = ("", "-", "–", "—", "n/a", "nan", "inf", "-inf")
"""What a cell says when there is no number to show; it fits into a column of numbers."""

NUMBER = re.compile(r"[<>≤≥~≈±]? ?[+\-−]?\.?\d[^A-Za-z]*(?:[A-Za-z]{1,6}[^A-Za-z]+){0,3}[A-Za-z]{0,6}")
"""A cell people read as a number: `1,204`, `−3.1 %`, `15.0 GB`, `8.21 (8.02 to 8.40)`."""

CODE = re.compile(r"`([^`\n]+)`")
SPECIAL = re.compile(r"[\\`*\[\]<>|~$]|(?<!\w)_|_(?!\w)|&(?=[#A-Za-z])|(?<!\S)#|:(?=//)|(?<=www)\.", re.IGNORECASE)
LINE_START = re.compile(r"^([+\-](?=[\s\-:]|$)|[=:])")
LIST_NUMBER = re.compile(r"^(\d{1,9})([.)])(?=\s|$)")
ADDRESS = re.compile(r"@(?=\w)")
"""GitHub links a mail address even when its `@` is escaped, so an unseen word joiner goes behind it."""


def to_markdown(report: Report) -> str:
    """Return the report as GitHub Markdown: the answer first, then the evidence, what to type next last."""
    parts = [f"# {_inline(report.title)}", _paragraphs(report.summary)]
    if report.findings:
        parts.append("\n".join(_finding(finding) for finding in report.findings))
    parts += [_section(section) for section in report.sections]
    if report.next_steps:
        parts += ["## Next", _fenced("\n".join(report.next_steps))]
    return "\n\n".join(part for part in parts if part) + "\n"


def code_spans(text: str) -> Iterator[tuple[str, bool]]:
    """Yield the pieces of a sentence and whether each stood between backticks, without the backticks."""
    end = 0
    for match in CODE.finditer(text):
        if match.start() > end:
            yield text[end : match.start()], False
        yield match.group(1), True
        end = match.end()
    if end < len(text):
        yield text[end:], False


def command_and_why(step: str) -> tuple[str, str]:
    """Return the command of a next step, and the words behind its `#` (empty when there are none)."""
    command, _, why = step.partition(" # ")
    return command.rstrip(), why.strip()


def filled_rows(table: Table) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Return the header and the rows of a table, all of one length; missing cells are empty."""
    width = max(len(table.columns), *map(len, table.rows), 1) if table.rows else len(table.columns)
    header, *rows = [(*row, *[""] * (width - len(row))) for row in (table.columns, *table.rows)]
    return header, tuple(rows)


def numeric_columns(rows: Sequence[Sequence[str]]) -> list[bool]:
    """Return for each column whether it holds numbers, which stand to the right. The first is always text."""
    return [index > 0 and _is_numeric(column) for index, column in enumerate(zip_longest(*rows, fillvalue=""))]


def sparkline(values: Sequence[float], width: int = 24) -> str:
    """Return the shape of a row of values in at most `width` characters; a gap where nothing is finite.

    Each character stands for the median of its share of the values, so that one outlier does not flatten
    the rest.
    """
    size = min(width, len(values))
    shares = [values[i * len(values) // size : (i + 1) * len(values) // size] for i in range(size)]
    middles = [_median(share) for share in shares]
    known = [middle for middle in middles if middle is not None]
    if not known:
        return ""
    # Halved, because the distance of two floats can be too large for a float.
    low, span = min(known) / 2, max(known) / 2 - min(known) / 2
    heights = [None if m is None else (m / 2 - low) / span if span else 0.5 for m in middles]
    return "".join(" " if h is None else BARS[min(int(h * len(BARS)), len(BARS) - 1)] for h in heights)


def curve_table(curve: Curve, width: int = 24) -> Table:
    """Return a curve as a table, for where nothing can be drawn: its shape, ends and extremes."""
    columns = (curve.y_label or "line", "shape", "first", "last", "lowest", "highest")
    rows = tuple((name, *_described([y for _, y in points], width)) for name, points in curve.lines)
    return Table(title=f"{curve.title}, over {curve.x_label}", columns=columns, rows=rows)


def short_number(value: float) -> str:
    """Return four significant digits: `1.234`, `0.0002`, `12,346`."""
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e9 else f"{value:.4g}"


def _section(section: Section) -> str:
    return "\n\n".join([f"## {_inline(section.title)}", *map(_block, section.blocks)])


def _block(block: Block) -> str:
    match block:
        case Paragraph():
            return _paragraphs(block.text)
        case Table():
            return _table(block)
        case Curve():
            return _table(curve_table(block))
        case Comparison():
            return _comparison(block)


def _finding(finding: Finding) -> str:
    hint = f"\\\n  Hint: {_inline(finding.hint)}" if finding.hint else ""
    return f"- **{finding.level}**: {_inline(finding.text)}{hint}"


def _table(table: Table) -> str:
    header, rows = filled_rows(table)
    numeric = numeric_columns(rows) or [False] * len(header)
    shown = [[_cell(cell) for cell in row] for row in (header, *rows)]
    widths = [max(3, *map(len, column)) for column in zip(*shown, strict=True)]
    ruler = ["-" * (width - 1) + ":" if right else "-" * width for width, right in zip(widths, numeric, strict=True)]
    lines = [
        [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        ]
        for row in shown
    ]
    lines.insert(1, ruler)
    drawn = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"**{_inline(table.title)}**\n\n{drawn}" if table.title else drawn


def _comparison(comparison: Comparison) -> str:
    voices = [("Prompt", comparison.prompt), *comparison.answers]
    body = "\n\n".join(f"**{_inline(name)}**\n\n{_verbatim(text)}" for name, text in voices)
    return "\n".join(f"> {line}".rstrip() for line in body.split("\n"))


def _paragraphs(text: str) -> str:
    """Return our own prose: `code` stays code, a blank line starts a paragraph."""
    blocks = re.split(r"\n\s*\n", safe(text).strip())
    return "\n\n".join("\\\n".join(_inline(line) for line in block.split("\n") if line.strip()) for block in blocks)


def _verbatim(text: str) -> str:
    """Return data text with its line breaks and indentation, and nothing in it that Markdown acts upon."""
    lines = [_indented(line) for line in safe(text).split("\n")]
    blocks = re.split(r"\n{2,}", "\n".join(lines).strip("\n"))
    return "\n\n".join(block.replace("\n", "\\\n") for block in blocks) or "*(empty)*"


def _indented(line: str) -> str:
    """Return a line with its indentation in spaces that Markdown does not take for a code block."""
    content = line.lstrip()
    depth = len(line[: len(line) - len(content)].expandtabs(4))
    return "\u00a0" * depth + _at_line_start(_escaped(content.rstrip())) if content else ""


def _cell(text: str) -> str:
    # Dialects differ over a pipe or a backslash in a code span inside a table, so such text is plain there.
    return _escaped(" ".join(safe(text).split())) if set(text) & set("|\\") else _inline(text)


def _inline(text: str) -> str:
    """Return prose on one line, escaped, with `code` kept as code."""
    flat = " ".join(safe(text).split())
    return _at_line_start("".join(f"`{piece}`" if code else _escaped(piece) for piece, code in code_spans(flat)))


def _escaped(text: str) -> str:
    return ADDRESS.sub("@\u2060", SPECIAL.sub(lambda match: "\\" + match.group(), text))


def _at_line_start(line: str) -> str:
    """Return a line that starts no list, heading underline or table ruler."""
    return LIST_NUMBER.sub(r"\1\\\2", LINE_START.sub(r"\\\1", line))


def _fenced(text: str) -> str:
    shown = safe(text)
    fence = "`" * max(3, *(len(run) + 1 for run in re.findall("`+", shown)), 3)
    return f"{fence}sh\n{shown}\n{fence}"


def _is_numeric(cells: Sequence[str]) -> bool:
    known = [cell.strip() for cell in cells if cell.strip().lower() not in EMPTY]
    return bool(known) and all(NUMBER.fullmatch(cell) for cell in known)


def _median(values: Sequence[float]) -> float | None:
    known = sorted(value for value in values if math.isfinite(value))
    return known[(len(known) - 1) // 2] if known else None


def _described(values: Sequence[float], width: int) -> tuple[str, ...]:
    known = [value for value in values if math.isfinite(value)]
    if not known:
        return ("", "—", "—", "—", "—")
    numbers = (known[0], known[-1], min(known), max(known))
    return (sparkline(values, width), *map(short_number, numbers))
