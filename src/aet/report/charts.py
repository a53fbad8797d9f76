"""Charts over rows and epochs: accuracy, guard evidence, events, state, history, reliability."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from aet.report.plot import Plot, Span, frame, plain, powers
from aet.report.svg import Point, Scale, dot, extent, label, line, picture, rect, thin, ticks, tip
from aet.report.text import Metric, compact, count, decimal, mapping, number, percent

Entries = Sequence[Mapping[str, Any]]
Ribbon = Sequence[tuple[float, float, str]]
Moments = Sequence[tuple[float, str]]
T = TypeVar("T")
MARK = 20
"""Pixels that a mark is given: a chart draws no more of a sort than fit, whatever the stream's length."""


def fitting(items: Sequence[T], width: int) -> list[T]:
    """Items at even steps, as many as there is room for."""
    return thin(items, width // MARK)


def column(points: Entries, at: str, key: str, inside: str | None = None) -> list[Point]:
    """Pairs (row, value) of one key; points without a row are left out."""
    pairs = []
    for point in points:
        x = number(point.get(at))
        if x is not None:
            pairs.append((x, number((mapping(point, inside) if inside else point).get(key))))
    return pairs


def method_names(points: Entries) -> list[str]:
    """Every method named in any point, in order of appearance."""
    return list(dict.fromkeys(str(name) for point in points for name in mapping(point, "methods")))


def series(points: Entries) -> list[tuple[str, str, list[Point]]]:
    """Lines of the accuracy chart, faintest first: name, class, points."""
    lines = [
        (name, f"method m{i % 4}", column(points, "row", name, "methods"))
        for i, name in enumerate(method_names(points))
    ]
    lines += [(name, name, column(points, "row", name)) for name in ("source", "proposal", "served")]
    return [(name, class_, pairs) for name, class_, pairs in lines if any(v is not None for _, v in pairs)]


def accuracy_chart(
    width: int, points: Entries, spans: Sequence[Span], ribbon: Ribbon, labels: Moments, metric: Metric
) -> str:
    """Source, proposal, served and methods over the rows of the stream, with who served below."""
    lines = series(points)
    if not lines:
        return ""
    low, high = extent(v for _, _, pairs in lines for _, v in pairs)
    ys = (max(0.0, low), min(1.0, high)) if metric.share else (low, high)
    last = max([pairs[-1][0] for _, _, pairs in lines] + [stop for _, stop, *_ in spans])
    wide, mostly = width > 600, ", mostly" if len(ribbon) > width // MARK else ""
    ribbon = coarse(ribbon, width // MARK)
    plot = frame(width, 390 if wide else 330, (0, last), ys, right=130 if wide else 14, top=30, bottom=88)
    drawn = [plot.bands(spans if len(spans) <= width // MARK else ()), plot.grid(lambda v: axis_value(metric, v))]
    drawn += [plot.line(thin(pairs, width), class_) for _, class_, pairs in lines]
    switches = [(start, f"row {count(start)}{mostly}: {SERVING[who]}") for start, _, who in ribbon[1:]]
    drawn.append(plot.moments(switches, "switch", drop=20))
    said = [(a, b, f"by {who}", f"rows {count(a)} to {count(b)}{mostly}: {SERVING[who]}") for a, b, who in ribbon]
    drawn.append(plot.spans(said, plot.bottom + 10, 8))
    drawn.append(plot.rug(fitting(labels, width), plot.bottom + 26))
    if wide:
        drawn.append(plot.ends([(name, final(pairs), class_) for name, class_, pairs in lines], metric.show))
    drawn += [plot.axis("rows of the stream", drop=26), plot.hits(readings(lines, metric.show, width))]
    about = "; ".join(f"{name} ends at {metric.show(final(pairs))}" for name, _, pairs in reversed(lines))
    return picture(width, plot.bottom + 68, "".join(drawn), f"{metric.name} over the stream", about)


def coarse(ribbon: Ribbon, most: int) -> Ribbon:
    """Who served; where more than `most` spans are too many to draw, who served most of each of `most` stretches.

    >>> coarse([(0, 4, "source"), (4, 5, "proposal"), (5, 6, "source"), (6, 12, "proposal")], 2)
    [(0.0, 6.0, 'source'), (6.0, 12.0, 'proposal')]
    """
    if len(ribbon) <= most:
        return ribbon
    size, spans = ribbon[-1][1] / most, list[tuple[float, float, str]]()
    for low, high in ((i * size, (i + 1) * size) for i in range(most)):
        adapted = sum(max(0.0, min(b, high) - max(a, low)) for a, b, who in ribbon if who == "proposal")
        who = "proposal" if 2 * adapted > size else "source"
        start = spans.pop()[0] if spans and spans[-1][2] == who else low
        spans.append((start, high, who))
    return spans


SERVING = {"source": "the source's answers are served", "proposal": "the adapted answers are served"}


def axis_value(metric: Metric, value: float) -> str:
    """A tick of the metric's axis."""
    return percent(value, 0) if metric.share else plain(value)


def final(pairs: Sequence[Point]) -> float | None:
    """The last known value."""
    return next((v for _, v in reversed(pairs) if v is not None), None)


def readings(
    lines: Sequence[tuple[str, str, list[Point]]],
    write: Callable[[float | None], str],
    width: int,
    at_words: str = "around row",
) -> list[tuple[float, str]]:
    """What the chart says at each row."""
    at: dict[float, list[str]] = {}
    for name, _, pairs in reversed(lines):
        for x, value in pairs:
            at.setdefault(x, []).append(f"{name} {write(value)}")
    return [(x, "\n".join([f"{at_words} {count(x)}", *at[x]])) for x in fitting(sorted(at), width)]


def guard_chart(width: int, tests: Entries, ribbon: Ribbon) -> str:
    """Evidence for the adapted answers on a log scale, the bar it has to pass, and the looks it came from."""
    wealth = [(x, v) for x, v in column(tests, "row", "wealth") if v is not None and v > 0]
    if not wealth:
        return ""
    bars = [v for _, v in column(tests, "row", "threshold") if v is not None and v > 0]
    values = [v for _, v in wealth] + bars
    last = max([wealth[-1][0], *[stop for _, stop, _ in ribbon]])
    wide = width > 600
    ys = (min(0.5, min(values)) / 1.5, max(values) * 2.2)
    plot = frame(width, 300 if wide else 270, (0, last), ys, right=130 if wide else 14, bottom=60, log=True)
    drawn = [plot.grid(plain, powers(*ys))]
    earned = [(a, b, "earned", SERVING[who]) for a, b, who in coarse(ribbon, width // MARK) if who == "proposal"]
    drawn.insert(0, plot.spans(earned, plot.top, plot.bottom - plot.top))
    if bars:
        drawn.append(plot.threshold(bars[-1], f"needed: {plain(bars[-1])}"))
    drawn.append(plot.step(thin(wealth, width), "served"))
    if wide:
        drawn.append(plot.ends([("evidence", wealth[-1][1], "served")], compact))
    told = [(x, test_words(t)) for t in fitting(tests, width) if (x := number(t.get("row"))) is not None]
    drawn += [plot.rug([(x, "") for x, _ in told], plot.bottom + 9)]
    drawn += [plot.axis("rows of the stream", drop=10), plot.hits(told)]
    about = f"evidence ends at {compact(wealth[-1][1])}" + (f", {plain(bars[-1])} is needed" if bars else "")
    return picture(width, plot.bottom + 52, "".join(drawn), "Evidence of the guard", about)


def test_words(test: Mapping[str, Any]) -> str:
    """What one look of the guard says."""
    said = [f"row {count(number(test.get('row')))}", f"evidence {compact(number(test.get('wealth')))}"]
    if (labels := number(test.get("labels"))) is not None:
        said.append(f"{count(labels)} labels so far")
    return "\n".join([*said, *([str(test["reason"])] if test.get("reason") else [])])


def lanes_chart(width: int, lanes: Mapping[str, Moments], names: Mapping[str, str], last: float) -> str:
    """One lane a kind of event, one tick an event."""
    left, step, top = 132.0, 26.0, 8.0
    scale = Scale(0, last, left, width - 12)
    drawn, y = [], top
    for kind, moments in lanes.items():
        drawn.append(line(left, y + 10, width - 12, y + 10, "grid"))
        drawn.append(label(left - 14, y + 14, names.get(kind, kind), class_="label", anchor="end"))
        for x, words in fitting(moments, width // 2):
            drawn.append(dot(scale(x), y + 10, 4, f"event {kind if kind in names else 'other'}", tip(words)))
        y += step
    for value in ticks(0, last, max(2, int((width - left) / 110))):
        drawn.append(label(scale(value), y + 16, count(value), class_="label muted", anchor="middle"))
    drawn.append(label(width - 12, y + 33, "rows of the stream", class_="label muted", anchor="end"))
    about = ", ".join(f"{len(moments)} times {names.get(kind, kind)}" for kind, moments in lanes.items())
    return picture(width, y + 40, "".join(drawn), "What happened when", about)


def state_chart(width: int, changes: Entries) -> str:
    """How far the elastic state stands from the source, change by change."""
    norms = [(x, v) for x, v in column(changes, "row", "norm") if v is not None]
    if not norms:
        return ""
    high = max(v for _, v in norms) or 1.0
    plot = frame(width, 220, (0, norms[-1][0] * 1.02), (0, 1.1 * high), bottom=42)
    told = [
        (x, v, f"row {count(x)}: {compact(v)}\n{change.get('reason') or ''}".strip())
        for change in fitting(changes, width)
        if (x := number(change.get("row"))) is not None and (v := number(change.get("norm"))) is not None
    ]
    body = plot.grid(plain) + plot.step([(0, 0.0), *thin(norms, width)], "served") + plot.dots(told, "served")
    about = f"{len(norms)} changes, the last at {compact(norms[-1][1])}"
    return picture(width, 220, body + plot.axis("rows of the stream"), "Distance of the state from the source", about)


def history_chart(width: int, history: Entries, lines: Sequence[tuple[str, str, str]], metric: Metric | None) -> str:
    """Curves of training: key, name, class of each; values written by `metric` where given."""
    known = [(key, name, class_, column(history, "epoch", key)) for key, name, class_ in lines]
    known = [entry for entry in known if any(v is not None for _, v in entry[3])]
    if not known:
        return ""
    every = [v for *_, pairs in known for _, v in pairs]
    low, high = extent(every)
    ys = (max(0.0, low), min(1.0, high)) if metric and metric.share else (min(0.0, low) if low < 0 else 0.0, high)
    write = metric.show if metric else compact
    plot = frame(width, 220, (known[0][3][0][0], known[0][3][-1][0]), ys, bottom=42)
    body = plot.grid(lambda v: axis_value(metric, v) if metric else plain(v))
    body += "".join(plot.line(thin(pairs, width), class_) for _, _, class_, pairs in known)
    body += plot.hits(readings([(name, class_, pairs) for _, name, class_, pairs in known], write, width, "epoch"))
    about = "; ".join(f"{name} ends at {write(final(pairs))}" for _, name, _, pairs in known)
    title = metric.name if metric else "loss"
    return picture(width, 220, body + plot.axis("epoch"), f"{title} in training", about)


def reliability_chart(width: int, kinds: Mapping[str, Entries]) -> str:
    """Stated confidence against accuracy; on the diagonal the two agree."""
    side = min(width, 380)
    plot = frame(side, side, (0, 1), (0, 1), bottom=50)
    drawn = [plot.grid(lambda v: percent(v, 0), ticks(0, 1, 5)), diagonal(plot)]
    for kind, bins in kinds.items():
        pairs = sorted((x, v) for x, v in column(bins, "confidence", "accuracy") if v is not None)
        drawn.append(plot.line(pairs, kind))
        most = max([number(b.get("count")) or 0.0 for b in bins] + [1.0])
        for b in bins:
            x, y, n = (number(b.get(key)) for key in ("confidence", "accuracy", "count"))
            if x is not None and y is not None:
                words = f"{kind}: says {percent(x)}, is right {percent(y)}" + (f"\n{count(n)} rows" if n else "")
                drawn.append(dot(plot.x(x), plot.y(y), 2.5 + 5 * ((n or 0.0) / most) ** 0.5, kind, tip(words)))
    drawn.append(plot.axis("stated confidence", lambda v: percent(v, 0), drop=4))
    about = "; ".join(f"{kind}: calibration error {decimal(100 * e)} points" for kind, e in errors(kinds).items())
    return picture(side, side, "".join(drawn), "Stated confidence against accuracy", about)


def diagonal(plot: Plot) -> str:
    """Where confidence and accuracy agree."""
    box = rect(plot.left, plot.top, plot.right - plot.left, plot.bottom - plot.top, "box")
    modest = label(plot.left + 10, plot.top + 18, "more often right than it says", class_="small muted")
    sure = label(plot.right - 10, plot.bottom - 10, "less often right than it says", class_="small muted", anchor="end")
    return box + line(plot.left, plot.bottom, plot.right, plot.top, "threshold faint") + modest + sure


def errors(kinds: Mapping[str, Entries]) -> dict[str, float]:
    """Expected calibration error of each kind: the mean of |accuracy − confidence|, weighted by rows."""
    result = {}
    for kind, bins in kinds.items():
        terms = [(number(b.get("count")), number(b.get("confidence")), number(b.get("accuracy"))) for b in bins]
        known = [(n, c, a) for n, c, a in terms if n and c is not None and a is not None]
        if known:
            result[kind] = sum(n * abs(a - c) for n, c, a in known) / sum(n for n, _, _ in known)
    return result
