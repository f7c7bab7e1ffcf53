"""Charts as inline SVG, readable in light and dark, on paper and without colour.

A chart of lines is drawn twice, wide and narrow, and the style sheet shows the one that fits, because text inside a
scaled drawing becomes too small to read on a telephone. Histograms stand side by side, each as wide as a telephone.
"""

import html
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from luthier.core.markdown import bars_table, curve_table, histogram_table, short_number
from luthier.core.markup import escaped, prose, scrolled, table
from luthier.core.report import Bars, Curve, Histogram
from luthier.core.text import one_line

Points = Sequence[tuple[float, float]]

DASHES = ("none", "7 4", "2 3", "10 3 2 3", "14 4", "4 2")
"""Each line has its own dashes beside its own colour: for print, and for eyes that see few colours."""

DRAWABLE = 1e100
"""Larger values are left out like values that are not numbers; their distance would overflow."""

MOST_POINTS = 600
"""A longer line is thinned to its lowest and highest point a stretch: finer than a pixel, nothing hidden."""

LETTER = 7.0
"""Width of a letter of the chart's 12-pixel type, in pixels, rounded up."""


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


def curve_chart(curve: Curve) -> str:
    """Return lines over an axis, their names, and the same in numbers."""
    lines = [(name, _known(points)) for name, points in curve.lines]
    if not any(points for _, points in lines):
        return '<p class="none">No values to draw.</p>'
    legend = "".join(f"<li>{_swatch(index)}{escaped(name)}</li>" for index, (name, _) in enumerate(lines))
    numbers = f"<details><summary>In numbers</summary>{table(curve_table(curve))}</details>"
    drawings = _chart(curve, width=800, height=320) + _chart(curve, width=340, height=240)
    return f'<ul class="legend">{legend}</ul>{drawings}{numbers}' if len(lines) > 1 else drawings + numbers


def _chart(curve: Curve, *, width: int, height: int) -> str:
    """Return a line chart of `width` x `height` pixels, the numbers of the axes included."""
    wide = width > 500
    points = [point for _, line in curve.lines for point in _known(line)]
    whole = all(float(x).is_integer() for x, _ in points)
    x_range = _range([x for x, _ in points])
    y_ticks = ticks(*_range([y for _, y in points]), 5)
    y_names = tick_names(y_ticks)
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
    for value, name in zip(y_ticks, tick_names(y_ticks), strict=True):
        y = frame.y(value)
        yield f'<path class="grid" d="M{frame.left:.1f} {y:.1f}H{frame.right:.1f}"/>'
        yield f'<text x="{frame.left - 8:.1f}" y="{y + 4:.1f}" text-anchor="end">{name}</text>'
    yield f'<path class="axis" d="M{frame.left:.1f} {frame.bottom:.1f}H{frame.right:.1f}"/>'
    for value, name in zip(x_ticks, tick_names(x_ticks), strict=True):
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


def tick_names(values: Sequence[float]) -> list[str]:
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


# bars ------------------------------------------------------------------------------------------------------


def histogram_chart(histogram: Histogram) -> str:
    """Return a drawing for each kind, side by side, and the same in numbers."""
    drawings = "".join(
        f'<div><h3 class="who">{escaped(name)}</h3>{_histogram(histogram, name, counts)}</div>'
        for name, counts in histogram.groups
    )
    told = ""
    if histogram.beyond:
        told = f"<li>the last bar counts all above {short_number(histogram.edges[-2])}</li>"
    if histogram.limit is not None:
        beyond = "" if _inside(histogram) else ", beyond what is drawn"
        line = '<svg viewBox="0 0 28 10" aria-hidden="true"><path class="limit" d="M14 -5V15"/></svg>'
        told = f"<li>{line}{escaped(histogram.limit_name)}{beyond}</li>{told}"
    numbers = f"<details><summary>In numbers</summary>{table(histogram_table(histogram))}</details>"
    legend = f'<ul class="legend">{told}</ul>' if told else ""
    return f'{legend}<div class="multiples">{drawings}</div>{numbers}'


def _inside(histogram: Histogram) -> bool:
    limit = histogram.limit
    return limit is not None and histogram.edges[0] <= limit <= histogram.edges[-1]


