"""How many answers are right, as estimated without labels, beside the truth where it is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aet.report.blocks import figure, note, section, table
from aet.report.plot import frame
from aet.report.svg import picture, tag, thin, twice
from aet.report.text import Metric, count, decimal, entries, mapping, number, percent, plural

Record = Mapping[str, Any]
Stretch = tuple[float, float | None, float | None, float | None, float | None]
"""Its last row; estimate, low, high; truth."""
NAMES = {
    "doc": "difference of confidences",
    "atc": "thresholded confidence",
    "cbpe": "mean confidence",
    "constant": "accuracy when trained",
    "delayed": "confidence, moved by late labels",
    "dropout": "agreement under dropout",
    "seeds": "agreement with another model",
    "line": "agreement on the line",
}


def stretches(record: Record, side: str) -> list[Stretch]:
    """What is known of each stretch of the stream, in order."""
    found = []
    for point in entries(mapping(record, "estimates"), "points"):
        own, true = mapping(point, side), mapping(mapping(point, "truth"), side)
        figures = [number(own.get(key)) for key in ("value", "low", "high")]
        found.append((number(point.get("row")) or 0.0, figures[0], figures[1], figures[2], number(true.get("value"))))
    return found


def sentence(record: Record) -> str:
    """The estimate over the whole stream, and how it compares with the truth; empty where nothing was estimated.

    >>> point = {"row": 200, "served": {"value": 0.8, "low": 0.7, "high": 0.9}, "truth": {"served": {"value": 0.75}}}
    >>> print(sentence({"estimates": {"points": [point]}}).replace(chr(160), " "))
    Estimated without labels, 80.0 % of the served answers were right; in truth 75.0 %. Over 1 stretch the estimate was
    5.0 points off on average, and 100 % of the intervals held the truth.
    """
    known = [s for s in stretches(record, "served") if s[1] is not None]
    if not known:
        return ""
    said = f"Estimated without labels, {percent(mean([s[1] for s in known]))} of the served answers were right"
    both = [(e, low, high, t) for _, e, low, high, t in known if e is not None and t is not None]
    if not both:
        return f"{said}. No true answer is known yet."
    off = 100 * mean([abs(e - t) for e, _, _, t in both])
    held = mean([float((low or 0.0) <= t <= (1.0 if high is None else high)) for _, low, high, t in both])
    true, over = percent(mean([t for *_, t in both])), plural(len(both), "stretch", "stretches")
    return (
        f"{said}; in truth {true}. Over {over} the "
        f"estimate was {decimal(off)} points off on average, and {percent(held, 0)} of the intervals held the truth."
    )


def mean(values: Sequence[float | None]) -> float:
    """Mean of known values."""
    known = [v for v in values if v is not None]
    return sum(known) / len(known)


def estimates(record: Record, metric: Metric) -> str:
    """The estimate along the stream with its interval and the truth, then every estimator over the newest rows."""
    held = mapping(record, "estimates")
    points, now = stretches(record, "served"), entries(held, "now")
    drawn = figure(
        twice(lambda width: estimates_chart(width, points)) if any(p[1] is not None for p in points) else "",
        [("line", "stream", "estimate, without labels"), ("bar", "flow", "its 95 % interval")]
        + ([("line", "served", "truth")] if any(t is not None for *_, t in points) else []),
        table(
            ["row", "estimate", "low", "high", "truth", "source's estimate"],
            [
                [count(row), *map(percent, (value, low, high, truth)), percent(source[1])]
                for (row, value, low, high, truth), source in zip(points, stretches(record, "source"), strict=True)
            ],
        ),
    )
    body = drawn + table(HEAD, [now_row(entry) for entry in now])
    words = "No estimate that sees no label is safe: where answers go wrong and the model stays sure, it is not seen."
    return section(
        "estimates", "How good is it, as far as one can tell?", sentence(record), body and body + note(words)
    )


HEAD = ("newest rows", "estimator", "estimate", "95 % interval", "truth", "known answers")


def now_row(entry: Record) -> list[str]:
    """One estimator over the newest rows."""
    name = str(entry.get("estimator", "?"))
    return [
        f"{entry.get('answers', '?')}, {count(number(entry.get('rows')))}",
        NAMES.get(name, name),
        percent(number(entry.get("value"))),
        between(entry, "low", "high"),
        percent(number(entry.get("truth"))),
        count(number(entry.get("labels"))),
    ]


def between(entry: Record, low: str, high: str) -> str:
    """An interval."""
    return f"{percent(number(entry.get(low)))} to {percent(number(entry.get(high)))}"


def estimates_chart(width: int, points: Sequence[Stretch]) -> str:
    """Estimate, interval and truth over the rows of the stream."""
    shown = [p for p in thin(points, width) if p[1] is not None]
    wide = width > 600
    values = [v for p in shown for v in p[1:] if v is not None]
    ys = (max(0.0, min(values) - 0.03), min(1.0, max(values) + 0.03))
    plot = frame(width, 300 if wide else 260, (0, shown[-1][0]), ys, right=130 if wide else 14, bottom=52)
    ends = [(row, low) for row, _, low, _, _ in reversed(shown) if low is not None]
    around = [(row, high) for row, _, _, high, _ in shown if high is not None] + ends
    spread = "M" + "L".join(f"{plot.x(row):.1f} {plot.y(end):.1f}" for row, end in around) + "Z" if around else ""
    layers = [tag("path", class_="flow", d=spread), plot.grid(lambda v: percent(v, 0))]
    layers.append(plot.line([(p[0], p[1]) for p in shown], "stream"))
    truth = [(p[0], p[4]) for p in shown]
    known = [t for _, t in truth if t is not None]
    if known:
        layers.append(plot.line(truth, "served"))
    if wide:
        layers.append(plot.ends([("estimate", shown[-1][1], ""), ("truth", truth[-1][1], "served")], percent))
    told = [
        (p[0], f"row {count(p[0])}\nestimate {percent(p[1])}\ntruth {percent(p[4])}") for p in thin(shown, width // 20)
    ]
    layers += [plot.axis("rows of the stream"), plot.hits(told)]
    about = f"estimate ends at {percent(shown[-1][1])}" + (f", truth at {percent(known[-1])}" if known else "")
    return picture(width, plot.bottom + 44, "".join(layers), "Estimated accuracy over the stream", about)
