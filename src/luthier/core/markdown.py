"""A report as GitHub Markdown, and what all written forms share: number columns, sparklines, code in prose.

The texts of a report are data: a row of somebody's file, a model's answer. They are escaped so that they show
as they are and never become HTML, a link, an image, a heading or another table column.
"""

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise, zip_longest

from luthier.core.changes import differences
from luthier.core.report import (
    Bars,
    Block,
    Change,
    Changes,
    Comparison,
    Curve,
    Finding,
    Histogram,
    Intervals,
    Paragraph,
    Record,
    Records,
    Report,
    Section,
    Table,
    Token,
    TokenKind,
    TokenText,
)
from luthier.core.text import one_line, plural, safe

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

BRACKETS: dict[TokenKind, tuple[str, str]] = {"learned": ("⟦", "⟧"), "context": ("", ""), "cut": ("✂", "✂")}
SPECIAL_BRACKETS, DIFFERS_BRACKETS = ("⟨", "⟩"), ("▶", "◀")
"""What tells tokens apart where there is no colour. Rare signs: guillemets, say, are part of French text."""

LINE_BREAK, TAB, SPACE, NOTHING, GAP = "⏎", "⇥", "␣", "∅", "⋯"
"""What stands for characters that can't be seen, for an empty token, and around a number of tokens left out."""

UNSEEN = re.compile(
    r"[\x00-\x1f\x7f-\xa0\xad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f\u2000-\u200f\u2028-\u202f"
    r"\u205f-\u206f\u2800\u3000\u3164\ud800-\udfff\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    r"\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
    r"⟦⟧✂⟨⟩▶◀⏎⇥␣∅⋯]"
)
"""Characters that are not themselves on a screen: controls, blanks other than the space, joiners, half characters,
tags that hide a text. And the signs above, so that no data passes for ours."""

UNSEEN_OR_EDGE = re.compile(rf"^ +| +(?=\n)| +\Z|{UNSEEN.pattern}")

SIGNS = f"{LINE_BREAK} line break, {TAB} tab, {NOTHING} empty token, \\xNN character that can't be seen"
EDGE_SIGNS = f"{SIGNS}, {SPACE} space at an edge"


@dataclass(frozen=True, slots=True)
class Piece:
    """Part of a text that is told token by token."""

    text: str
    kind: TokenKind
    special: bool = False
    differs: bool = False
    mark: bool = False
    """Whether it is ours: a bracket, or what stands for something that can't be seen."""


def to_markdown(report: Report) -> str:
    """Return the report as GitHub Markdown: the answer first, then the evidence, what to type next last."""
    parts = [f"# {_inline(report.title)}", _paragraphs(report.summary)]
    if report.findings:
        parts.append("\n".join(_finding(finding) for finding in report.findings))
    first = first_with_tokens(report)
    parts += [_section(section, _legend(report) if section is first else "") for section in report.sections]
    if report.next_steps:
        parts += ["## Next", _fenced("\n".join(report.next_steps), "sh")]
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


def histogram_table(histogram: Histogram) -> Table:
    """Return a histogram as a table of its bars, without those that nothing is in."""
    spans = [_span(low, high) for low, high in pairwise(histogram.edges)]
    if histogram.beyond:
        spans[-1] = f"{short_number(histogram.edges[-2])} and more"
    rows = tuple(
        (span, *(f"{count:,}" for count in counts))
        for span, counts in zip(spans, zip(*(counts for _, counts in histogram.groups), strict=True), strict=True)
        if any(counts)
    )
    limit = f"; {histogram.limit_name}" if histogram.limit is not None else ""
    return Table(f"{histogram.title}{limit}", (histogram.x_label, *(name for name, _ in histogram.groups)), rows)


def _span(low: float, high: float) -> str:
    """Return what a bar counts: between whole numbers that follow each other, that is the lower one."""
    return short_number(low) if high - low == 1 else f"{short_number(low)} to {short_number(high)}"


def bars_table(bars: Bars) -> Table:
    """Return counts by name with their shares."""
    total = sum(count for _, count in bars.rows) or 1
    rows = tuple((name, f"{count:,}", f"{count / total:.1%}") for name, count in bars.rows)
    return Table(bars.title, (bars.what, "rows", "share"), rows)


def changes_table(changes: Changes) -> Table:
    """Return texts before and after in one: what was taken away in `[-…-]`, what was put in in `{+…+}`."""
    rows = tuple((change.by, change.place, _in_one(change)) for change in changes.changes)
    return Table(changes.title, ("step", "row", "[-before-]{+after+}"), rows)


