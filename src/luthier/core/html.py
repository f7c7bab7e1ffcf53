"""A report as one self-contained web page: no script, nothing loaded, charts drawn as inline SVG.

Every text is escaped, and the page forbids itself scripts, images and connections, so that a row of hostile
data or a model's answer stays text. Each chart is drawn twice, wide and narrow, and the style sheet shows the
one that fits, because text inside a scaled drawing becomes too small to read on a telephone.
"""

import html
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from luthier.core.markdown import (
    SIGNS,
    code_spans,
    command_and_why,
    curve_table,
    filled_rows,
    first_with_tokens,
    legend,
    numeric_columns,
    short_number,
    spelled,
)
from luthier.core.report import (
    Block,
    Comparison,
    Curve,
    Finding,
    Paragraph,
    Report,
    Section,
    Table,
    Token,
    TokenKind,
    TokenText,
)
from luthier.core.text import one_line, plural, safe

Points = Sequence[tuple[float, float]]

DASHES = ("none", "7 4", "2 3", "10 3 2 3", "14 4", "4 2")
"""Each line has its own dashes beside its own colour: for print, and for eyes that see few colours."""

DRAWABLE = 1e100
"""Larger values are left out like values that are not numbers; their distance would overflow."""

MOST_POINTS = 600
"""A longer line is thinned to its lowest and highest point a stretch: finer than a pixel, nothing hidden."""

LETTER = 7.0
"""Width of a letter of the chart's 12-pixel type, in pixels, rounded up."""

MOST_OPEN = 400
"""A text of more tokens is folded away behind its title."""

KIND_TAGS: dict[TokenKind, str] = {"learned": "u", "context": "span", "cut": "s"}
"""Underlined and struck through by themselves: seen without colour, and where the style sheet is lost."""

