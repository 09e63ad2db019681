"""A line chart as SVG, with axes from zero. Knows numbers and names, nothing of what they mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from math import ceil, log10

Points = Sequence[tuple[float, float]]

WIDTH, HEIGHT = 720, 420
LEFT, RIGHT, TOP, BOTTOM = 64, 90, 44, 52
COLORS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e")
STYLE = 'font-family="sans-serif" font-size="12"'


def line_chart(lines: Mapping[str, Points], title: str, x_label: str, y_label: str) -> str:
    """The text of an SVG file; every line has its name at its right end."""
    points = [point for line in lines.values() for point in line]
    x_step = round_step(max((x for x, _ in points), default=1.0))
    y_step = round_step(max((y for _, y in points), default=1.0))
    x_top = x_step * ceil(max((x for x, _ in points), default=1.0) / x_step)
    y_top = y_step * ceil(max((y for _, y in points), default=1.0) / y_step)

    def place(x: float, y: float) -> tuple[float, float]:
        across = LEFT + (WIDTH - LEFT - RIGHT) * x / x_top
        return round(across, 1), round(HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * y / y_top, 1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" {STYLE}>',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        _text(WIDTH / 2, 24, title, "middle"),
        _text(WIDTH / 2, HEIGHT - 12, x_label, "middle"),
        _text(LEFT, TOP - 10, y_label, "middle"),
    ]
    for number in range(round(x_top / x_step) + 1):
        x, y = place(number * x_step, 0)
        parts.append(_text(x, y + 18, f"{number * x_step:g}", "middle"))
    for number in range(round(y_top / y_step) + 1):
        x, y = place(0, number * y_step)
        parts.append(_text(x - 8, y + 4, f"{number * y_step:g}", "end"))
        parts.append(f'<path d="M{x} {y}H{WIDTH - RIGHT}" stroke="#ddd"/>')
    for number, (name, line) in enumerate(lines.items()):
        color = COLORS[number % len(COLORS)]
        places = [place(*point) for point in line]
        path = " ".join(f"{x},{y}" for x, y in places)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>')
        if places:
            parts.append(_text(places[-1][0] + 6, places[-1][1] + 4, name, "start", color))
    return "\n".join([*parts, "</svg>", ""])


def round_step(top: float) -> float:
    """1, 2 or 5 times a power of ten, so that at most ten steps reach `top`."""
    if top <= 0:
        return 1.0
    power = 10.0 ** ceil(log10(top / 10))
    return next(power * part for part in (0.2, 0.5, 1.0) if power * part * 10 >= top * (1 - 1e-9))


def _text(x: float, y: float, text: str, anchor: str, color: str = "black") -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" fill="{color}">{escape(text)}</text>'
