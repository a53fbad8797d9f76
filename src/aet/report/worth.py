"""What the parts of training did, and what each was worth beside the same run without it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aet.report.blocks import figure, note, section, table
from aet.report.strips import Rows
from aet.report.svg import Scale, dot, extent, label, line, picture, rect, ticks, tip, twice
from aet.report.text import Metric, decimal, duration, entries, escape, mapping, number, signed

Record = Mapping[str, Any]
Entry = tuple[str, Mapping[str, Any]]


def worth(record: Record, metric: Metric) -> str:
    """Which adaptive parts were on, what they did, and the runs without them."""
    model = mapping(record, "model")
    on, compared = entries(model, "switches"), entries(model, "worth")
    did = "".join(
        f"<div><dt>{escape(entry.get('name', '?'))} ({escape(settings(entry))})</dt>"
        f"<dd>{escape(entry.get('acted', ''))}</dd></div>"
        for entry in on
    )
    body = f'<dl class="facts">{did}</dl>' if did else ""
    if compared:
        metric = Metric(str(compared[0].get("score") or metric.key))
        marks = [("dot", "served", "held-out rows"), ("ring", "proposal", "the same rows under simulated drift")]
        drawn = twice(lambda width: worth_chart(width, compared, metric))
        body += figure(drawn, marks, worth_table(compared, metric), "Gain by each part, with its 95 % interval")
        body += note(
            "Paired over the held-out rows, one run each: the interval knows the noise of the rows, not of other seeds."
        )
    title = "What each part was worth" if compared else "What was switched on"
    return section("worth", title, finding(compared, metric), body)


def settings(entry: Mapping[str, Any]) -> str:
    """Settings that were given, in words."""
    given = mapping(entry, "settings")
    return ", ".join(f"{name} {shown(value)}" for name, value in given.items()) or "defaults"


def shown(value: Any) -> str:
    """One setting; a number that is not known is a dash."""
    plain = value is not None and not isinstance(value, float)
    return str(value) if plain else decimal(number(value), 3)


def named(entry: Mapping[str, Any]) -> str:
    """A part's name; all together stand for what the whole was worth."""
    name = str(entry.get("part", "?"))
    return "all together" if name == "all" else name


def finding(compared: Sequence[Mapping[str, Any]], metric: Metric) -> str:
    """Which parts helped, which harmed, beyond the noise of the rows."""
    helped = [named(e) for e in compared if (number(e.get("low")) or 0.0) > 0]
    harmed = [named(e) for e in compared if (number(e.get("high")) or 0.0) < 0]
    said = [f"{', '.join(helped)} raised {metric.name} beyond the noise of the rows." if helped else ""]
    said += [f"{', '.join(harmed)} lowered it." if harmed else ""]
    if compared and not helped and not harmed:
        said = [f"No part changed {metric.name} by more than the noise of the rows."]
    return " ".join(sentence for sentence in said if sentence)


def pieces(entry: Mapping[str, Any]) -> list[Entry]:
    """The figures on plain rows, and on drifted ones where they are known."""
    drifted = mapping(entry, "drifted")
    return [("served", entry), *([("proposal", drifted)] if drifted else [])]


def worth_chart(width: int, compared: Sequence[Mapping[str, Any]], metric: Metric) -> str:
    """A dot and an interval each, right of zero where the part helped."""
    rows = Rows(width, height=34, figures=120)
    known = [number(e.get(key)) for entry in compared for _, e in pieces(entry) for key in ("low", "high")]
    low, high = extent([0.0, *known])
    scale = Scale(low, high, rows.start, rows.stop)
    top, bottom = 20.0, 20.0 + len(compared) * rows.step
    drawn = [rows.head("gain")]
    for value in ticks(scale.low, scale.high, max(2, int((rows.stop - rows.start) / 90))):
        x = scale(value)
        drawn.append(line(x, top, x, bottom, "zero" if value == 0 else "grid"))
        drawn.append(label(x, bottom + 18, points(value, metric), class_="label muted", anchor="middle"))
    for i, entry in enumerate(compared):
        middle = rows.middle(i, top)
        drawn.append(rows.title(middle, named(entry)))
        for place, (class_, figures) in enumerate(pieces(entry)):
            drawn.append(interval(figures, middle + 9 * place - 4, class_, scale, metric))
        drawn.append(rows.figure(middle, points(number(entry.get("difference")), metric), class_="label strong"))
    about = "; ".join(f"{named(e)}: {points(number(e.get('difference')), metric)}" for e in compared)
    return picture(width, bottom + 26, "".join(drawn), f"Gain in {metric.name} by each part", about)


def interval(figures: Mapping[str, Any], y: float, class_: str, scale: Scale, metric: Metric) -> str:
    """One difference with its interval."""
    mean, low, high = (number(figures.get(key)) for key in ("difference", "low", "high"))
    if mean is None:
        return ""
    said = tip(f"{points(mean, metric)} ({points(low, metric)} to {points(high, metric)})")
    drawn = ""
    if low is not None and high is not None:
        drawn = rect(scale(low), y - 2, max(2.0, scale(high) - scale(low)), 4, "bar source soft", said, r=2)
    mark = "ring proposal" if class_ == "proposal" else class_
    return drawn + dot(scale(mean), y, 4, mark, said)


def points(value: float | None, metric: Metric) -> str:
    """A difference: in points where the metric is a share.

    >>> points(0.0125, Metric("accuracy")), points(-0.5, Metric("mae"))
    ('+1.25', '−0.500')
    """
    return signed(100 * value, 2) if value is not None and metric.share else signed(value, 3)


def worth_table(compared: Sequence[Mapping[str, Any]], metric: Metric) -> str:
    """The same as numbers."""
    head = ["part", "with", "without", "gain", "95 % interval", "gain under drift", "time with", "time without"]
    unit = 100 if metric.share else 1
    rows = []
    for entry in compared:
        with_, without, low, high = (number(entry.get(key)) for key in ("with", "without", "low", "high"))
        rows.append(
            [
                named(entry),
                metric.show(with_),
                metric.show(without),
                points(number(entry.get("difference")), metric),
                f"{decimal(low and unit * low, 2)} to {decimal(high and unit * high, 2)}",
                points(number(mapping(entry, "drifted").get("difference")), metric),
                duration(number(entry.get("seconds"))),
                duration(number(entry.get("seconds_without"))),
            ]
        )
    return table(head, rows)
