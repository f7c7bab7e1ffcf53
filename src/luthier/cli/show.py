"""All that luthier prints: reports to standard output, progress and errors to standard error.

Texts of a report are data. They are shown as they are, without control characters, never as rich's markup.
rich is imported where it is needed, because `luthier --help` must come at once.
"""

import json
import os
import sys
import time
from collections import deque
from typing import TYPE_CHECKING, TextIO

from luthier.core.errors import LuthierError
from luthier.core.markdown import (
    EDGE_SIGNS,
    GAP,
    Piece,
    code_spans,
    command_and_why,
    curve_table,
    filled_rows,
    first_with_tokens,
    in_tables,
    legend,
    numeric_columns,
    pieces,
)
from luthier.core.report import (
    Block,
    Comparison,
    Curve,
    Finding,
    Intervals,
    Paragraph,
    Report,
    Section,
    Table,
    TokenText,
)
from luthier.core.text import human_bytes, human_seconds, one_line, plural, safe

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    from rich.console import Console, RenderableType
    from rich.progress import Progress as RichProgress
    from rich.text import Text

LEVEL_STYLES = {"ok": "green", "note": "blue", "warning": "yellow", "gate": "bold yellow", "failure": "bold red"}

MOST_ROWS, MOST_COMPARISONS, MOST_LINES = 20, 3, 12
"""How much of a table, of many comparisons and of an answer is shown unless `--verbose` asks for all."""

SHORT = 10
"""Letters of a word that is never broken over two lines of a table."""

KIND_STYLES = {"learned": "bold green underline", "context": "dim", "cut": "red strike"}
MARK_STYLES = {"learned": "green underline", "context": "dim", "cut": "red"}
SPECIAL_STYLES = {"learned": "bold green underline reverse", "context": "cyan reverse", "cut": "red strike reverse"}

MOST_TOKENS, MOST_EDGE = 600, 60
"""A text of more tokens loses the middle of its long stretches that are not learned, up to so many at each end."""

BAR_WIDTH = 16
"""Length of a progress bar, in characters."""


def report(report: Report, *, as_json: bool, verbose: bool = False) -> None:
    """Print a report to standard output: one JSON object, or a page for a person."""
    if as_json:
        _write(sys.stdout, _json(report) + "\n")
        return
    from rich.console import Console
    from rich.padding import Padding

    console = Console(file=sys.stdout, markup=False, highlight=False, emoji=False)
    console.print(_plain(one_line(report.title), "bold"))
    console.print(_prose(report.summary))
    if report.findings:
        console.print(Padding(_findings(report.findings), (1, 0, 0, 0), expand=False))
    first = first_with_tokens(report)
    for section in report.sections:
        if section.detail and not verbose:
            continue
        console.print(Padding(_plain(one_line(section.title), "bold underline"), (1, 0, 0, 0), expand=False))
        if section is first:
            console.print(Padding(_legend(report, brackets=_without_colour(console)), (1, 0, 0, 2), expand=False))
        _section(section, console, verbose=verbose)
    if report.next_steps:
        console.print(Padding(_plain("Next", "bold underline"), (1, 0, 0, 0), expand=False))
        for step in report.next_steps:
            console.print(_plain("  ") + _step(step), soft_wrap=True)


def errors(error: LuthierError) -> None:
    """Print a problem, or all of several, to standard error: what is wrong, and what to do about it."""
    coloured = _is_terminal(sys.stderr) and not os.environ.get("NO_COLOR")
    for line in error.lines():
        shown = safe(line).replace("\n", "\n    ")
        if coloured:
            shown = _coloured(shown)
        _write(sys.stderr, shown + "\n")


def say(text: str) -> None:
    """Print a line about what happens now to standard error, at once."""
    _write(sys.stderr, safe(text) + "\n")


def progress(*, quiet: bool = False, as_json: bool = False) -> "Terminal":
    """Return who watches the stages: use it in a `with`, so that the cursor comes back whatever happens.

    A script that asks for JSON sees no progress; a person who does, at a terminal, still sees the bar.
    """
    return Terminal(quiet=quiet or (as_json and not _is_terminal(sys.stderr)))


