"""What happened in service: accuracy over the stream and by part, drift, confidence, guard, events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate, takewhile
from typing import Any

from aet.report import bars, charts, strips
from aet.report.blocks import Legend, figure, note, pair, section, table
from aet.report.headline import answer, unknown
from aet.report.plot import Span
from aet.report.svg import HALF, thin, twice
from aet.report.text import Metric, compact, count, decimal, entries, escape, mapping, number, percent, plural

Record = Mapping[str, Any]
TOP = 12
PARTS = 20
EVENTS = {
    "asked": "asked for labels",
    "feedback": "labels came",
    "refused": "labels refused",
    "proposal": "other proposal",
    "served": "adapted served",
    "held": "held back",
    "undo": "undone",
    "reset": "reset",
    "quarantined": "set aside",
}
EVENTS_SHOWN, EVENTS_FOLDED = 30, 120


def length(record: Record) -> float:
    """Rows of the stream, as far as the record knows."""
    known = [
        number(mapping(record, "stream").get("rows")),
        sum(number(p.get("rows")) or 0 for p in entries(record, "parts")),
    ]
    known += [number(e.get("row")) for key in ("curve", "guard", "events") for e in entries(record, key)]
    return max(v or 0.0 for v in known)


def serving(record: Record) -> list[tuple[float, float, str]]:
    """Who served from which row to which; of records of earlier versions, as the guard decided."""
    last, spans = length(record), [(0.0, "source")]
    served = [(number(e.get("row")), str(e.get("who"))) for e in entries(mapping(record, "stream"), "spans")]
    known = [(row, who) for row, who in served if row is not None and who in charts.SERVING]
    if known:
        stops = [row for row, _ in known[1:]] + [last]
        return [(start, stop, who) for (start, who), stop in zip(known, stops, strict=True) if stop > start]
    for test in by_row(record, "guard"):
        row, who = number(test.get("row")), test.get("serving")
        if row is not None and who in charts.SERVING and who != spans[-1][1]:
            spans.append((row, str(who)))
    if len(spans) == 1:
        held = {"always": "proposal", "never": "source"}.get(str(mapping(record, "stream").get("guard")))
        if not entries(record, "guard") and held is None:
            return []
        spans = [(0.0, held or "source")]
    stops = [start for start, _ in spans[1:]] + [last]
    return [(start, stop, who) for (start, who), stop in zip(spans, stops, strict=True) if stop > start]


def by_row(record: Record, key: str) -> list[Record]:
    """Entries in the order of the stream."""
    return sorted(entries(record, key), key=lambda entry: number(entry.get("row")) or 0.0)


def part_spans(parts: Sequence[Record]) -> list[Span]:
    """Rows of each part with a short name; none where a length is unknown."""
    sizes = [number(p.get("rows")) for p in parts]
    known = [s for s in sizes if s is not None]
    if not known or len(known) < len(parts):
        return []
    names = [str(p.get("name", i + 1)) for i, p in enumerate(parts)]
    stops = list(accumulate(known))
    return list(zip([0.0, *stops[:-1]], stops, names, shorten(names), strict=True))


def shorten(names: Sequence[str]) -> list[str]:
    """Names without what they all begin and end with.

    >>> shorten(["batch2.csv", "batch10.csv"])
    ['2', '10']
    """
    if len(set(names)) < 2:
        return list(names)
    head, tail = shared(names), shared([name[::-1] for name in names])
    short = [name[head : len(name) - tail] for name in names]
    return short if all(short) else list(names)


def shared(names: Sequence[str]) -> int:
    """How many characters all names begin with."""
    return sum(1 for _ in takewhile(lambda letters: len(set(letters)) == 1, zip(*names, strict=False)))


def marks(points: Sequence[Record], shape: str) -> Legend:
    """Legend entries for whatever the points hold."""
    meaning = {
        "served": "served: what was really answered",
        "source": "source: the model as trained",
        "proposal": "proposal: the adapted model, if always served",
    }
    known = [key for key in meaning if any(number(p.get(key)) is not None for p in points)]
    ring = {"proposal": "ring"} if shape == "dot" else {}
    return [(ring.get(key, shape), key, meaning[key]) for key in known]


def over_rows(record: Record, metric: Metric) -> str:
    """Accuracy along the stream."""
    points, spans, ribbon = by_row(record, "curve"), part_spans(entries(record, "parts")), serving(record)
    came = [
        (row, f"row {count(row)}: {e.get('text', 'labels came')}")
        for e in entries(record, "events")
        if e.get("kind") == "feedback" and (row := number(e.get("row"))) is not None
    ]
    if not any(pairs for _, _, pairs in charts.series(points)):
        if not answer(record).stream:
            return ""
        words = note(unknown(answer(record)))
        return section("stream", f"{metric.title} over the stream", who_served(record, ribbon), words)
    shown = list(marks(points, "line"))
    shown += [("line", f"method m{i % 4}", name) for i, name in enumerate(charts.method_names(points))]
    for who, words in (("source", "source serves"), ("proposal", "adapted serves")):
        shown += [("ribbon", who, words)] if any(w == who for *_, w in ribbon) else []
    shown += [("switch", "", "guard switches")] if len(ribbon) > 1 else []
    shown += [("rug", "", "labels came")] if came else []
    chart = twice(lambda width: charts.accuracy_chart(width, points, spans, ribbon, came, metric))
    names = ["source", "proposal", "served"]
    methods = charts.method_names(points)
    rows = [
        [count(number(p.get("row")))]
        + [metric.show(number(p.get(n))) for n in names]
        + [metric.show(number(mapping(p, "methods").get(n))) for n in methods]
        for p in points
    ]
    numbers = table(["row", *names, *methods], rows)
    return section(
        "stream",
        f"{metric.title} over the stream",
        f"{who_served(record, ribbon)} {'Lower is better.' if metric.lower else ''}".strip(),
        figure(chart, shown, numbers),
    )


def who_served(record: Record, ribbon: Sequence[tuple[float, float, str]]) -> str:
    """One sentence on the guard's switches."""
    if not ribbon:
        return ""
    adapted = sum(stop - start for start, stop, who in ribbon if who == "proposal")
    share = percent(adapted / ribbon[-1][1], 0)
    if not adapted:
        earned = mapping(record, "stream").get("guard") == "earned"
        why = "; the adapted ones had not earned their place" if earned else ""
        return f"The source's answers were served throughout{why}."
    if len(ribbon) == 1:
        return "The adapted answers were served throughout."
    first = next(start for start, _, who in ribbon if who == "proposal")
    return f"The adapted answers were first served at row {count(first)}, and for {share} of the stream."


