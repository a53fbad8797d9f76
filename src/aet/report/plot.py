"""A frame with two axes, and the layers that charts over rows are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from aet.report.svg import (
    Point,
    Scale,
    clip,
    dot,
    label,
    line,
    path,
    rect,
    spread,
    tag,
    text_width,
    ticks,
    tip,
)
from aet.report.text import compact, count

Span = tuple[float, float, str, str]
Format = Callable[[float], str]


@dataclass(frozen=True)
class Plot:
    """A rectangle of the page with an x and a y scale; every method returns one layer of SVG."""

    x: Scale
    y: Scale

    @property
    def left(self) -> float:
        """Left edge."""
        return self.x.start

    @property
    def right(self) -> float:
        """Right edge."""
        return self.x.stop

    @property
    def top(self) -> float:
        """Upper edge."""
        return self.y.stop

    @property
    def bottom(self) -> float:
        """Lower edge."""
        return self.y.start

    def grid(self, write: Format, values: Sequence[float] | None = None) -> str:
        """Horizontal hairlines with their values to the left."""
        most = max(2, int((self.bottom - self.top) / 40))
        marks = ticks(self.y.low, self.y.high, most) if values is None else values
        return "".join(
            line(self.left, self.y(v), self.right, self.y(v), "grid")
            + label(self.left - 8, self.y(v) + 4, write(v), class_="label muted", anchor="end")
            for v in marks
        )

    def axis(self, name: str, write: Format = count, drop: float = 0) -> str:
        """Values along the bottom, `drop` lower than the frame, and what they count."""
        most = max(2, int((self.right - self.left) / 85))
        marks = ticks(self.x.low, self.x.high, most)
        base = self.bottom + drop + 17
        words = "".join(label(self.x(v), base, write(v), class_="label muted", anchor="middle") for v in marks)
        return words + label(self.right, base + 17, name, class_="label muted", anchor="end")

    def line(self, points: Sequence[Point], class_: str) -> str:
        """A line through known points, broken where a value is unknown; one point alone is a disc."""
        places = [None if v is None else (self.x(x), self.y(v)) for x, v in points]
        alone = " lone" if len(places) - places.count(None) == 1 else ""
        return tag("path", class_=f"line {class_}{alone}", d=path(places))

    def step(self, points: Sequence[Point], class_: str) -> str:
        """A line that keeps its last value until the next point."""
        corners: list[tuple[float, float] | None] = []
        for x, value in points:
            if value is None:
                continue
            if corners and corners[-1] is not None:
                corners.append((self.x(x), corners[-1][1]))
            corners.append((self.x(x), self.y(value)))
        if corners and corners[-1] is not None:
            corners.append((self.right, corners[-1][1]))
        return tag("path", class_=f"line {class_}", d=path(corners))

    def dots(self, points: Iterable[tuple[float, float, str]], class_: str, radius: float = 3.5) -> str:
        """Discs at points, each with what it says when pointed at."""
        return "".join(dot(self.x(x), self.y(v), radius, class_, tip(words)) for x, v, words in points)

    def bands(self, spans: Sequence[Span]) -> str:
        """Every other span faintly tinted; above it the longer of its two names that fits."""
        drawn = []
        for i, (start, stop, *names) in enumerate(spans):
            a, b = self.x(start), self.x(stop)
            if i % 2:
                drawn.append(rect(a, self.top, b - a, self.bottom - self.top, "band"))
            if i:
                drawn.append(line(a, self.top - 6, a, self.bottom, "edge"))
            fits = next((n for n in names if text_width(n, 11) <= b - a - 4), None)
            if fits is not None:
                drawn.append(label((a + b) / 2, self.top - 9, fits, class_="small muted", anchor="middle"))
        return "".join(drawn)

    def spans(self, spans: Iterable[tuple[float, float, str, str]], y: float, height: float) -> str:
        """A ribbon at `y`: from, to, class, and what it says when pointed at."""
        return "".join(
            rect(self.x(a), y, self.x(b) - self.x(a), height, class_, tip(words)) for a, b, class_, words in spans
        )

    def ends(self, names: Sequence[tuple[str, float | None, str]], write: Format) -> str:
        """Names of lines to the right of the frame, at the height where the lines end."""
        known = [(name, value, class_) for name, value, class_ in names if value is not None]
        places = spread([self.y(v) for _, v, _ in known], 16, self.top, self.bottom)
        return "".join(
            label(self.right + 10, y + 4, f"{clip(name, 88)} {write(value)}", class_=f"end {class_}")
            for (name, value, class_), y in zip(known, places, strict=True)
        )

    def threshold(self, value: float, words: str) -> str:
        """A dashed line across the frame with its meaning above it."""
        y = self.y(value)
        said = label(self.right - 6, y - 6, words, class_="small strong halo", anchor="end")
        return line(self.left, y, self.right, y, "threshold") + said

    def moments(self, at: Iterable[tuple[float, str]], class_: str, drop: float = 0) -> str:
        """Vertical lines at rows where something happened."""
        return "".join(line(self.x(x), self.top, self.x(x), self.bottom + drop, class_, tip(words)) for x, words in at)

    def rug(self, at: Iterable[tuple[float, str]], y: float) -> str:
        """Small dots at `y`; without words where something else says them."""
        return "".join(dot(self.x(x), y, 2.4, "rug", tip(words) if words else "") for x, words in at)

    def hits(self, at: Sequence[tuple[float, str]]) -> str:
        """Invisible columns that say what holds at their row when pointed at."""
        xs = [self.x(x) for x, _ in at]
        edges = [self.left, *[(a + b) / 2 for a, b in pairwise(xs)], self.right]
        height = self.bottom - self.top
        return "".join(
            rect(a, self.top, b - a, height, "hit", tip(words))
            for (_, words), (a, b) in zip(at, pairwise(edges), strict=True)
        )


def frame(
    width: float,
    height: float,
    xs: tuple[float, float],
    ys: tuple[float, float],
    *,
    left: float = 52,
    right: float = 20,
    top: float = 12,
    bottom: float = 40,
    log: bool = False,
) -> Plot:
    """A plot inside margins; `log` for a logarithmic y scale."""
    return Plot(Scale(*xs, left, width - right), Scale(*ys, height - bottom, top, log=log))


def powers(low: float, high: float) -> list[float]:
    """Powers of ten inside `[low, high]`, thinned to about six.

    >>> powers(0.5, 200)
    [1.0, 10.0, 100.0]
    """
    inside = [10.0**e for e in range(-12, 16) if low <= 10.0**e <= high]
    return inside[:: max(1, -(-len(inside) // 6))]


def plain(value: float) -> str:
    """A tick value without needless zeros.

    >>> plain(10.0), plain(0.25)
    ('10', '0.25')
    """
    return count(value) if value == round(value) else f"{value:g}" if abs(value) < 1e4 else compact(value)
