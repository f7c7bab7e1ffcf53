"""What a stage found out: one object that renders to JSON, Markdown, HTML and the terminal.

A report has two faces. `data` holds the keys that scripts rely on (docs/reference/contract.md). The blocks and
findings say the same to a person. Renderers live beside this file: `markdown.py`, `html.py`; the terminal's is
in the command line.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from luthier.core.files import to_json

Level = Literal["ok", "note", "warning", "gate", "failure"]
"""How bad a finding is; `gate`: all was done, and what the user asked of the result is not so."""


@dataclass(frozen=True, slots=True)
class Number:
    """A measured value with how many observations it rests on and its 95 % interval.

    `low` and `high` are None where an interval has no meaning (a count, a size), never to hide one.
    """

    value: float
    n: int
    low: float | None = None
    high: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return `{value, n, low, high}`, the shape the contract promises."""
        return {"value": self.value, "n": self.n, "low": self.low, "high": self.high}


@dataclass(frozen=True, slots=True)
class Setting:
    """A recipe value to change, so that a command can be told that does it."""

    key: str
    value: str = ""
    """The new value; empty: it depends on the one it has now."""
    times: float = 1.0
    """By what a number is multiplied."""
    also: str = ""
    """What is added to a list."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A sentence a person should read, and what to do about it (empty when nothing is to be done)."""

    level: Level
    text: str
    hint: str = ""
    settings: tuple[Setting, ...] = ()
    """Changes of the recipe that do as the hint says, each by itself."""


@dataclass(frozen=True, slots=True)
class Check:
    """One question asked of data or model, and the answer."""

    name: str
    status: Level
    details: str
    hint: str = ""

    def as_dict(self) -> dict[str, str]:
        """Return `{name, status, details, hint}`."""
        return {"name": self.name, "status": self.status, "details": self.details, "hint": self.hint}

    def as_finding(self) -> Finding:
        """Return the check as a sentence for people."""
        return Finding(self.status, self.details, self.hint)


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Plain text."""

    text: str


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of already formatted cells. The first column is text, the others are aligned right if numeric."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Curve:
    """Lines over a common axis, such as the loss over steps."""

    title: str
    x_label: str
    y_label: str
    lines: tuple[tuple[str, tuple[tuple[float, float], ...]], ...]
    """Each line: its name and its (x, y) points in order of x."""


@dataclass(frozen=True, slots=True)
class Histogram:
    """How many of something have which size, of several kinds side by side over one axis."""

    title: str
    x_label: str
    edges: tuple[float, ...]
    """Where bars begin and end, in order; one more than there are bars."""
    groups: tuple[tuple[str, tuple[int, ...]], ...]
    """Each kind: its name, and how many fall between each edge and the next, the last bar's upper edge included."""
    limit: float | None = None
    """A size worth a line, such as the longest that is allowed."""
    limit_name: str = ""
    beyond: bool = False
    """Whether the last bar also counts all that is larger."""


@dataclass(frozen=True, slots=True)
class Intervals:
    """Values and their intervals over one axis. Only the page draws them: a table beside it has the numbers."""

    title: str
    x_label: str
    rows: tuple[tuple[str, tuple[tuple[str, Number], ...]], ...]
    """Each name, and its values of one or several kinds, such as `base` and `fine-tuned`."""
    edges: tuple[float, float] | None = None
    """Where the axis begins and ends; None: where the values do, with a line at 0."""


@dataclass(frozen=True, slots=True)
class Bars:
    """How many of each name there are, the most first."""

    title: str
    what: str
    """What the names are, such as `label`."""
    rows: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Change:
    """A text before and after something was done to it."""

    by: str
    """What was done."""
    place: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Changes:
    """Samples of texts that were changed, to see character by character what became of them."""

    title: str
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class Record:
    """One row to look at: what kind of case it is, where it is from, what it says, what is to be said of it."""

    kind: str
    file: str
    line: int
    text: str
    note: str


