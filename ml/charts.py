"""Small charts as inline SVG, without a plotting library: plain shapes that any page can show."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

WIDTH, HEIGHT = 360, 240
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 28, 40
COLOURS = ("#2563eb", "#dc2626", "#059669", "#9333ea")
MOST_POINTS = 200


@dataclass(frozen=True)
class Line:
    """A named line through points; ``low`` and ``high`` draw an interval at each."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None
    dashed: bool = False


def lines(title: str, drawn: Sequence[Line], *, x_label: str, y_label: str) -> str:
    """A line chart; axes start at zero when nothing is negative."""
    xs = [value for line in drawn for value in line.x]
    ys = [value for line in drawn for part in (line.y, line.low or (), line.high or ()) for value in part]
    x_from, x_to = min(0.0, *xs) if min(xs) >= 0 else min(xs), max(xs)
    plot = _Plot((x_from, x_to), (min(0.0, *ys), max(*ys, 1e-9)))
    shapes = [_line_shapes(line, plot, COLOURS[number % len(COLOURS)]) for number, line in enumerate(drawn)]
    names = [(line.name, COLOURS[number % len(COLOURS)]) for number, line in enumerate(drawn)]
    return _svg(title, _axes(plot, x_label, y_label, names) + "".join(shapes), HEIGHT)


def bars(title: str, labels: Sequence[str], values: Sequence[float]) -> str:
    """A horizontal bar for each label, in the given order, with its value written beside it."""
    most = max([abs(value) for value in values], default=1.0) or 1.0
    height = TOP + 20 * len(labels) + 8
    rows: list[str] = []
    for number, (label, value) in enumerate(zip(labels, values, strict=True)):
        y = TOP + 20 * number
        length = (WIDTH - 240) * abs(value) / most
        rows.append(
            f'<text x="168" y="{y + 12}" text-anchor="end">{escape(label[:32])}</text>'
            f'<rect x="174" y="{y + 2}" width="{length:.1f}" height="13" fill="{COLOURS[0 if value >= 0 else 1]}"/>'
            f'<text x="{178 + length:.1f}" y="{y + 12}">{value:.3g}</text>'
        )
    return _svg(title, "".join(rows), height)


@dataclass(frozen=True)
class _Plot:
    """The mapping of values to pixels."""

    x: tuple[float, float]
    y: tuple[float, float]

    def place(self, x: float, y: float) -> tuple[float, float]:
        across = (x - self.x[0]) / ((self.x[1] - self.x[0]) or 1)
        up = (y - self.y[0]) / ((self.y[1] - self.y[0]) or 1)
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)


def _line_shapes(line: Line, plot: _Plot, colour: str) -> str:
    kept = np.unique(np.linspace(0, len(line.x) - 1, min(len(line.x), MOST_POINTS)).astype(int))
    places = [plot.place(line.x[i], line.y[i]) for i in kept]
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    dash = ' stroke-dasharray="4 3"' if line.dashed else ""
    shapes = [f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.6"{dash}/>']
    if line.low is not None and line.high is not None:
        for i in kept:
            (x, low), (_, high) = plot.place(line.x[i], line.low[i]), plot.place(line.x[i], line.high[i])
            shapes.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{low:.1f}" y2="{high:.1f}" stroke="{colour}"/>')
    if len(kept) <= 20:
        shapes += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{colour}"/>' for x, y in places]
    return "".join(shapes)


def _axes(plot: _Plot, x_label: str, y_label: str, names: list[tuple[str, str]]) -> str:
    parts: list[str] = []
    for share in (0.0, 0.5, 1.0):
        x_value = plot.x[0] + share * (plot.x[1] - plot.x[0])
        y_value = plot.y[0] + share * (plot.y[1] - plot.y[0])
        x, _ = plot.place(x_value, plot.y[0])
        _, y = plot.place(plot.x[0], y_value)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 4}" y="{y + 4:.1f}" text-anchor="end">{_format_number(y_value)}</text>')
        parts.append(
            f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 14}" text-anchor="middle">{_format_number(x_value)}</text>'
        )
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 8}" text-anchor="middle">{escape(x_label)}</text>')
    parts.append(
        f'<text transform="translate(11 {(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)" text-anchor="middle">'
        f"{escape(y_label)}</text>"
    )
    shown = names if len(names) > 1 else []
    for number, (name, colour) in enumerate(shown):
        parts.append(f'<text x="{LEFT + 6}" y="{TOP + 10 + 12 * number}" fill="{colour}">{escape(name)}</text>')
    return "".join(parts)


def _format_number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _svg(title: str, content: str, height: int) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'role="img" font-family="sans-serif" font-size="10"><title>{escape(title)}</title>'
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>'
        f'<text x="{WIDTH / 2}" y="16" text-anchor="middle" font-size="12" font-weight="bold">{escape(title)}</text>'
        f"{content}</svg>"
    )
