"""Charts of one row a thing: parts of the stream and columns that moved."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aet.report.charts import axis_value
from aet.report.svg import (
    Scale,
    clip,
    dot,
    extent,
    label,
    line,
    picture,
    rect,
    tag,
    text_width,
    ticks,
    tip,
)
from aet.report.text import Metric, compact, count, mapping, number, percent

Entries = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Rows:
    """Where the name, the strip and the figures of each entry go.

    On a desk the name stands beside the strip, on a phone above it.
    """

    width: float
    name: float = 170
    figures: float = 170
    height: float = 40

    @property
    def wide(self) -> bool:
        """Whether names stand beside the strips."""
        return self.width > 600

    @property
    def start(self) -> float:
        """Left end of the strips."""
        return self.name if self.wide else 6

    @property
    def stop(self) -> float:
        """Right end of the strips."""
        return self.width - self.figures if self.wide else self.width - 8

    @property
    def step(self) -> float:
        """Height of an entry."""
        return self.height if self.wide else self.height + 18

    def middle(self, i: int, top: float) -> float:
        """Middle of the strip of entry `i`."""
        return top + i * self.step + (self.height / 2 if self.wide else self.height / 2 + 18)

    def title(self, middle: float, words: object, extra: str = "") -> str:
        """Name of an entry."""
        y, room = (middle + 4, self.name - 18) if self.wide else (middle - self.height / 2 - 2, self.width * 0.55)
        shown = clip(words, room)
        text = label(0, y, shown, class_="label strong", said=words if shown != str(words) else None)
        start = text_width(shown) + 6
        fits = start + text_width(extra, 11) <= room + 10
        return text + (label(start, y, extra, class_="small muted") if extra and fits else "")

    def figure(self, middle: float, words: object, column: int = 0, class_: str = "label") -> str:
        """A figure at the right; `column` counts from the right and only column 0 is kept on a phone."""
        if not self.wide:
            y = middle - self.height / 2 - 2
            return label(self.width, y, words, class_=class_, anchor="end") if column == 0 else ""
        return label(self.width - 100 * column, middle + 4, words, class_=class_, anchor="end")

    def head(self, words: str, column: int = 0) -> str:
        """Heading of a column of figures."""
        if not self.wide and column:
            return ""
        return label(self.width - 100 * column, 11, words, class_="small muted", anchor="end")


def parts_chart(width: int, parts: Entries, metric: Metric) -> str:
    """Source and served of each part, joined; the proposal as a ring, methods as small ticks."""
    rows = Rows(width, figures=312, height=34)
    values = [number(p.get(k)) for p in parts for k in ("source", "proposal", "served")]
    values += [number(v) for p in parts for v in mapping(p, "methods").values()]
    low, high = extent(values)
    scale = Scale(
        max(0.0, low) if metric.share else low,
        min(1.0, high) if metric.share else high,
        rows.start,
        rows.stop,
    )
    top, bottom = 20.0, 20.0 + len(parts) * rows.step
    drawn = (
        [rows.head("gain"), rows.head("adapted served", 1), rows.head("labels", 2)]
        if rows.wide
        else [rows.head("gain")]
    )
    for value in ticks(scale.low, scale.high, max(2, int((rows.stop - rows.start) / 90))):
        x = scale(value)
        drawn.append(line(x, top, x, bottom, "grid"))
        drawn.append(label(x, bottom + 18, axis_value(metric, value), class_="label muted", anchor="middle"))
    for i, part in enumerate(parts):
        y = rows.middle(i, top)
        rows_known = number(part.get("rows"))
        drawn.append(rows.title(y, part.get("name", f"part {i + 1}"), count(rows_known) if rows_known else ""))
        drawn.append(dumbbell(part, y, scale, metric))
        gain = metric.gain(number(part.get("source")), number(part.get("served")))
        drawn.append(rows.figure(y, metric.change(gain), class_="label strong"))
        drawn.append(rows.figure(y, percent(number(part.get("served_by_proposal")), 0), 1))
        drawn.append(rows.figure(y, count(number(part.get("labels"))), 2))
    about = "; ".join(
        f"{p.get('name', i + 1)}: "
        + ", ".join(f"{key} {metric.show(number(p.get(key)))}" for key in ("source", "served"))
        for i, p in enumerate(parts)
    )
    return picture(width, bottom + 26, "".join(drawn), f"{metric.name} part by part", about)


def dumbbell(part: Mapping[str, Any], y: float, scale: Scale, metric: Metric) -> str:
    """The marks of one part."""
    source, proposal, served = (number(part.get(key)) for key in ("source", "proposal", "served"))
    drawn = [line(scale.start, y, scale.stop, y, "lane")]
    for name, value in mapping(part, "methods").items():
        if (v := number(value)) is not None:
            drawn.append(line(scale(v), y - 6, scale(v), y + 6, "tick", tip(f"{name} {metric.show(v)}")))
    if source is not None and served is not None:
        class_ = "join loss" if (metric.gain(source, served) or 0) < 0 else "join"
        drawn.append(line(scale(source), y, scale(served), y, class_))
    for value, class_, radius in (
        (proposal, "ring proposal", 7.0),
        (source, "source", 5.0),
        (served, "served", 5.0),
    ):
        if value is not None:
            drawn.append(dot(scale(value), y, radius, class_, tip(f"{class_.split()[-1]} {metric.show(value)}")))
    if source is None and served is None:
        drawn.append(label(scale.start + 8, y - 4, "no true answers", class_="small muted"))
    return "".join(drawn)


def drift_chart(width: int, columns: Entries) -> str:
    """Quantiles of the source above those of the stream, each column on its own scale."""
    rows = Rows(width, name=180, figures=246, height=44)
    drawn = [rows.head("moved by"), rows.head("median", 1)]
    for i, entry in enumerate(columns):
        y = rows.middle(i, 18)
        old, new = quantiles(entry, "source"), quantiles(entry, "stream")
        scale = Scale(*extent([*old, *new], 0.02), rows.start, rows.stop)
        group = entry.get("input")
        extra = str(group) if group and group != entry.get("column") else ""
        drawn.append(rows.title(y, compared(entry), f"in {extra}" if extra else ""))
        drawn.append(flow(old, new, y, scale) + strip(old, y - 7, scale, "source") + strip(new, y + 7, scale, "stream"))
        drawn.append(rows.figure(y, compact(number(entry.get("distance"))), class_="label strong"))
        drawn.append(rows.figure(y - 6 if missing_words(entry) else y, f"{compact(old[2])} → {compact(new[2])}", 1))
        if rows.wide:
            drawn.append(label(width - 100, y + 12, missing_words(entry), class_="small alert", anchor="end"))
    about = "; ".join(f"{compared(e)} moved by {compact(number(e.get('distance')))}" for e in columns)
    return picture(width, 18 + len(columns) * rows.step + 4, "".join(drawn), "Columns that moved most", about)


def compared(entry: Mapping[str, Any]) -> str:
    """What is compared of a column: its values, or what was measured of them.

    >>> compared({"column": "comment", "measure": "length"}), compared({"column": "age"})
    ('length of comment', 'age')
    """
    measure, column = entry.get("measure"), str(entry.get("column", "?"))
    return f"{measure} of {column}" if measure else column


def quantiles(entry: Mapping[str, Any], key: str) -> list[float]:
    """The five quantiles, or none where one is unknown."""
    values = [number(v) for v in several(entry, key)]
    known = [v for v in values if v is not None]
    return known if len(known) == len(values) == 5 else []


def several(entry: Mapping[str, Any], key: str) -> list[Any]:
    """The list under `key`, empty where missing."""
    value = entry.get(key)
    return list(value) if isinstance(value, Iterable) and not isinstance(value, str) else []


def missing_words(entry: Mapping[str, Any]) -> str:
    """How the share of missing values changed, if it did by half a point."""
    shares = [number(v) for v in several(entry, "missing")]
    if len(shares) != 2 or shares[0] is None or shares[1] is None or abs(shares[1] - shares[0]) < 0.005:
        return ""
    return f"missing {percent(shares[0])} → {percent(shares[1])}"


def strip(q: Sequence[float], y: float, scale: Scale, class_: str) -> str:
    """5 to 95 % as a line, the middle half as a bar, the median as a notch."""
    a, b, m, c, d = (scale(v) for v in q)
    words = f"{class_}: median {compact(q[2])}\nhalf of the rows {compact(q[1])} to {compact(q[3])}"
    words += f"\n9 of 10 rows {compact(q[0])} to {compact(q[4])}"
    whisker = line(a, y, d, y, f"whisker {class_}")
    bar = rect(b, y - 4.5, max(2.0, c - b), 9, f"bar {class_}", tip(words), r=3)
    return whisker + bar + line(m, y - 4.5, m, y + 4.5, "notch")


def flow(old: Sequence[float], new: Sequence[float], y: float, scale: Scale) -> str:
    """A faint band from the middle half of the source to that of the stream."""
    (a, b), (c, d) = ((scale(q[1]), scale(q[3])) for q in (old, new))
    corners = ((a, y - 7), (b, y - 7), (d, y + 7), (c, y + 7))
    return tag("polygon", class_="flow", points=" ".join(f"{round(px, 1):g},{round(py, 1):g}" for px, py in corners))