def by_part(record: Record, metric: Metric) -> str:
    """Each part's source and served."""
    parts = entries(record, "parts")
    if not parts:
        return ""
    gains = [(metric.gain(number(p.get("source")), number(p.get("served"))), str(p.get("name", ""))) for p in parts]
    known = [(g, n) for g, n in gains if g is not None]
    finding = ""
    if known:
        (best, where), (worst, there) = max(known), min(known)
        points = " points" if metric.share else ""
        finding = f"The largest gain was {metric.change(best)}{points}, in {where}"
        finding += f"; the smallest was {metric.change(worst)}, in {there}." if len(known) > 1 else "."
    methods = charts.method_names(parts)
    shown = [(shape, key, words.split(":")[0]) for shape, key, words in marks(parts, "dot")]
    shown += [("tick", "", ", ".join(methods))] if methods else []
    head = ["part", "rows", "labels", "source", "proposal", "served", "gain", "adapted served", *methods]
    rows = [
        [str(p.get("name", "")), count(number(p.get("rows"))), count(number(p.get("labels")))]
        + [metric.show(number(p.get(n))) for n in ("source", "proposal", "served")]
        + [metric.change(gain), percent(number(p.get("served_by_proposal")), 0)]
        + [metric.show(number(mapping(p, "methods").get(n))) for n in methods]
        for p, (gain, _) in zip(parts, gains, strict=True)
    ]
    measured = any(number(p.get(n)) is not None for p in parts for n in ("source", "proposal", "served"))
    drawn = thin(parts, PARTS)
    chart = twice(lambda width: strips.parts_chart(width, drawn, metric))
    body = figure(chart, shown, table(head, rows)) if measured else table(head, rows)
    if measured and len(drawn) < len(parts):
        body += note(f"Drawn: {len(drawn)} of {count(len(parts))} parts, evenly spaced.")
    return section("parts", "Part by part", finding, body)