def _in_one(change: Change) -> str:
    parts = []
    for old, new, changed in differences(change.before, change.after):
        if changed:
            parts += [f"[-{seen(old)}-]" if old else "", f"{{+{seen(new)}+}}" if new else ""]
        else:
            parts.append(seen(old))
    return "".join(parts)


def records_table(records: Records, most: int = 20) -> Table:
    """Return the first rows of a list."""
    rows = tuple(
        (record.kind, place(record), one_line(seen(record.text), 160), record.note) for record in records.records[:most]
    )
    title = f"{records.title}: {len(rows):,} of {records.total:,}. {records.rest}".rstrip()
    return Table(title, ("reason", "row", "what it says", "because"), rows)


def place(record: Record) -> str:
    """Return where a row is from: `rows.jsonl:12`."""
    return f"{record.file}:{record.line}"


def seen(text: str) -> str:
    """Return text with a sign for each character that can't be seen, on one line."""
    return "".join(piece for piece, _ in spelled(text) if piece != "\n") if text else ""


def in_tables(block: Block) -> Block:
    """Return what is drawn or can be browsed on the page as a table, for where it can't."""
    match block:
        case Curve():
            return curve_table(block)
        case Histogram():
            return histogram_table(block)
        case Bars():
            return bars_table(block)
        case Changes():
            return changes_table(block)
        case Records():
            return records_table(block)
    return block


def short_number(value: float) -> str:
    """Return four significant digits: `1.234`, `0.0002`, `12,346`."""
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e9 else f"{value:.4g}"


def first_with_tokens(report: Report) -> Section | None:
    """Return the section that needs the legend: the first with a text told token by token."""
    return next((section for section in report.sections if any(_token_texts(section))), None)


def legend(report: Report) -> list[TokenText]:
    """Return what the legend explains, each as a text of one token that says what such a token is."""
    texts = [text for section in report.sections for text in _token_texts(section)]
    samples = [
        Token("learned", 0, "learned"),
        Token("context", 0, "context"),
        Token("special token", 0, "context", special=True),
    ]
    if any(token.kind == "cut" for text in texts for token in text.tokens):
        samples.append(Token("cut", 0, "cut"))
    shown = [TokenText("", (sample,)) for sample in samples]
    if any(text.differs_at is not None for text in texts):
        shown.append(TokenText("", (Token("first difference", 0, "context"),), differs_at=0))
    return shown


def spelled(text: str, *, edges: bool = False) -> Iterator[tuple[str, bool]]:
    """Yield the pieces of a token's text, and whether each is ours and stands for what can't be seen.

    A line break stays, behind the sign for it.

    Args:
        text: The text of a token or of several.
        edges: Show a space at either end, or before a line break, by a sign: no frame shows that it is there.
    """
    if not text:
        yield NOTHING, True
    end = 0
    for match in (UNSEEN_OR_EDGE if edges else UNSEEN).finditer(text):
        if match.start() > end:
            yield text[end : match.start()], False
        yield _sign(match.group()), True
        if match.group() == "\n":
            yield "\n", False
        end = match.end()
    if end < len(text):
        yield text[end:], False


def pieces(text: TokenText, *, brackets: bool, edge: int = 0) -> Iterator[Piece]:
    """Yield a text's tokens in order, as they read without a frame around each.

    Args:
        text: The tokens.
        brackets: Put brackets around what is learned, special, cut or different, for where there is no colour.
        edge: Leave out the middle of a long stretch that is not learned, and keep so many tokens at its ends and
            around the first difference. 0 leaves nothing out.
    """
    start = 0
    for kind, stretch in groupby(text.tokens, key=lambda token: token.kind):
        end = start + sum(1 for _ in stretch)
        parts = _stretch(text, start, end, brackets=brackets, edge=0 if kind == "learned" else edge)
        yield from _bracketed(parts, BRACKETS[kind] if brackets else ("", ""), Piece("", kind, mark=True))
        start = end


def _token_texts(section: Section) -> Iterator[TokenText]:
    return (block for block in section.blocks if isinstance(block, TokenText))


def _sign(unseen: str) -> str:
    if unseen[0] == " ":
        return SPACE * len(unseen)
    return {"\n": LINE_BREAK, "\t": TAB}.get(unseen) or f"\\x{ord(unseen):02x}"