STYLE = """
:root { color-scheme: light dark;
  --paper: #faf9f7; --card: #ffffff; --ink: #1d1c1a; --soft: #5c5a55; --rule: #e3e1db; --code: #f1efea;
  --ok: #15703a; --note: #1b58b8; --warning: #8a5300; --failure: #b3201b;
  --ok-tint: #edf7f0; --note-tint: #eef4fd; --warning-tint: #fdf5e4; --failure-tint: #fdefee;
  --s0: #1b58b8; --s1: #c2410c; --s2: #0f766e; --s3: #9b1fa8; --s4: #7a5a00; --s5: #475569; }
@media (prefers-color-scheme: dark) { :root {
  --paper: #161615; --card: #1f1f1d; --ink: #ebe9e4; --soft: #a8a59d; --rule: #383632; --code: #2a2926;
  --ok: #74d597; --note: #8fbcff; --warning: #f2bd5b; --failure: #ff9d96;
  --ok-tint: #17261c; --note-tint: #182334; --warning-tint: #2b2314; --failure-tint: #321b1a;
  --s0: #8fbcff; --s1: #ff9f5f; --s2: #5cdac6; --s3: #ee9ff7; --s4: #e8cf5e; --s5: #bcc6d4; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); -webkit-text-size-adjust: 100%;
  font: 16px/1.6 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans", Arial,
  sans-serif; }
main { max-width: 54rem; margin: 0 auto; padding: 3.5rem 1.5rem 5rem; }
h1 { font-size: clamp(1.6rem, 4.5vw, 2.1rem); line-height: 1.2; letter-spacing: -.02em;
  margin: 0 0 .75rem; text-wrap: balance; }
h2 { font-size: 1.25rem; line-height: 1.3; letter-spacing: -.01em; margin: 3.25rem 0 1rem; }
h3 { font-size: .95rem; line-height: 1.4; margin: 0 0 .75rem; }
h1, h2, h3, p, li { overflow-wrap: anywhere; }
th, td { overflow-wrap: break-word; max-width: 24rem; }
p { margin: 0 0 1rem; max-width: 42rem; white-space: pre-line; }
.lead { font-size: 1.15rem; color: var(--soft); margin-bottom: 2rem; }
code, pre { font: .9em/1.55 ui-monospace, "SF Mono", SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono",
  monospace; }
p code, li code, td code { background: var(--code); border-radius: 4px; padding: .1em .35em; }
.findings { list-style: none; margin: 0; padding: 0; display: grid; gap: .6rem; }
.findings li { display: grid; grid-template-columns: 5rem 1fr; gap: 0 1rem; padding: .75rem 1rem;
  border-radius: 8px;
  border-left: 4px solid var(--tone); background: var(--tint); }
.findings b { color: var(--tone); font-size: .85rem; line-height: 1.88; }
.findings p { margin: 0; }
.findings .hint { color: var(--soft); font-size: .92rem; grid-column: 2; margin-top: .15rem; }
.ok { --tone: var(--ok); --tint: var(--ok-tint); }
.note { --tone: var(--note); --tint: var(--note-tint); }
.warning { --tone: var(--warning); --tint: var(--warning-tint); }
.failure { --tone: var(--failure); --tint: var(--failure-tint); }
figure { margin: 0 0 1.5rem; padding: 1.15rem 1.25rem; background: var(--card);
  border: 1px solid var(--rule); border-radius: 10px; }
figcaption { font-weight: 600; font-size: .95rem; line-height: 1.4; margin-bottom: .75rem;
  overflow-wrap: anywhere; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: top; padding: .5rem 1.25rem .5rem 0;
  border-bottom: 1px solid var(--rule); min-width: 4.5rem; }
th:last-child, td:last-child { padding-right: 0; }
tbody tr:last-child > * { border-bottom: 0; padding-bottom: 0; }
thead th { color: var(--soft); font-weight: 500; font-size: .85rem; vertical-align: bottom; }
tbody th { font-weight: 500; }
.number { text-align: right; white-space: nowrap; overflow-wrap: normal; }
.legend { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; margin: 0 0 .5rem; padding: 0;
  list-style: none; font-size: .85rem; color: var(--soft); }
.legend svg { width: 28px; height: 10px; margin-right: .45rem; vertical-align: middle; }
.chart { display: block; width: 100%; height: auto; font: 12px system-ui, -apple-system, "Segoe UI",
  Roboto, "Noto Sans", Arial, sans-serif; }
.chart text { fill: var(--soft); font-variant-numeric: tabular-nums; }
.chart .grid { stroke: var(--rule); stroke-width: 1; }
.chart .axis { stroke: var(--soft); stroke-width: 1; }
.line { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
.chart .end { font-weight: 600; }
.narrow { display: none; }
@media (max-width: 34rem) { .wide { display: none; } .narrow { display: block; } }
details { margin-top: .75rem; font-size: .85rem; }
summary { cursor: pointer; color: var(--soft); margin-bottom: .5rem; }
.spark { white-space: pre; font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
.voices { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 17rem), 1fr));
  gap: 1rem 1.5rem; }
.prompt { border-bottom: 1px solid var(--rule); margin-bottom: 1rem; padding-bottom: 1rem; }
.who { color: var(--soft); font-size: .8rem; font-weight: 600; margin: 0 0 .25rem; }
.words { margin: 0; max-height: 30rem; overflow: auto; white-space: pre-wrap; overflow-wrap: anywhere;
  font: inherit; font-size: .95rem; }
.prompt .words { font-weight: 500; }
.none { color: var(--soft); font-style: italic; }
.kinds { position: sticky; top: 0; z-index: 1; align-items: baseline; padding: .6rem 0; margin-bottom: 1rem;
  background: var(--paper); border-bottom: 1px solid var(--rule); }
.told { margin-bottom: .75rem; font-size: .92rem; color: var(--soft); }
.tokens { font: .88rem/1.9 ui-monospace, "SF Mono", SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono",
  monospace; white-space: break-spaces; overflow-wrap: anywhere; unicode-bidi: plaintext; }
.tokens span > span, .tokens u > span, .tokens s > span { box-shadow: inset 1px 0 var(--edge);
  padding-block: .15em; }
.tokens :is(span, u, s) > span:nth-child(odd) { background: var(--tint); }
.tokens .context { --tint: var(--code); --edge: var(--rule); color: var(--soft); }
.tokens .learned { --tint: var(--ok-tint); --edge: color-mix(in srgb, var(--ok) 40%, transparent);
  color: var(--ok); font-weight: 600; text-decoration: underline 2px;
  text-underline-offset: 4px; text-decoration-skip-ink: none; }
.tokens .cut { --tint: var(--failure-tint);
  --edge: color-mix(in srgb, var(--failure) 40%, transparent); color: var(--failure);
  text-decoration: line-through 2px; }
.tokens .special { outline: 1px solid; outline-offset: -1px; border-radius: 4px; font-style: italic;
  unicode-bidi: isolate; }
.tokens .differs { outline: 3px solid var(--warning); outline-offset: 0; }
.tokens i { font-style: normal; font-weight: 400; color: var(--note); }
.row { margin: 0; font-size: inherit; }
.steps { list-style: none; margin: 0; padding: 0; display: grid; gap: .5rem; }
.steps pre { margin: 0; padding: .7rem 1rem; background: var(--code); border-radius: 8px;
  white-space: pre-wrap; overflow-wrap: anywhere; }
.steps .command { user-select: all; }
.steps .why { color: var(--soft); }
@media (max-width: 34rem) { main { padding: 2rem 1rem 3rem; } h2 { margin-top: 2.5rem; } figure {
  padding: 1rem; }
  .findings li { grid-template-columns: 1fr; } .findings .hint { grid-column: 1; }
  .kinds { position: static; } }
@media print { :root { --paper: #fff; --card: #fff; } main { max-width: none; padding: 0; } figure,
  .findings li { break-inside: avoid; }
  h2 { break-after: avoid; } .words { max-height: none; } .scroll { overflow: visible; } details {
  display: none; } details.row { display: block; } .kinds { position: static; } }
"""


