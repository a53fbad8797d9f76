"""What happened inside the model: attention, the elastic state, training, cost."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from aet.report import bars, charts
from aet.report.blocks import figure, note, pair, section, table
from aet.report.svg import HALF, twice
from aet.report.text import (
    Metric,
    compact,
    count,
    decimal,
    duration,
    entries,
    escape,
    mapping,
    number,
    percent,
    plural,
    volume,
)

Record = Mapping[str, Any]
TOKENS = 16
PICTURES = 12
PICTURE = re.compile(r"data:image/(png|jpeg|webp|gif);base64,[A-Za-z0-9+/=]+")


def attention(record: Record, metric: Metric) -> str:
    """Where attention went, before and after adaptation."""
    known = [
        (str(e.get("token", "?")), number(e.get("before")), after)
        for e in entries(record, "attention")
        if (after := number(e.get("after"))) is not None
    ]
    moved = sorted((t for t in known if t[1] is not None), key=lambda t: -abs(t[2] - (t[1] or 0.0)))
    finding = ""
    if moved and moved[0][1] is not None:
        token, before, after = moved[0]
        finding = f"{token} changed most: {percent(before)} of the attention before, {percent(after)} after."
    shown = sorted((moved or known)[:TOKENS], key=lambda t: -t[2])
    if len(shown) < len(known):
        finding += f" Shown: {len(shown)} of {count(len(known))} tokens."
    rows = [[t, percent(b), percent(a)] for t, b, a in sorted(known, key=lambda t: -t[2])]
    marks = [("bar", "served soft", "after"), ("before", "", "before")]
    numbers = table(["token", "before", "after"], rows)
    half = -(-len(shown) // 2)
    columns = [shown] if len(shown) <= 6 else [shown[:half], shown[half:]]
    most = max([max(a, b or 0.0) for _, b, a in shown], default=1.0)

    def draw(column: list[tuple[str, float | None, float]]) -> str:
        return twice(lambda width: bars.bullets_chart(width, column, "Attention of tokens", percent, most=most), HALF)

    drawn = [draw(c) for c in columns if c]
    body = figure(f'<div class="columns">{"".join(drawn)}</div>', marks, numbers) if drawn else ""
    return section("attention", "Where attention went", finding.strip(), body + pictures(record))


def pictures(record: Record) -> str:
    """Attention over images; only pictures held inside the record are shown."""
    cards, left = [], 0
    every = entries(record, "attention_images")
    for e in every[:PICTURES]:
        views = [(name, str(e.get(name) or "")) for name in ("image", "before", "after")]
        safe = [(name, source) for name, source in views if PICTURE.fullmatch(source)]
        left += sum(bool(source) for _, source in views) - len(safe)
        said = str(e.get("label", ""))
        shown = "".join(
            f'<span><img src="{source}" alt="{escape(f"{said}, {name}")}"><small>{name}</small></span>'
            for name, source in safe
        )
        if shown:
            cards.append(f'<figure class="card"><figcaption>{escape(said)}</figcaption><div>{shown}</div></figure>')
    words = f"{plural(left, 'picture')} left out: only PNG, JPEG, WebP and GIF data addresses are shown."
    body = f'<div class="gallery">{"".join(cards)}</div>' if cards else ""
    if len(every) > PICTURES:
        body += note(f"Shown: the first {PICTURES} of {count(len(every))} rows.")
    return body + (note(words) if left else "")


def state(record: Record, metric: Metric) -> str:
    """How far the elastic state moved."""
    held = mapping(record, "state")
    changes = entries(held, "changes")
    dials = [(str(n), None, v) for n, value in mapping(held, "by_dial").items() if (v := number(value)) is not None]
    dials.sort(key=lambda d: -d[2])
    rows = [[count(number(c.get("row"))), compact(number(c.get("norm"))), str(c.get("reason", ""))] for c in changes]
    line = figure(
        filled(twice(lambda width: charts.state_chart(width, changes), HALF)),
        (),
        table(["row", "distance", "reason"], rows),
        "Distance from the source, change by change",
    )
    dial_rows = [[n, compact(v)] for n, _, v in dials]
    moved = figure(
        filled(
            twice(lambda width: bars.bullets_chart(width, dials, "Movement by dial", compact), HALF) if dials else ""
        ),
        (),
        table(["dial", "moved"], dial_rows),
        "Which dials moved",
    )
    size = number(mapping(record, "cost").get("state_bytes")) or number(mapping(record, "model").get("state_bytes"))
    finding = f"{plural(len(changes), 'change')} of the elastic state" if changes else "The elastic state"
    finding += (
        f", {volume(size)} in all; the source itself never moved." if size else "; the source itself never moved."
    )
    return section("state", "What moved inside", finding, pair(line, moved))


def filled(chart: str) -> str:
    """The chart, or nothing where both of its settings are empty."""
    return chart if "<svg" in chart else ""


def training(record: Record, metric: Metric) -> str:
    """How the source came to be."""
    model = mapping(record, "model")
    metric = Metric(str(model.get("metric") or metric.key))  # of the training, not of the stream
    history = entries(model, "history")
    losses = [("loss", "training rows", "source"), ("valid_loss", "held-out rows, plain and drifted", "stream")]
    lines = filled(twice(lambda width: charts.history_chart(width, history, losses, None), HALF))
    scores = [("valid_metric", "held-out rows", "stream")]
    score = filled(twice(lambda width: charts.history_chart(width, history, scores, metric), HALF))
    rows = [
        [count(number(h.get("epoch")))]
        + [compact(number(h.get(k))) for k in ("loss", "valid_loss")]
        + [metric.show(number(h.get("valid_metric")))]
        for h in history
    ]
    numbers = table(["epoch", "loss", "held-out loss", f"held-out {metric.name}"], rows)
    marks = [
        ("line", class_, words) for key, words, class_ in losses if any(number(h.get(key)) is not None for h in history)
    ]
    body = pair(
        figure(lines, marks, numbers, "Loss"),
        figure(score, [("line", "stream", "held-out rows")], "", metric.title),
    )
    return section("training", "How it was trained", trained_words(model), facts(record, metric) + body)


def trained_words(model: Record) -> str:
    """One sentence on training."""
    rows, seconds, shift = (
        number(model.get("rows")),
        number(model.get("seconds")),
        model.get("trained_for_shift"),
    )
    words = [
        f"{plural(rows, 'row')}" if rows is not None else "",
        f"in {duration(seconds)}" if seconds is not None else "",
    ]
    start = " ".join(w for w in words if w)
    first = f"Trained on {start}".replace("on in", "in") if start else "Trained"
    return f"{first}; made ready for shift with {shift}." if shift else f"{first}." if start else ""


def facts(record: Record, metric: Metric) -> str:
    """What the model is, as a short list."""
    model = mapping(record, "model")
    classes = [str(c) for c in model.get("classes") or ()]
    listed = ", ".join(classes[:8]) + (f" and {len(classes) - 8} more" if len(classes) > 8 else "")
    known = {
        "Target": str(model["target"]) if model.get("target") else None,
        "Output": str(model["output"]) if model.get("output") else None,
        "Classes": f"{len(classes)}: {listed}" if classes else None,
        "Tokens a row": whole(model.get("tokens")),
        "Parameters": whole(model.get("parameters")),
        "Elastic state": volume(size) if (size := number(model.get("state_bytes"))) is not None else None,
    }
    for name, value in mapping(model, "valid").items():
        held = Metric(str(name))
        title = {"log_loss": "log loss", "ece": "calibration error"}.get(held.key, held.name)
        v = number(value)
        known[f"Held-out {title}"] = (
            None if v is None else f"{decimal(100 * v)} points" if name == "ece" else held.show(v)
        )
    for told in entries(model, "tracked"):
        failed = f"; failed under way: {told['failed']}" if told.get("failed") else ""
        known[f"Tracked by {told.get('name', '?')}"] = f"{told.get('where') or 'nowhere'}{failed}"
    shown = "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in known.items() if v)
    return f'<dl class="facts">{shown}</dl>' if shown else ""


def whole(value: object) -> str | None:
    """A count, or nothing."""
    return count(v) if (v := number(value)) is not None else None


def cost(record: Record, metric: Metric) -> str:
    """What serving cost, beside the peers."""
    held, stream = mapping(record, "cost"), mapping(record, "stream")
    forwards = {str(n): v for n, x in mapping(held, "forwards_per_row").items() if (v := number(x)) is not None}
    seconds = {str(n): v for n, x in mapping(held, "seconds").items() if (v := number(x)) is not None}
    names = list(dict.fromkeys([*forwards, *seconds]))
    drawn = [(n, None, forwards[n]) for n in names if n in forwards]
    per = [(n, None, seconds[n]) for n in names if n in seconds]
    rows = [[n, decimal(forwards.get(n), 2), duration(seconds.get(n))] for n in names]
    left = (
        twice(lambda width: bars.bullets_chart(width, drawn, "Forwards a row", times, class_=paint), HALF)
        if drawn
        else ""
    )
    right = (
        twice(lambda width: bars.bullets_chart(width, per, "Seconds in all", duration, class_=paint), HALF)
        if per
        else ""
    )
    body = pair(
        figure(left, (), table(["answers", "forwards a row", "time"], rows), "Forwards a row"),
        figure(right, (), "", "Time in all"),
    )
    finding = ""
    if "served" in forwards:
        finding = f"Serving took {decimal(forwards['served'], 2)} forwards a row; a backward counts as two."
    elif (took := number(stream.get("seconds"))) is not None:
        body, finding = body or note(f"The stream took {duration(took)} in all."), ""
    return section("cost", "What it cost", finding, body)


def times(value: float) -> str:
    """A multiple."""
    return f"{decimal(value, 2)}×"


def paint(name: str) -> str:
    """Class of an answer's bar; methods are all alike."""
    return name if name in ("source", "proposal", "served") else "method"
