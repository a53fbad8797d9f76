"""Inline SVG from small pure functions: elements, scales, ticks and labels that do not collide."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from aet.report.text import escape

WIDE, HALF, NARROW = 920, 440, 342
FONT = 12.5
Point = tuple[float, float | None]
T = TypeVar("T")


def tag(name: str, content: str = "", **attributes: object) -> str:
    """One element; `_` in an attribute name becomes `-`, attributes that are None are left out.

    >>> tag("circle", cx=1.26, cy=2, class_="dot")
    '<circle cx="1.3" cy="2" class="dot"/>'
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_value(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return f"<{name}{written}>{content}</{name}>" if content else f"<{name}{written}/>"


def _value(value: object) -> str:
    return f"{round(value, 1):g}" if isinstance(value, float) else escape(value)


def label(
    x: float,
    y: float,
    words: object,
    *,
    class_: str = "label",
    anchor: str | None = None,
    said: object = None,
) -> str:
    """A line of text with its baseline at `y`, and what it says when pointed at; both are escaped here."""
    more = "" if said is None else tip(said)
    return tag("text", escape(words) + more, x=float(x), y=float(y), class_=class_, text_anchor=anchor)


def tip(words: object) -> str:
    """What the reader sees when pointing at an element."""
    return tag("title", escape(words))


def line(x1: float, y1: float, x2: float, y2: float, class_: str, inside: str = "") -> str:
    """A straight line."""
    return tag("line", inside, x1=float(x1), y1=float(y1), x2=float(x2), y2=float(y2), class_=class_)


def rect(x: float, y: float, width: float, height: float, class_: str, inside: str = "", r: float = 0) -> str:
    """A rectangle that is never thinner than nothing."""
    size = {"width": max(0.0, float(width)), "height": max(0.0, float(height))}
    return tag("rect", inside, x=float(x), y=float(y), **size, rx=float(r) if r else None, class_=class_)


def dot(x: float, y: float, radius: float, class_: str, inside: str = "") -> str:
    """A disc."""
    return tag("circle", inside, cx=float(x), cy=float(y), r=float(radius), class_=class_)


def path(points: Iterable[tuple[float, float] | None]) -> str:
    """The `d` of a line through points; None lifts the pen.

    >>> path([(0, 1), (2, 3), None, (4, 5)])
    'M0 1L2 3M4 5h0'
    """
    runs: list[list[str]] = [[]]
    for point in points:
        if point is None:
            runs.append([])
        else:
            runs[-1].append(f"{round(point[0], 1):g} {round(point[1], 1):g}")
    # A line of one point has no length; with round ends it shows as a dot.
    return "".join("M" + "L".join(run) + ("h0" if len(run) == 1 else "") for run in runs if run)


@dataclass(frozen=True)
class Scale:
    """Maps `[low, high]` of the data to `[start, stop]` on the page.

    >>> Scale(0, 10, 100, 200)(5)
    150.0
    """

    low: float
    high: float
    start: float
    stop: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Place of a value, held inside the page."""
        low, high = self.low, self.high
        if self.log:
            low, high, value = math.log10(low), math.log10(high), math.log10(max(value, low))
        part = (value - low) / (high - low) if high > low else 0.5
        return self.start + min(1.0, max(0.0, part)) * (self.stop - self.start)


def ticks(low: float, high: float, most: int) -> list[float]:
    """At most about `most` round numbers inside `[low, high]`.

    >>> ticks(0, 1, 5)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    if not high > low:
        return [low]
    raw = (high - low) / max(1, most)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * m for m in (1, 2, 2.5, 5, 10) if power * m >= raw * 0.75)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def extent(values: Iterable[float | None], pad: float = 0.06) -> tuple[float, float]:
    """Lowest and highest known value with a little air; (0, 1) where nothing is known."""
    known = [v for v in values if v is not None]
    if not known:
        return 0.0, 1.0
    low, high = min(known), max(known)
    air = pad * (high - low) or abs(high) * pad or 0.5
    return low - air, high + air


def text_width(words: str, size: float = FONT) -> float:
    """A cautious guess of how wide words are set in a sans serif."""
    return size * sum(1.0 if unicodedata.east_asian_width(c) in "WF" else 0.59 for c in words)


def clip(words: object, width: float, size: float = FONT) -> str:
    """Words cut with an ellipsis so that they fit a width.

    >>> clip("temperature", 50)
    'tempe…'
    """
    words = str(words)
    if text_width(words, size) <= width:
        return words
    while words and text_width(words + "…", size) > width:
        words = words[:-1]
    return words + "…"


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Places near the wanted ones, at least `gap` apart, inside `[low, high]` while they fit.

    >>> spread([10, 11, 30], 10, 0, 100)
    [10, 20, 30]
    """
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    places = [float(w) for w in wanted]
    for before, i in zip([None, *order], order, strict=False):
        places[i] = max(wanted[i], low if before is None else places[before] + gap)
    limit = high
    for i in reversed(order):
        places[i] = min(places[i], limit)
        limit = places[i] - gap
    return places


def thin(items: Sequence[T], most: int) -> list[T]:
    """At most `most` items at even steps, always with the first and the last."""
    if len(items) <= most:
        return list(items)
    return [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)]


def picture(width: int, height: float, body: str, name: str, about: str) -> str:
    """One drawing with its accessible name and description."""
    described = tag("desc", escape(about)) if about else ""
    box = f"0 0 {width} {math.ceil(height)}"
    return tag(
        "svg",
        described + body,
        viewBox=box,
        width=width,
        height=math.ceil(height),
        role="img",
        aria_label=f"{name}. {about}" if about else name,
    )


def twice(draw: Callable[[int], str], wide: int = WIDE) -> str:
    """A drawing set for a desk and for a phone; the style sheet shows one of the two."""
    return f'<div class="wide">{draw(wide)}</div><div class="narrow">{draw(NARROW)}</div>'