def drift(record: Record, metric: Metric) -> str:
    """Columns that moved most."""
    every = sorted(entries(record, "drift"), key=lambda e: -(number(e.get("distance")) or 0.0))[:TOP]
    if not every:
        return ""
    lines = [e for e in every if strips.quantiles(e, "source") and strips.quantiles(e, "stream")]
    shares = [e for e in every if mapping(e, "source_shares") or mapping(e, "stream_shares")]
    first = every[0]
    finding = f"{strips.compared(first)} moved most, by {compact(number(first.get('distance')))}."
    if (total := len(entries(record, "drift"))) > len(every):
        finding += f" Shown: {len(every)} of {count(total)} columns."
    shown = [("bar", "source", "training rows"), ("bar", "stream", "stream")]
    body = ""
    if lines:
        rows = [
            [strips.compared(e), compact(number(e.get("distance")))]
            + [compact(q) for key in ("source", "stream") for q in strips.quantiles(e, key)]
            + [strips.missing_words(e) or "as before"]
            for e in lines
        ]
        head = [
            "column",
            "moved by",
            *(f"{w} {q} %" for w in ("source", "stream") for q in (5, 25, 50, 75, 95)),
            "missing",
        ]
        chart = twice(lambda width: strips.drift_chart(width, lines))
        words = "Bar: the middle half of the rows. Line: 9 rows in 10. Notch: the median. "
        words += "Each column has its own scale."
        body = note(words) + figure(chart, shown, table(head, rows))
    body += pair(*(shares_figure(e, () if lines else shown) for e in shares))
    return section("drift", "What drifted", finding, body or note("The columns that moved came without their values."))


def shares_figure(entry: Record, shown: Legend) -> str:
    """Shares of one column's categories."""
    old, new = mapping(entry, "source_shares"), mapping(entry, "stream_shares")
    rows = [[str(n), percent(number(old.get(n)) or 0.0), percent(number(new.get(n)) or 0.0)] for n in {**old, **new}]
    name = f"{entry.get('column', '?')}, moved by {compact(number(entry.get('distance')))}"
    chart = twice(lambda width: bars.shares_chart(width, entry), HALF)
    return figure(chart, shown, table(["category", "training rows", "stream"], rows), name)


def reliability(record: Record, metric: Metric) -> str:
    """Whether the stated confidence can be trusted."""
    kinds = {kind: entries(mapping(record, "reliability"), kind) for kind in ("source", "served")}
    kinds = {kind: bins for kind, bins in kinds.items() if bins}
    if not kinds:
        return ""
    wrong = charts.errors(kinds)
    said = [f"{decimal(100 * e)} points for {kind}" for kind, e in wrong.items()]
    finding = f"On average, stated confidence is off by {', '.join(said)}." if said else ""
    rows = [
        [
            kind,
            percent(number(b.get("confidence"))),
            percent(number(b.get("accuracy"))),
            count(number(b.get("count"))),
        ]
        for kind, bins in kinds.items()
        for b in bins
    ]
    shown = [("dot", kind, kind) for kind in kinds]
    right = twice(lambda width: charts.reliability_chart(width, kinds), HALF)
    often = twice(lambda width: bars.histogram_chart(width, kinds), HALF)
    numbers = table(["answers", "confidence", "accuracy", "rows"], rows)
    body = pair(
        figure(right, shown, numbers, "Stated confidence against accuracy"),
        figure(often, [("bar", kind, kind) for kind in kinds], "", "Rows answered with each confidence"),
    )
    return section("confidence", "Can its confidence be trusted?", finding, body)


