"""Values with their intervals as inline SVG: a dot and a whisker each, one below the other over one axis."""

import html
from collections.abc import Iterator

from luthier.core.charts import LETTER, Frame, tick_names, ticks
from luthier.core.markdown import short_number
from luthier.core.report import Intervals, Number
from luthier.core.text import one_line

LINE, GAP = 17, 13
"""Height of a value, and what is between two names, in pixels."""

WIDTH = 640
LONGEST = 34
"""Letters of a name beside its values."""


def intervals_chart(chart: Intervals) -> str:
    """Return the drawing and a legend where there is more than one kind of value; the numbers stand in a table."""
    kinds = [*dict.fromkeys(kind for _, values in chart.rows for kind, _ in values)]
    marks = "".join(f"<li>{_swatch(place)}{html.escape(kind)}</li>" for place, kind in enumerate(kinds))
    legend = f'<ul class="legend">{marks}</ul>' if len(kinds) > 1 else ""
    numbers = [number for _, values in chart.rows for _, number in values]
    if not numbers:
        return '<p class="none">No values to draw.</p>'
    height = 34 + sum(LINE * len(values) + GAP for _, values in chart.rows)
    bounds = [bound for number in numbers for bound in _bounds(number)]
    low, high = chart.edges or (min(*bounds, 0.0), max(*bounds, 0.0))
    x_ticks = ticks(low, high if high > low else low + 1, 5)
    frame = Frame(
        left=LETTER * min(LONGEST, max(len(name) for name, _ in chart.rows)) + 14,
        right=WIDTH - 24,
        top=4,
        bottom=height - 34,
        x_range=(x_ticks[0], x_ticks[-1]),
        y_range=(0, 1),
    )
    parts = [*_axis(chart, frame, x_ticks), *_rows(chart, frame, kinds)]
    told = "; ".join(f"{name}: {', '.join(f'{kind} {_told(n)}' for kind, n in values)}" for name, values in chart.rows)
    label = html.escape(one_line(f"{chart.title}. {told}", 1000))
    size = f'class="chart" viewBox="0 0 {WIDTH} {height}"'
    return f'{legend}<div class="scroll dots"><svg {size} role="img" aria-label="{label}">{"".join(parts)}</svg></div>'


def _bounds(number: Number) -> tuple[float, ...]:
    return tuple(bound for bound in (number.low, number.value, number.high) if bound is not None)


def _told(number: Number) -> str:
    if number.low is None or number.high is None:
        return short_number(number.value)
    return f"{short_number(number.value)} ({short_number(number.low)} to {short_number(number.high)})"


def _axis(chart: Intervals, frame: Frame, x_ticks: list[float]) -> Iterator[str]:
    for value, name in zip(x_ticks, tick_names(x_ticks), strict=True):
        x, style = frame.x(value), "axis" if not value and not chart.edges else "grid"
        yield f'<path class="{style}" d="M{x:.1f} {frame.top:.1f}V{frame.bottom:.1f}"/>'
        yield f'<text x="{x:.1f}" y="{frame.bottom + 14:.1f}" text-anchor="middle">{name}</text>'
    label = html.escape(one_line(chart.x_label, 80))
    yield f'<text x="{frame.right:.1f}" y="{frame.bottom + 30:.1f}" text-anchor="end">{label}</text>'


def _rows(chart: Intervals, frame: Frame, kinds: list[str]) -> Iterator[str]:
    at = frame.top + GAP / 2
    for name, values in chart.rows:
        middle = at + LINE * len(values) / 2
        shown = html.escape(one_line(name, LONGEST))
        yield f'<text x="{frame.left - 12:.1f}" y="{middle + 4:.1f}" text-anchor="end">{shown}</text>'
        for kind, number in values:
            about = html.escape(f"{name}, {kind}: {_told(number)}")
            yield f"<g><title>{about}</title>{_dot(frame, at + LINE / 2, kinds.index(kind), number)}</g>"
            at += LINE
        at += GAP


def _dot(frame: Frame, y: float, place: int, number: Number) -> str:
    """Return a whisker and its mark: the first kind's is hollow, so that they differ without colour."""
    colour = f"var(--s{5 if place == 0 else 0})"
    x, whisker = frame.x(number.value), ""
    if number.low is not None and number.high is not None:
        left, right = frame.x(number.low), frame.x(number.high)
        ends = "".join(f"M{end:.1f} {y - 4:.1f}v8" for end in (left, right))
        whisker = f'<path class="line" style="stroke:{colour}" d="M{left:.1f} {y:.1f}H{right:.1f}{ends}"/>'
    return whisker + _mark(x, y, place)


def _mark(x: float, y: float, place: int) -> str:
    colour, fill = ("var(--s5)", "var(--card)") if place == 0 else ("var(--s0)", "var(--s0)")
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" style="fill:{fill};stroke:{colour};stroke-width:2"/>'


def _swatch(place: int) -> str:
    return f'<svg viewBox="0 -3 28 16" aria-hidden="true">{_mark(14, 5, place)}</svg>'