def _histogram(histogram: Histogram, name: str, counts: Sequence[int]) -> str:
    width, height = 340, 190
    y_ticks = ticks(0, max(1, *counts), 3, whole=True)
    y_names = tick_names(y_ticks)
    frame = Frame(
        left=LETTER * max(map(len, y_names)) + 12,
        right=width - 12,
        top=10,
        bottom=height - 40,
        x_range=(histogram.edges[0], histogram.edges[-1]),
        y_range=(0, y_ticks[-1]),
    )
    parts = []
    for value, words in zip(y_ticks, y_names, strict=True):
        y = frame.y(value)
        parts.append(f'<path class="grid" d="M{frame.left:.1f} {y:.1f}H{frame.right:.1f}"/>')
        parts.append(f'<text x="{frame.left - 8:.1f}" y="{y + 4:.1f}" text-anchor="end">{words}</text>')
    bins = zip(pairwise(histogram.edges), counts, strict=True)
    parts += [_bar(frame, low, high, count) for (low, high), count in bins if count]
    parts += _below(histogram, frame)
    label = html.escape(one_line(f"Histogram: {histogram.title}, {name}, over {histogram.x_label}", 200))
    return f'<svg class="chart" viewBox="0 0 {width} {height}" role="img" aria-label="{label}">{"".join(parts)}</svg>'


def _bar(frame: Frame, low: float, high: float, count: int) -> str:
    left, right, top = frame.x(low), frame.x(high), frame.y(count)
    wide, high_ = max(right - left - 1, 0.5), max(frame.bottom - top, 1)
    return (
        f'<rect class="bar" x="{left:.1f}" y="{frame.bottom - high_:.1f}" width="{wide:.1f}" height="{high_:.1f}">'
        f"<title>{short_number(low)} to {short_number(high)}: {count:,}</title></rect>"
    )


def _below(histogram: Histogram, frame: Frame) -> Iterable[str]:
    """Yield the axis with its numbers, and the line of the limit."""
    yield f'<path class="axis" d="M{frame.left:.1f} {frame.bottom:.1f}H{frame.right:.1f}"/>'
    last = histogram.edges[-1]
    values = [value for value in ticks(*frame.x_range, 4) if frame.x_range[0] <= value <= last]
    for value, words in zip(values, tick_names(values), strict=True):
        x = frame.x(value)
        more = "+" if histogram.beyond and value == last else ""
        anchor = "end" if x > frame.right - LETTER * len(words) / 2 else "middle"
        at = frame.right + 8 if anchor == "end" else x
        yield f'<path class="axis" d="M{x:.1f} {frame.bottom:.1f}v4"/>'
        yield f'<text x="{at:.1f}" y="{frame.bottom + 18:.1f}" text-anchor="{anchor}">{words}{more}</text>'
    label = html.escape(one_line(histogram.x_label, 40))
    yield f'<text x="{frame.right:.1f}" y="{frame.bottom + 35:.1f}" text-anchor="end">{label}</text>'
    if histogram.limit is not None and _inside(histogram):
        yield f'<path class="limit" d="M{frame.x(histogram.limit):.1f} {frame.top - 6:.1f}V{frame.bottom:.1f}"/>'


def bars_chart(bars: Bars) -> str:
    """Return a table in which each number has a bar."""
    header, *rows = [bars_table(bars).columns, *bars_table(bars).rows]
    most = max((count for _, count in bars.rows), default=1) or 1
    head = f'<th scope="col">{prose(header[0])}</th><th></th>'
    head += "".join(f'<th scope="col" class="number">{prose(cell)}</th>' for cell in header[1:])
    body = []
    for row, (_, count) in zip(rows, bars.rows, strict=True):
        drawn = f'<rect class="bar" width="{100 * count / most:.2f}" height="10"/>'
        bar = f'<svg viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">{drawn}</svg>'
        numbers = "".join(f'<td class="number">{prose(cell)}</td>' for cell in row[1:])
        body.append(f'<tr><th scope="row" dir="auto">{escaped(row[0])}</th><td class="level">{bar}</td>{numbers}</tr>')
    return scrolled(bars.title, f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>")