@dataclass(frozen=True, slots=True)
class Frame:
    """The drawing area inside a chart, in pixels, and the values at its edges."""

    left: float
    right: float
    top: float
    bottom: float
    x_range: tuple[float, float]
    y_range: tuple[float, float]

    def x(self, value: float) -> float:
        """Return where a value stands, in pixels from the left."""
        low, high = self.x_range
        return self.left + (value - low) / (high - low) * (self.right - self.left)

    def y(self, value: float) -> float:
        """Return where a value stands, in pixels from the top."""
        low, high = self.y_range
        return self.bottom - (value - low) / (high - low) * (self.bottom - self.top)


def to_html(report: Report) -> str:
    """Return the report as a whole web page that can be sent by mail and opened anywhere."""
    findings = "".join(_finding(finding) for finding in report.findings)
    steps = "".join(_step(step) for step in report.next_steps)
    first = first_with_tokens(report)
    body = [
        f'<h1 dir="auto">{_text(report.title)}</h1>',
        f'<p class="lead" dir="auto">{_prose(report.summary)}</p>' if report.summary else "",
        f'<ul class="findings">{findings}</ul>' if findings else "",
        *(_section(section, _legend(report) if section is first else "") for section in report.sections),
        f'<section><h2>Next</h2><ul class="steps">{steps}</ul></section>' if steps else "",
    ]
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{_text(report.title)}</title>
<style>{STYLE}</style>
</head>
<body>
<main>
{chr(10).join(part for part in body if part)}
</main>
</body>
</html>
"""


def framed(report: Report) -> str:
    """Return the page in a frame, for notebooks: neither's style nor scripts reach the other."""
    style = "width: 100%; height: 40rem; border: 0"
    return f'<iframe sandbox style="{style}" srcdoc="{html.escape(to_html(report))}"></iframe>'


def ticks(low: float, high: float, count: int, *, whole: bool = False) -> list[float]:
    """Return about `count` round values (1, 2 or 5 times a power of ten apart) that enclose `low` to `high`.

    Args:
        low: Smallest value to show.
        high: Largest value to show, more than `low`.
        count: How many steps to aim for.
        whole: Whether values between whole numbers make no sense, as between two optimizer steps.
    """
    rough = (high - low) / count
    power: float = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    step = max(step, 1.0) if whole else step
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [index * step for index in range(first, last + 1)]


