"""Charts as SVG, which are light or dark as the page is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape

WIDTH: Final = 640
HEIGHT: Final = 320
LEFT, RIGHT, TOP, BOTTOM = 70, 110, 50, 50
STEPS: Final = 4
"""Lines across, above the lowest."""
STYLE: Final = """
.back { fill: #ffffff } .text { fill: #1f2937 } .grid { stroke: #e5e7eb }
.line0 { stroke: #0369a1 } .line1 { stroke: #b45309 } .dot0 { fill: #0369a1 } .dot1 { fill: #b45309 }
@media (prefers-color-scheme: dark) {
  .back { fill: #1e2129 } .text { fill: #e5e7eb } .grid { stroke: #3f4451 }
  .line0 { stroke: #38bdf8 } .line1 { stroke: #fbbf24 } .dot0 { fill: #38bdf8 } .dot1 { fill: #fbbf24 }
}
"""


@dataclass(frozen=True)
class Line:
    name: str
    points: Sequence[tuple[int, float]]


def chart(title: str, below: str, lines: Sequence[Line]) -> str:
    """The lines over the same places, which stand at even distances whatever their numbers."""
    places = [number for number, _ in lines[0].points]
    top = _round_up(max(value for line in lines for _, value in line.points))
    drawn = [_frame(title, below, places, top)]
    for number, line in enumerate(lines):
        drawn.append(_line(line, number, top))
    body = "\n".join(drawn)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
        f'height="{HEIGHT}" role="img" font-family="system-ui, sans-serif" font-size="13">\n'
        f"<title>{escape(title)}</title>\n"
        f"<style>{STYLE}</style>\n{body}\n</svg>\n"
    )


def _frame(title: str, below: str, places: Sequence[int], top: float) -> str:
    drawn = [
        f'<rect class="back" width="{WIDTH}" height="{HEIGHT}" rx="8"/>',
        _text(LEFT, 28, title, "start"),
    ]
    for step in range(STEPS + 1):
        value = top * step / STEPS
        drawn.append(
            f'<path class="grid" d="M{LEFT} {_y(value, top):.0f}H{WIDTH - RIGHT}"/>'
            + _text(LEFT - 8, _y(value, top) + 4, f"{value:,.10g}", "end")
        )
    drawn += [_text(_x(i, len(places)), HEIGHT - 28, f"{number:,}") for i, number in enumerate(places)]
    drawn.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, below))
    return "\n".join(drawn)


def _line(line: Line, number: int, top: float) -> str:
    count = len(line.points)
    places = [(_x(i, count), _y(value, top)) for i, (_, value) in enumerate(line.points)]
    path = "L".join(f"{x:.0f} {y:.0f}" for x, y in places)
    dots = "".join(f'<circle class="dot{number}" cx="{x:.0f}" cy="{y:.0f}" r="4"/>' for x, y in places)
    x, y = places[-1]
    drawn = f'<path class="line{number}" fill="none" stroke-width="2.5" d="M{path}"/>{dots}'
    return drawn + _text(x + 10, y + 4, line.name, "start")


def _x(place: int, count: int) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * (place + 0.5) / count


def _y(value: float, top: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / top


def _text(x: float, y: float, text: str, anchor: str = "middle") -> str:
    return f'<text class="text" x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}">{escape(text)}</text>'


def _round_up(value: float) -> float:
    """The next number of one digit with noughts, so that the lines across have short names."""
    size = 1.0
    while size * 10 <= value:
        size *= 10
    while size > value:
        size /= 10
    return next(size * step for step in (1, 2, 4, 6, 8, 10) if size * step >= value)