def _stretch(text: TokenText, start: int, end: int, *, brackets: bool, edge: int) -> Iterator[Piece]:
    """Yield the tokens from `start` to `end`, which are of one kind."""
    kind = text.tokens[start].kind
    at = start
    for first, last in _kept(start, end, text.differs_at, edge):
        if first > at:
            yield Piece(f" {GAP} {plural(first - at, 'token')} {GAP} ", kind, mark=True)
        yield from _run(text, first, last, brackets=brackets)
        at = last


def _kept(start: int, end: int, differs_at: int | None, edge: int) -> list[tuple[int, int]]:
    """Return which parts of a stretch are shown: all of a short one, the ends of a long one."""
    if not edge or end - start <= 3 * edge:  # leaving out a few would save little
        return [(start, end)]
    wanted = [(start, start + edge), (end - edge, end)]
    if differs_at is not None and start <= differs_at < end:
        wanted.insert(1, (max(start, differs_at - edge // 2), min(end, differs_at + edge // 2 + 1)))
    kept = wanted[:1]
    for first, last in wanted[1:]:
        if first <= kept[-1][1]:
            kept[-1] = (kept[-1][0], max(last, kept[-1][1]))
        else:
            kept.append((first, last))
    return kept


def _run(text: TokenText, start: int, end: int, *, brackets: bool) -> Iterator[Piece]:
    """Yield tokens that are all shown: special ones and the one that differs by themselves, the others joined."""

    def alone(index: int) -> int:
        return index if text.tokens[index].special or index == text.differs_at else -1

    for index, group in groupby(range(start, end), key=alone):
        tokens = [text.tokens[i] for i in group]
        like = Piece("", tokens[0].kind, tokens[0].special, differs=index >= 0 and index == text.differs_at, mark=True)
        inner = _bracketed(_words(tokens, like), SPECIAL_BRACKETS if like.special and brackets else ("", ""), like)
        # The first difference is one token in a page of text, so it has its brackets in colour as well.
        yield from _bracketed(inner, DIFFERS_BRACKETS if like.differs else ("", ""), like)


def _words(tokens: Sequence[Token], like: Piece) -> Iterator[Piece]:
    """Yield the joined text of tokens. An empty one in between has a sign, or nobody would know of it."""
    for empty, group in groupby(tokens, key=lambda token: not token.text):
        texts = [token.text for token in group]
        for words, mark in [(NOTHING * len(texts), True)] if empty else spelled("".join(texts), edges=True):
            yield replace(like, text=words, mark=mark)


def _bracketed(parts: Iterable[Piece], brackets: tuple[str, str], like: Piece) -> Iterator[Piece]:
    """Yield pieces between brackets; the closing one stands before a last line break, not on a line of its own."""
    opening, closing = brackets
    if opening:
        yield replace(like, text=opening)
    held: Piece | None = None
    for piece in parts:
        if held is not None:
            yield held
        held = piece if piece.text == "\n" else None
        if held is None:
            yield piece
    if closing:
        yield replace(like, text=closing)
    if held is not None:
        yield held


def _section(section: Section, legend: str = "") -> str:
    parts = [f"## {_inline(section.title)}", legend, *map(_block, section.blocks)]
    return "\n\n".join(part for part in parts if part)


def _block(block: Block) -> str:
    match in_tables(block):
        case Intervals():
            return ""
        case Paragraph() as paragraph:
            return _paragraphs(paragraph.text)
        case Table() as table:
            return _table(table)
        case Comparison() as comparison:
            return _comparison(comparison)
        case TokenText() as text:
            return _token_text(text)
    raise AssertionError(block)


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


def _legend(report: Report) -> str:
    samples = ("".join(piece.text for piece in pieces(sample, brackets=True)) for sample in legend(report))
    return f"{' · '.join(samples)} · {_inline(EDGE_SIGNS)}"


def _token_text(text: TokenText) -> str:
    words = "".join(piece.text for piece in pieces(text, brackets=True)).removesuffix("\n")
    title = f"**{_inline(text.title)}**" if text.title else ""
    return "\n\n".join(part for part in (title, _paragraphs(text.note), _fenced(words, "") if words else "") if part)


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


def _fenced(text: str, language: str) -> str:
    shown = safe(text)
    fence = "`" * max(3, *(len(run) + 1 for run in re.findall("`+", shown)), 3)
    return f"{fence}{language}\n{shown}\n{fence}"


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