def guard(record: Record, metric: Metric) -> str:
    """The evidence on which the guard decided."""
    tests, stream = by_row(record, "guard"), mapping(record, "stream")
    if not tests:
        return ""
    ribbon = serving(record)
    chart = twice(lambda width: charts.guard_chart(width, tests, ribbon))
    if 'class="line' not in chart:
        chart = ""
    rows = [
        [count(number(t.get(k))) for k in ("row", "labels")]
        + [compact(number(t.get(k))) for k in ("wealth", "threshold")]
        + [str(t.get(k, "")) for k in ("serving", "reason")]
        for t in tests
    ]
    shown = [
        ("line", "served", "evidence that the adapted answers are no worse"),
        ("rug", "", "looks, with new labels"),
    ]
    shown += [("ribbon", "earned", "adapted answers served")] if any(w == "proposal" for *_, w in ribbon) else []
    numbers = table(["row", "labels", "evidence", "needed", "serving", "reason"], rows)
    body = figure(chart, shown, numbers) or numbers
    return section("guard", "How the guard decided", guard_words(stream), body)


def guard_words(stream: Record) -> str:
    """What the chosen guard promises."""
    level, margin = number(stream.get("level")) or 0.05, number(stream.get("margin"))
    points = plural(round(100 * (0.01 if margin is None else margin), 1), "point")
    return {
        "earned": f"Guard earned: were the adapted answers {points} or more worse than the source's, the "
        f"chance of ever serving them would be at most {percent(level, 0)}, however often one looks.",
        "likely": "Guard likely: the adapted answers are served while a gain is probable; no guarantee.",
        "always": "Guard always: the adapted answers are served without a test.",
        "never": "Guard never: only the source's answers are served.",
    }.get(str(stream.get("guard")), "")


def events(record: Record, metric: Metric) -> str:
    """What happened, in order."""
    happened = by_row(record, "events")
    if not happened:
        return ""
    lanes: dict[str, list[tuple[float, str]]] = {kind: [] for kind in EVENTS}
    for e in happened:
        if (row := number(e.get("row"))) is not None:
            lanes.setdefault(str(e.get("kind", "other")), []).append((row, f"row {count(row)}: {e.get('text', '')}"))
    drawn = {kind: moments for kind, moments in lanes.items() if moments}
    chart = twice(lambda width: charts.lanes_chart(width, drawn, EVENTS, length(record)) if drawn else "")
    listed = [event(e) for e in happened]
    body = figure(chart) + f'<ol class="events">{"".join(listed[:EVENTS_SHOWN])}</ol>'
    if rest := listed[EVENTS_SHOWN:]:
        folded = thin(rest, EVENTS_FOLDED)
        more = f'<ol class="events" start="{EVENTS_SHOWN + 1}">{"".join(folded)}</ol>'
        if len(folded) < len(rest):
            more += note(f"{len(folded)} of {count(len(rest))} events, evenly spaced.")
        body += f"<details><summary>The other {plural(len(rest), 'event')}</summary>{more}</details>"
    undone = sum(e.get("kind") in ("undo", "reset") for e in happened)
    taken = f"{plural(undone, 'change')} taken back" if undone else "nothing had to be taken back"
    finding = f"{plural(len(happened), 'event')}; {taken}."
    return section("events", "What happened", finding, body)


def event(e: Record) -> str:
    """One line of the log."""
    kind = str(e.get("kind", "other"))
    class_ = kind if kind in EVENTS else "other"
    row = count(number(e.get("row")))
    said = escape(EVENTS.get(kind, kind))
    what = f'<span class="kind {class_}">{said}</span><span>{escape(e.get("text", ""))}</span>'
    return f'<li><span class="row">{row}</span>{what}</li>'