def _text(text: str) -> str:
    return html.escape(safe(text))


def _prose(text: str) -> str:
    pieces = code_spans(text)
    return "".join(f"<code>{_text(piece)}</code>" if code else _text(piece) for piece, code in pieces)


def _finding(finding: Finding) -> str:
    hint = f'<p class="hint" dir="auto">{_prose(finding.hint)}</p>' if finding.hint else ""
    word = "OK" if finding.level == "ok" else finding.level.capitalize()
    text = f'<p dir="auto">{_prose(finding.text)}</p>'
    return f'<li class="{finding.level}"><b>{word}</b>{text}{hint}</li>'


def _step(step: str) -> str:
    command, why = command_and_why(step)
    dimmed = f'<span class="why">  # {_text(why)}</span>' if why else ""
    return f'<li><pre><code><span class="command">{_text(command)}</span>{dimmed}</code></pre></li>'


def _section(section: Section, legend: str) -> str:
    blocks = "\n".join(map(_block, section.blocks))
    return f'<section>\n<h2 dir="auto">{_text(section.title)}</h2>\n{legend}{blocks}\n</section>'


def _block(block: Block) -> str:
    match block:
        case Paragraph():
            return f'<p dir="auto">{_prose(block.text)}</p>'
        case Table():
            return _figure(block.title, _table(block))
        case Curve():
            return _figure(block.title, _curve(block))
        case Comparison():
            return _comparison(block)
        case TokenText():
            return _figure(block.title, _token_text(block))


def _figure(title: str, body: str) -> str:
    caption = f'<figcaption dir="auto">{_text(title)}</figcaption>' if title else ""
    return f"<figure>{caption}{body}</figure>"


def _table(table: Table) -> str:
    header, rows = filled_rows(table)
    numeric = numeric_columns(rows) or [False] * len(header)
    classes = [' class="number"' if right else "" for right in numeric]
    head = "".join(f'<th scope="col"{style}>{_prose(cell)}</th>' for cell, style in zip(header, classes, strict=True))
    body = "".join(f"<tr>{_row(row, classes)}</tr>" for row in rows)
    drawn = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    label = html.escape(one_line(table.title or "table"))
    return f'<div class="scroll" role="region" tabindex="0" aria-label="{label}">{drawn}</div>'


def _row(row: Sequence[str], classes: Sequence[str]) -> str:
    first = f'<th scope="row" dir="auto">{_prose(row[0])}</th>' if row else ""
    others = [f"<td{style}>{_prose(cell)}</td>" for cell, style in zip(row[1:], classes[1:], strict=True)]
    return first + "".join(others)


def _comparison(comparison: Comparison) -> str:
    answers = "".join(f"<div>{_voice(name, text)}</div>" for name, text in comparison.answers)
    prompt = f'<div class="prompt">{_voice("Prompt", comparison.prompt)}</div>'
    return f'<figure>{prompt}<div class="voices">{answers}</div></figure>'


def _voice(name: str, text: str) -> str:
    words = _text(text) if text.strip() else '<span class="none">(empty)</span>'
    heading = f'<h3 class="who" dir="auto">{_text(name)}</h3>'
    return f'{heading}<div class="words" dir="auto" tabindex="0">{words}</div>'


# tokens ----------------------------------------------------------------------------------------------------


def _token_text(text: TokenText) -> str:
    note = f'<p class="told" dir="auto">{_prose(text.note)}</p>' if text.note else ""
    if not text.tokens:
        return note
    words = f'<div class="tokens">{_tokens(text)}</div>'
    if len(text.tokens) <= MOST_OPEN:
        return note + words
    return f'{note}<details class="row"><summary>{plural(len(text.tokens), "token")}</summary>{words}</details>'


def _tokens(text: TokenText) -> str:
    """Return an element for each stretch of one kind, and in it a frame for each token."""
    stretches = []
    for kind, group in groupby(enumerate(text.tokens), key=lambda pair: pair[1].kind):
        tag = KIND_TAGS[kind]
        tokens = "".join(_token(token, differs=index == text.differs_at) for index, token in group)
        stretches.append(f'<{tag} class="{kind}">{tokens}</{tag}>')
    return "".join(stretches)


