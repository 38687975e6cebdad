"""Seconds against megabytes, both logarithmic, as an SVG drawing."""

from __future__ import annotations

import math
from html import escape

from contestants import CONTESTANTS
from measure import Result

WIDTH, HEIGHT = 760, 440
LEFT, RIGHT, TOP, BOTTOM = 62, 190, 40, 46
LABEL_GAP = 15
COLOURS = ["#444444", "#d62728", "#9467bd", "#8c564b", "#1f77b4", "#17becf", "#2ca02c", "#bcbd22", "#e377c2", "#ff7f0e"]

Line = tuple[str, list[tuple[float, float]]]


def draw(sizes: dict[int, dict[str, Result]]) -> str:
    """Return the drawing of all contestants that are plotted and gave a result."""
    lines: list[Line] = []
    for name in CONTESTANTS:
        done = [found[name] for found in sizes.values() if name in found and not found[name].error]
        if CONTESTANTS[name].plotted and done:
            lines.append((name, [(result.text_bytes / 1e6, result.wall) for result in done]))
    axes = Axes([x for _, points in lines for x, _ in points], [y for _, points in lines for _, y in points])
    box = f'viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {box}>'
    title = f'<text x="{LEFT}" y="22" font-size="14">Seconds from start to result, against megabytes of text</text>'
    parts = [head, f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>', title]
    return "\n".join([*parts, *axes.grid(), *_lines(lines, axes), "</svg>\n"])


class Axes:
    """Where values lie in the drawing: megabytes from the first to the last, seconds in half powers of ten."""

    def __init__(self, xs: list[float], ys: list[float]) -> None:
        self.sizes = sorted({round(x) for x in xs})
        self.x_low, self.x_high = math.log10(min(xs)) - 0.1, math.log10(max(xs))
        self.y_low = math.floor(math.log10(min(ys)) * 2 - 0.2) / 2
        self.y_high = math.ceil(math.log10(max(ys)) * 2 + 0.2) / 2

    def x(self, value: float) -> float:
        """Return the place of a number of megabytes."""
        return LEFT + (WIDTH - LEFT - RIGHT) * (math.log10(value) - self.x_low) / (self.x_high - self.x_low)

    def y(self, value: float) -> float:
        """Return the place of a number of seconds."""
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (math.log10(value) - self.y_low) / (self.y_high - self.y_low)

    def grid(self) -> list[str]:
        """Return a line and a number for each size and for each power of ten of seconds."""
        drawn = []
        for size in self.sizes:
            x = self.x(size)
            drawn.append(f'<path d="M{x:.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="#dddddd"/>')
            drawn.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{size} MB</text>')
        for power in range(math.ceil(self.y_low), math.floor(self.y_high) + 1):
            y = self.y(10.0**power)
            drawn.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#dddddd"/>')
            drawn.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{10.0**power:g} s</text>')
        return drawn


def _lines(lines: list[Line], axes: Axes) -> list[str]:
    """Return the curves, each with its name behind its end; names move apart where they would touch."""
    drawn = []
    floor = HEIGHT - 6.0
    ends = sorted(zip(lines, COLOURS, strict=False), key=lambda item: item[0][1][-1][1])
    for (name, points), colour in ends:
        placed = [(axes.x(x), axes.y(y)) for x, y in points]
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in placed)
        width = 3 if name == "llmprep" else 1.5
        drawn.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="{width}"/>')
        drawn += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in placed]
        end_x, end_y = placed[-1]
        floor = min(end_y + 4, floor - LABEL_GAP)
        words = escape(f"{name} {points[-1][1]:.3g} s")
        drawn.append(f'<path d="M{end_x + 4:.1f} {end_y:.1f}L{end_x + 14:.1f} {floor - 4:.1f}" stroke="{colour}"/>')
        drawn.append(f'<text x="{end_x + 17:.1f}" y="{floor:.1f}" fill="{colour}">{words}</text>')
    return drawn