class Terminal:
    """Progress on standard error, one bar a stage: moving at a terminal, plain lines in a pipe, or nothing.

    Args:
        quiet: Show nothing.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet
        self.stage: _Bar | _Lines | None = None

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: "TracebackType | None"
    ) -> None:
        self._close()

    def start(self, stage: str, total: int, unit: str) -> None:
        """Begin a stage; one that was not ended is left as far as it came."""
        self._close()
        if not self.quiet:
            pace = Pace(total=total, unit=unit)
            self.stage = _Bar(stage, pace) if _is_terminal(sys.stderr) else _Lines(stage, pace)

    def update(self, done: int, note: str = "") -> None:
        """Show that `done` steps of the stage are done."""
        if self.stage is not None:
            self.stage.pace.mark(done)
            self.stage.show(note)

    def end(self, note: str = "") -> None:
        """Show that the stage is finished."""
        if self.stage is not None:
            self.stage.finish(note)
        self._close()

    def _close(self) -> None:
        if self.stage is not None:
            self.stage.close()
        self.stage = None


class Pace:
    """How far a stage is, how fast it goes, and how long it still takes.

    The rate is that of the last 30 marks, each at least a second apart: a slow first step is soon forgotten,
    and the steps that a continued run has behind it at its first mark are not counted as fast.

    Args:
        total: Steps of the stage; 0 when nobody knows.
        unit: What a step is called, in the singular.
    """

    def __init__(self, *, total: int, unit: str) -> None:
        self.total = total
        self.unit = unit
        self.done = 0
        self.started = self.now = time.monotonic()
        self.marks: deque[tuple[float, int]] = deque(maxlen=30)

    def mark(self, done: int) -> None:
        """Take note that `done` steps are done now."""
        if not self.marks and done <= 1:
            self.marks.append((self.started, 0))
        self.now, self.done = time.monotonic(), done
        if not self.marks or self.now - self.marks[-1][0] >= 1:
            self.marks.append((self.now, done))

    def rate(self) -> float:
        """Return the steps a second, 0 while it is too early to tell."""
        if not self.marks:
            return 0.0
        then, before = self.marks[0]
        return max(0.0, (self.done - before) / (self.now - then)) if self.now > then else 0.0

    def words(self, note: str) -> str:
        """Return `108/240 steps · 1 min 22 s left · loss 1.234 · 3.2 steps/s`."""
        rate = self.rate()
        if self.unit == "byte":
            count = f"{human_bytes(self.done)}/{human_bytes(self.total)}" if self.total else human_bytes(self.done)
        else:
            count = f"{self.done:,}/{plural(self.total, self.unit)}" if self.total else plural(self.done, self.unit)
        left = f"{human_seconds((self.total - self.done) / rate)} left" if rate and self.done < self.total else ""
        return " · ".join(part for part in (count, left, one_line(note), self._speed(rate)) if part)

    def _speed(self, rate: float) -> str:
        if not rate:
            return ""
        if self.unit == "byte":
            return f"{human_bytes(rate)}/s"
        return f"{rate:,.1f} {self.unit}s/s" if rate >= 1 else f"{1 / rate:,.1f} s/{self.unit}"


class _Bar:
    """A moving bar, on a line that is redrawn."""

    def __init__(self, stage: str, pace: Pace) -> None:
        self.pace = pace
        self.drawing = _drawing()
        self.task = self.drawing.add_task(one_line(stage, 20), total=pace.total or None, words="")
        self.drawing.start()

    def show(self, note: str) -> None:
        done = min(self.pace.done, self.pace.total) if self.pace.total else self.pace.done
        self.drawing.update(self.task, completed=done, words=self._fitting(self.pace.words(note)))

    def finish(self, note: str) -> None:
        took = human_seconds(time.monotonic() - self.pace.started)
        words = " · ".join(part for part in (f"done in {took}", one_line(note)) if part)
        full = self.pace.total or 1
        self.drawing.update(self.task, completed=full, total=full, words=self._fitting(words))

    def close(self) -> None:
        self.drawing.stop()

    def _fitting(self, words: str) -> str:
        """Cut the words to the room on the line, or rich would squeeze the bar and the percentage."""
        taken = len("⠋  ") + len(self.drawing.tasks[self.task].description) + BAR_WIDTH + len("  100 %  ")
        return one_line(_encodable(words, sys.stderr), max(10, self.drawing.console.width - taken))


class _Lines:
    """Plain lines for a pipe or a log: one at each tenth of the way or after 15 seconds, at most one a second."""

    def __init__(self, stage: str, pace: Pace) -> None:
        self.pace = pace
        self.name = one_line(stage)
        self.tenth = 0
        self.shown = pace.started

    def show(self, note: str) -> None:
        tenth = self.pace.done * 10 // self.pace.total if self.pace.total else 0
        waited = self.pace.now - self.shown
        if waited < 1 or (tenth <= self.tenth and waited < 15):
            return
        self.tenth, self.shown = tenth, self.pace.now
        share = f"{min(100, self.pace.done * 100 // self.pace.total)} % · " if self.pace.total else ""
        say(f"{self.name}: {share}{self.pace.words(note)}")

    def finish(self, note: str) -> None:
        took = human_seconds(time.monotonic() - self.pace.started)
        say(f"{self.name}: " + " · ".join(part for part in (f"done in {took}", one_line(note)) if part))

    def close(self) -> None:
        """Leave the lines as they are."""


# a report on the terminal ----------------------------------------------------------------------------------


def _section(section: Section, console: "Console", *, verbose: bool) -> None:
    from rich.padding import Padding

    for block in _shortened(section.blocks, verbose=verbose):
        if isinstance(block, TokenText):
            _token_text(block, console, verbose=verbose)
        else:
            console.print(Padding(_block(block, verbose=verbose), (1, 0, 0, 2), expand=False))


def _block(block: Block, *, verbose: bool) -> "RenderableType":
    match block:
        case Paragraph():
            return _prose(block.text)
        case Curve():
            return _table(curve_table(block, width=16), verbose=True)
        case Comparison():
            return _comparison(block, verbose=verbose)
    table = in_tables(block)
    assert isinstance(table, Table)
    return _table(table, verbose=verbose)


def _shortened(blocks: tuple[Block, ...], *, verbose: bool) -> list[Block]:
    """Return the blocks without the comparisons that are too many, and a sentence that says so."""
    comparisons = [block for block in blocks if isinstance(block, Comparison)]
    extra = [] if verbose else comparisons[MOST_COMPARISONS:]
    left_out = (*extra, *(block for block in blocks if isinstance(block, Intervals)))  # a table has their numbers
    kept: list[Block] = [block for block in blocks if not any(block is other for other in left_out)]
    return [*kept, Paragraph(f"… {len(extra)} more (`--verbose` shows all)")] if extra else kept


def _findings(findings: tuple[Finding, ...]) -> "RenderableType":
    from rich.table import Table as Grid

    grid = Grid.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for finding in findings:
        grid.add_row(_plain(finding.level, LEVEL_STYLES[finding.level]), _prose(finding.text))
        if finding.hint:
            grid.add_row("", _plain("hint: ", "dim") + _prose(finding.hint))
    return grid


def _table(table: Table, *, verbose: bool) -> "RenderableType":
    from rich import box
    from rich.console import Group
    from rich.table import Table as Grid

    header, rows = filled_rows(table)
    numeric = numeric_columns(rows) or [False] * len(header)
    grid = Grid(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    for name, right in zip(header, numeric, strict=True):
        grid.add_column(_prose(name), justify="right" if right else "left", overflow="fold")
    for place, column in enumerate(grid.columns):  # verdicts stay whole; a figure is never cropped
        column.no_wrap = all(len(row[place]) <= SHORT and row[place].isalpha() for row in rows if row[place])
    shown = rows if verbose else rows[:MOST_ROWS]
    for row in shown:
        grid.add_row(*map(_prose, row))
    parts: list[RenderableType] = [_plain(one_line(table.title), "italic")] if table.title else []
    parts.append(grid)
    if len(shown) < len(rows):
        parts.append(_prose(f"… {plural(len(rows) - len(shown), 'more row')} (`--verbose` shows all)"))
    return Group(*parts)


def _comparison(comparison: Comparison, *, verbose: bool) -> "RenderableType":
    from rich.table import Table as Grid

    grid = Grid.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True, justify="right", max_width=16, overflow="ellipsis")
    grid.add_column(overflow="fold")
    for name, text in [("prompt", comparison.prompt), *comparison.answers]:
        lines = text.strip("\n").split("\n")
        kept = lines if verbose else lines[:MOST_LINES]
        words = _plain("\n".join(kept)) if text.strip() else _plain("(empty)", "dim")
        if len(kept) < len(lines):
            words = words + _plain(f"\n… {plural(len(lines) - len(kept), 'more line')}", "dim")
        grid.add_row(_plain(one_line(name), "bold"), words)
    return grid


def _token_text(text: TokenText, console: "Console", *, verbose: bool) -> None:
    """Print a text token by token, in lines that end where they end: rich would fill them up with spaces."""
    edge = 0 if verbose or len(text.tokens) <= MOST_TOKENS else MOST_EDGE
    told = [*pieces(text, brackets=_without_colour(console), edge=edge)]
    words = _joined(told)
    words.remove_suffix("\n")
    parts = [_plain(one_line(text.title), "bold")] if text.title else []
    parts += [_prose(text.note)] if text.note else []
    parts += [words] if text.tokens else []
    if any(piece.mark and GAP in piece.text for piece in told):
        parts.append(_prose(f"{GAP} tokens that are not learned are left out (`--verbose` shows all)"))
    console.print()
    for part in parts:
        for line in part.wrap(console, max(1, console.width - 2), overflow="fold"):
            console.print(_plain("  ") + line)


def _legend(report: Report, *, brackets: bool) -> "Text":
    samples = [_joined(pieces(sample, brackets=brackets)) for sample in legend(report)]
    return _plain("   ").join(samples) + _plain(f"\n{EDGE_SIGNS}", "dim")


def _joined(parts: "Iterable[Piece]") -> "Text":
    from rich.text import Text

    return Text.assemble(*((_encodable(piece.text), _piece_style(piece)) for piece in parts))


def _piece_style(piece: Piece) -> str:
    if piece.differs:
        return "bold magenta reverse"
    if piece.special:
        return SPECIAL_STYLES[piece.kind]
    return (MARK_STYLES if piece.mark else KIND_STYLES)[piece.kind]


def _without_colour(console: "Console") -> bool:
    return console.no_color or console.color_system is None


def _step(step: str) -> "Text":
    command, why = command_and_why(step)
    return _plain(command, "cyan") + _plain(f"  # {why}" if why else "", "dim")


def _prose(text: str) -> "Text":
    """Return a sentence with its `code` coloured; the backticks stay, for terminals without colour."""
    from rich.text import Text

    pieces = [_plain(f"`{piece}`", "cyan") if code else _plain(piece) for piece, code in code_spans(text)]
    return Text("").join(pieces)


def _plain(text: str, style: str = "") -> "Text":
    from rich.text import Text

    return Text(_encodable(safe(text)), style=style)


# standard output and standard error ------------------------------------------------------------------------


def _json(report: Report) -> str:
    """Return the report as JSON that standard output can carry, whatever its encoding."""
    text = report.to_json()
    if _encodable(text, sys.stdout) == text:
        return text
    return json.dumps(report.as_dict(), indent=2)


def _encodable(text: str, stream: TextIO | None = None) -> str:
    """Return text that a stream can carry: what its encoding lacks, and half characters, escaped."""
    encoding = getattr(stream or sys.stdout, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _write(stream: TextIO | None, text: str) -> None:
    if stream is None:  # the caller closed it: nobody reads
        return
    stream.write(_encodable(text, stream))
    stream.flush()


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"


def _coloured(line: str) -> str:
    word, colon, rest = line.partition(":")
    colour = "1;31" if word == "error" else "36"
    return f"\x1b[{colour}m{word}{colon}\x1b[0m{rest}"


def _drawing() -> "RichProgress":
    """Return rich's progress on standard error. Standard output, where a report goes, stays untouched."""
    from rich.console import Console
    from rich.progress import BarColumn, SpinnerColumn, TaskProgressColumn, TextColumn
    from rich.progress import Progress as RichProgress

    console = Console(file=sys.stderr, markup=False, highlight=False, emoji=False)
    return RichProgress(
        SpinnerColumn(finished_text="✓"),
        TextColumn("{task.description}", style="bold", markup=False),
        BarColumn(bar_width=BAR_WIDTH),
        TaskProgressColumn("{task.percentage:>3.0f} %", markup=False),
        TextColumn("{task.fields[words]}", markup=False),
        console=console,
        redirect_stdout=False,
    )