def _token(token: Token, *, differs: bool) -> str:
    classes = [name for name, holds in (("special", token.special), ("differs", differs)) if holds]
    style = f' class="{" ".join(classes)}"' if classes else ""
    about = f"id {token.id} · {token.kind}{' · special' * token.special}{' · first difference' * differs}"
    words = "".join(f"<i>{_text(piece)}</i>" if mark else _text(piece) for piece, mark in spelled(token.text))
    arrow = "<i>▶</i>" if differs else ""
    return f'<span{style} title="{about}">{arrow}{words}</span>'


def _legend(report: Report) -> str:
    samples = "".join(f'<li class="tokens">{_tokens(sample)}</li>' for sample in legend(report))
    return f'<ul class="legend kinds">{samples}<li>{SIGNS}; point at a token for its id</li></ul>'


# charts ----------------------------------------------------------------------------------------------------


def _curve(curve: Curve) -> str:
    lines = [(name, _known(points)) for name, points in curve.lines]
    if not any(points for _, points in lines):
        return '<p class="none">No values to draw.</p>'
    legend = "".join(f"<li>{_swatch(index)}{_text(name)}</li>" for index, (name, _) in enumerate(lines))
    numbers = f"<details><summary>In numbers</summary>{_table(curve_table(curve))}</details>"
    drawings = _chart(curve, width=800, height=320) + _chart(curve, width=340, height=240)
    return f'<ul class="legend">{legend}</ul>{drawings}{numbers}' if len(lines) > 1 else drawings + numbers


def _chart(curve: Curve, *, width: int, height: int) -> str:
    """Return a line chart of `width` x `height` pixels, the numbers of the axes included."""
    wide = width > 500
    points = [point for _, line in curve.lines for point in _known(line)]
    whole = all(float(x).is_integer() for x, _ in points)
    x_range = _range([x for x, _ in points])
    y_ticks = ticks(*_range([y for _, y in points]), 5)
    y_names = _tick_names(y_ticks)
    ends = [one_line(name, 18) for name, _ in curve.lines] if wide else []
    frame = Frame(
        left=LETTER * max(map(len, y_names)) + 12,
        right=width - max([(LETTER + 1) * len(name) + 14 for name in ends], default=8),
        top=28,
        bottom=height - 42,
        x_range=x_range,
        y_range=(y_ticks[0], y_ticks[-1]),
    )
    x_ticks = [x for x in ticks(*x_range, 8 if wide else 4, whole=whole) if x_range[0] <= x <= x_range[1]]
    parts = [*_axes(curve, frame, x_ticks, y_ticks)]
    for index, (_, line) in enumerate(curve.lines):
        parts += _line(index, line, frame)
    parts += _end_names(curve, ends, frame)
    label = html.escape(one_line(f"Line chart: {curve.title}. {curve.y_label} over {curve.x_label}", 200))
    size = f'class="chart {"wide" if wide else "narrow"}" viewBox="0 0 {width} {height}"'
    return f'<svg {size} role="img" aria-label="{label}">{"".join(parts)}</svg>'


def _axes(curve: Curve, frame: Frame, x_ticks: Sequence[float], y_ticks: Sequence[float]) -> Iterable[str]:
    yield f'<text x="0" y="12">{html.escape(one_line(curve.y_label, 40))}</text>'
    for value, name in zip(y_ticks, _tick_names(y_ticks), strict=True):
        y = frame.y(value)
        yield f'<path class="grid" d="M{frame.left:.1f} {y:.1f}H{frame.right:.1f}"/>'
        yield f'<text x="{frame.left - 8:.1f}" y="{y + 4:.1f}" text-anchor="end">{name}</text>'
    yield f'<path class="axis" d="M{frame.left:.1f} {frame.bottom:.1f}H{frame.right:.1f}"/>'
    for value, name in zip(x_ticks, _tick_names(x_ticks), strict=True):
        x = frame.x(value)
        yield f'<path class="axis" d="M{x:.1f} {frame.bottom:.1f}v4"/>'
        yield f'<text x="{x:.1f}" y="{frame.bottom + 18:.1f}" text-anchor="middle">{name}</text>'
    x_label = html.escape(one_line(curve.x_label, 40))
    yield f'<text x="{frame.right:.1f}" y="{frame.bottom + 36:.1f}" text-anchor="end">{x_label}</text>'


