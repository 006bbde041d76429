"""Draws a small plot as inline SVG: one frame, linear axes, marks with titles. Uses no script and no library.

Colours come from the style sheet of the page by class, so that a plot follows the light, dark and print themes.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from html import escape

WIDTH, HEIGHT = 440, 290
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 14, 12, 46
_TICKS = 6

Pairs = Sequence[tuple[float, float]]


class Plot:
    """A plot; marks are drawn in the order of the calls, and `svg` returns the image."""

    def __init__(
        self, label: str, x: Iterable[float], y: Iterable[float], *, x_label: str, y_label: str, y_percent: bool = False
    ) -> None:
        """Creates the axes. `label` is the text for screen readers; `x` and `y` are all values that must be visible."""
        self.label = label
        self._x, self._y = _padded_range(x), _padded_range(y)
        self._marks: list[str] = []
        self._axes(x_label, y_label, y_percent)

    def line(self, pairs: Pairs, kind: str, *, step: bool = False, title: str = "") -> None:
        """Draws a line, or a step function whose value holds until the next point."""
        if not pairs:
            return
        path = f"M{self._at(*pairs[0])}"
        for (_, before), (x, y) in itertools.pairwise(pairs):
            path += (f"L{self._at(x, before)}" if step else "") + f"L{self._at(x, y)}"
        self._marks.append(f'<path class="line {kind}" d="{path}">{_title(title)}</path>')

    def mark(self, x: float, y: float, kind: str, title: str, *, shape: str = "dot", key: str = "") -> None:
        """Draws a mark (dot, ring, cross, diamond, star); with a `key` it can be selected by pointer and keyboard.

        A mark outside the vertical range is drawn at the edge.
        """
        y = min(max(y, self._y[0]), self._y[1])
        at = f'transform="translate({self._at(x, y).replace(",", " ")})"'
        attributes = f' data-key="{escape(key)}" tabindex="0" role="button" aria-label="{escape(title)}"' if key else ""
        self._marks.append(f'<g class="mark {kind} {shape}" {at}{attributes}>{_SHAPES[shape]}{_title(title)}</g>')

    def vertical_line(self, x: float, kind: str, label: str) -> None:
        """Draws a vertical line with a label, if `x` is inside the frame."""
        if not self._x[0] <= x <= self._x[1]:
            return
        at, right = self._px(x), (x - self._x[0]) / (self._x[1] - self._x[0]) > 0.7
        self._marks.append(
            f'<line class="rule {kind}" x1="{at:.1f}" x2="{at:.1f}" y1="{_TOP}" y2="{HEIGHT - _BOTTOM}"/>'
            f'<text class="tag" x="{at + (-5 if right else 5):.1f}" y="{HEIGHT / 2 + 16 * self._tags():.0f}" '
            f'text-anchor="{"end" if right else "start"}">{escape(label)}</text>'
        )

    def note(self, text: str) -> None:
        """Writes text in the lower right corner of the frame."""
        self._marks.append(f'<text class="tag" x="{WIDTH - _RIGHT - 4}" y="{HEIGHT - _BOTTOM - 10}" '
                           f'text-anchor="end">{escape(text)}</text>')

    def svg(self) -> str:
        """Returns the image."""
        return (f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(self.label)}">'
                + "".join(self._marks) + "</svg>")

    def _tags(self) -> int:
        return sum('class="tag"' in mark for mark in self._marks)

    def _px(self, x: float) -> float:
        return _LEFT + (x - self._x[0]) / (self._x[1] - self._x[0]) * (WIDTH - _LEFT - _RIGHT)

    def _py(self, y: float) -> float:
        return HEIGHT - _BOTTOM - (y - self._y[0]) / (self._y[1] - self._y[0]) * (HEIGHT - _TOP - _BOTTOM)

    def _at(self, x: float, y: float) -> str:
        return f"{self._px(x):.1f},{self._py(y):.1f}"

    def _axes(self, x_label: str, y_label: str, percent: bool) -> None:
        bottom = HEIGHT - _BOTTOM
        for value in ticks(*self._y):
            at = self._py(value)
            self._marks.append(f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>'
                               f'<text x="{_LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">'
                               f'{_number(100 * value if percent else value)}</text>')
        for value in ticks(*self._x):
            self._marks.append(f'<text x="{self._px(value):.1f}" y="{bottom + 17}" text-anchor="middle">'
                               f'{_number(value)}</text>')
        self._marks.append(f'<line class="axis" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{bottom}" y2="{bottom}"/>')
        middle = (_TOP + bottom) / 2
        self._marks.append(f'<text class="name" x="{(_LEFT + WIDTH - _RIGHT) / 2}" y="{HEIGHT - 8}" '
                           f'text-anchor="middle">{escape(x_label)}</text>'
                           f'<text class="name" transform="translate(13 {middle}) rotate(-90)" '
                           f'text-anchor="middle">{escape(y_label)}</text>')


_SHAPES = {
    "dot": '<circle r="5"/>',
    "ring": '<circle r="4.5"/>',
    "cross": '<path d="M-4-4L4 4M-4 4L4-4"/>',
    "diamond": '<path d="M0-6.5L6.5 0L0 6.5L-6.5 0Z"/>',
    "star": '<path d="M0-10L2.6-3.4L9.6-3.1L4.1 1.3L6 8.2L0 4.2L-6 8.2L-4.1 1.3L-9.6-3.1L-2.6-3.4Z"/>',
}


def ticks(low: float, high: float) -> list[float]:
    """Returns about six round values inside the bounds."""
    raw = (high - low) / _TICKS
    power = 10 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw * 0.999)
    return [round(number * step, 12) for number in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _padded_range(values: Iterable[float]) -> tuple[float, float]:
    finite = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(finite), max(finite)
    if high - low < 1e-12 * max(1.0, abs(high)):
        low, high = low - (abs(low) or 1.0) * 0.1, high + (abs(high) or 1.0) * 0.1
    margin = 0.06 * (high - low)
    return (0.0 if 0 <= low < margin else low - margin), high + margin


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _title(text: str) -> str:
    return f"<title>{escape(text)}</title>" if text else ""