@dataclass(frozen=True, slots=True)
class Records:
    """Rows to look through, by kind, file and words."""

    title: str
    records: tuple[Record, ...]
    total: int
    """How many there are in all; `records` may be a part of them."""
    rest: str = ""
    """Where all of them are."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """The same question answered by several models, side by side."""

    prompt: str
    answers: tuple[tuple[str, str], ...]
    """Each answer: whose it is, and the text."""


TokenKind = Literal["learned", "context", "cut"]


@dataclass(frozen=True, slots=True)
class Token:
    """One token of a text, and what training makes of it."""

    text: str
    """As the tokenizer decodes this one token, or its own spelling where that is half a character; may be empty."""
    id: int
    kind: TokenKind
    special: bool = False
    """Whether it is one of the tokenizer's special tokens, which text that looks the same is not."""


@dataclass(frozen=True, slots=True)
class TokenText:
    """One text token by token: what is learned, what is context, what was cut."""

    title: str
    tokens: tuple[Token, ...]
    note: str = ""
    """What to know about the whole, such as its length, or why there are no tokens."""
    differs_at: int | None = None
    """Index of the first token that disagrees with what it is compared to."""


Block = Paragraph | Table | Curve | Histogram | Intervals | Bars | Changes | Records | Comparison | TokenText


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what stands under it."""

    title: str
    blocks: tuple[Block, ...]
    detail: bool = False
    """Whether the terminal leaves it to the written report unless asked for everything."""


@dataclass(frozen=True, slots=True)
class Report:
    """What was asked, done and measured in one stage, and what to do next."""

    title: str
    summary: str
    """One or two sentences: the answer first."""
    data: dict[str, Any]
    """The machine's view; JSON-like."""
    sections: tuple[Section, ...] = ()
    findings: tuple[Finding, ...] = ()
    next_steps: tuple[str, ...] = field(default=())
    """Commands to type, each with a few words why: `luthier evaluate RUN  # is it better?`."""

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON view: the data, plus `summary`, `findings` and `next`."""
        return {
            **self.data,
            "summary": self.summary,
            "findings": [
                {"level": finding.level, "text": finding.text, "hint": finding.hint} for finding in self.findings
            ],
            "next": list(self.next_steps),
        }

    @staticmethod
    def from_dict(title: str, view: dict[str, Any], *findings: Finding) -> "Report":
        """Return a report that was kept as JSON, without the blocks a person saw; `findings` come first."""
        kept = (Finding(entry["level"], entry["text"], entry["hint"]) for entry in view["findings"])
        return Report(title, view["summary"], view, findings=(*findings, *kept), next_steps=tuple(view["next"]))

    def brief(self) -> list[dict[str, Any]]:
        """Return the sections that the terminal shows, as JSON: their paragraphs and tables."""
        return [
            {"title": section.title, "blocks": [asdict(b) for b in section.blocks if isinstance(b, Paragraph | Table)]}
            for section in self.sections
            if not section.detail
        ]

    def _repr_html_(self) -> str:
        """Show the report as a page of its own in a notebook."""
        from luthier.core.html import framed  # html renders what is defined here

        return framed(self)

    def to_json(self) -> str:
        """Return the JSON view as text."""
        return to_json(self.as_dict())


def sections_of(brief: Sequence[dict[str, Any]]) -> tuple[Section, ...]:
    """Return the sections of which `Report.brief` gave the JSON."""
    return tuple(Section(section["title"], tuple(map(_block, section["blocks"]))) for section in brief)


def _block(kept: dict[str, Any]) -> Block:
    if "rows" not in kept:
        return Paragraph(**kept)
    return Table(kept["title"], tuple(kept["columns"]), tuple(map(tuple, kept["rows"])))


def worst(findings: Sequence[Finding]) -> Level:
    """Return the most serious level among findings, `ok` when there is none."""
    order: tuple[Level, ...] = ("ok", "note", "warning", "gate", "failure")
    return max((finding.level for finding in findings), key=order.index, default="ok")