def _line(index: int, points: Points, frame: Frame) -> Iterable[str]:
    """Yield one line: an unbroken piece for each run of drawable points, dots where they are few."""
    style = f'style="stroke:var(--s{index % 6});stroke-dasharray:{DASHES[index % 6]}"'
    runs = [_thinned(run) for run in _runs(points)]
    for run in runs:
        drawn = " ".join(f"{frame.x(x):.1f},{frame.y(y):.1f}" for x, y in run)
        if len(run) > 1:
            yield f'<polyline class="line" {style} points="{drawn}"/>'
    few = sum(map(len, runs)) <= 30
    for x, y in [point for run in runs if few or len(run) == 1 for point in run]:
        yield f'<circle cx="{frame.x(x):.1f}" cy="{frame.y(y):.1f}" r="3" style="fill:var(--s{index % 6})"/>'


def _end_names(curve: Curve, names: Sequence[str], frame: Frame) -> Iterable[str]:
    """Yield each line's name beside its last point, moved apart where two would overlap."""
    lasts = [
        (frame.y(_known(points)[-1][1]), index, name)
        for index, (name, (_, points)) in enumerate(zip(names, curve.lines, strict=False))
        if _known(points)
    ]
    lowest = frame.bottom - 15 * (len(lasts) - 1)
    at = -math.inf
    for order, (wanted, index, name) in enumerate(sorted(lasts)):
        at = max(min(wanted, lowest + 15 * order), at + 15)
        yield (
            f'<text class="end" x="{frame.right + 8:.1f}" y="{at + 4:.1f}" style="fill:var(--s{index % 6})">'
            f"{html.escape(name)}</text>"
        )


def _swatch(index: int) -> str:
    style = f"stroke:var(--s{index % 6});stroke-dasharray:{DASHES[index % 6]}"
    return f'<svg viewBox="0 0 28 10" aria-hidden="true"><path class="line" style="{style}" d="M1 5H27"/></svg>'


def _tick_names(values: Sequence[float]) -> list[str]:
    """Return the numbers of an axis, all with as many decimals as their distance needs."""
    if len(values) < 2:
        return [html.escape(short_number(value)) for value in values]
    step = values[1] - values[0]
    if max(map(abs, values)) >= 1e7 or step < 1e-5:
        return [f"{value:.3g}" for value in values]
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return [f"{value:,.{decimals}f}".replace("-", "−") for value in values]


def _range(values: Sequence[float]) -> tuple[float, float]:
    """Return the lowest and the highest value, spread a little when they are (nearly) the same."""
    low, high = min(values), max(values)
    size = max(abs(low), abs(high))
    if high - low > max(size * 1e-9, 1e-100):
        return low, high
    room = size * 0.1 if size > 1e-90 else 1.0
    return low - room, high + room


def _drawable(point: tuple[float, float]) -> bool:
    return all(math.isfinite(value) and abs(value) < DRAWABLE for value in point)


def _known(points: Points) -> list[tuple[float, float]]:
    return [point for point in points if _drawable(point)]


def _runs(points: Points) -> list[list[tuple[float, float]]]:
    """Return the points in unbroken pieces; a value that is not a number leaves a gap."""
    runs: list[list[tuple[float, float]]] = [[]]
    for point in points:
        if _drawable(point):
            runs[-1].append(point)
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _thinned(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    if len(points) <= MOST_POINTS:
        return points
    stretches = MOST_POINTS // 2
    kept = []
    for index in range(stretches):
        stretch = points[index * len(points) // stretches : (index + 1) * len(points) // stretches]
        ends = {min(stretch, key=lambda point: point[1]), max(stretch, key=lambda point: point[1])}
        kept += sorted(ends)
    return [points[0], *kept, points[-1]]
