"""The top of the page: the answering sentence, a bar of what was lost and won back, and the big numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aet.report.bars import balance, interval
from aet.report.blocks import note
from aet.report.headline import Answer, answer, gap_closed, sentence
from aet.report.svg import twice
from aet.report.text import (
    MINUS,
    SPACE,
    Metric,
    count,
    decimal,
    entries,
    escape,
    mapping,
    number,
    percent,
    plural,
    signed,
    volume,
)

Record = Mapping[str, Any]


def headline(record: Record) -> str:
    """Sentence, bar and big numbers."""
    a = answer(record)
    drawn = ""
    if a.source is not None and a.served is not None and a.metric.share:
        source, served = a.source, a.served
        drawn = twice(lambda width: balance(width, source, served, a.trained, a.metric))
        drawn = f'<div class="balance">{drawn}</div>'
    known = len([e for e in entries(record, "events") if e.get("kind") == "quarantined"])
    aside = number(mapping(record, "stream").get("quarantined")) or known
    words = f"{plural(aside, 'row')} could not be read and {'was' if aside == 1 else 'were'} set aside."
    said = (note(words) if aside else "") + unknown(record)
    return f'<p class="answer">{escape(sentence(a))}</p>{drawn}{tiles(record, a)}{said}'


def unknown(record: Record) -> str:
    """How many true answers were none that the model can give."""
    rows = number(mapping(record, "summary").get("unknown"))
    if not rows:
        return ""
    if mapping(record, "model").get("output") == "label":
        return note(f"{plural(rows, 'row')} had a class that the model does not know; each counts as a wrong answer.")
    return note(f"{plural(rows, 'row')} had a true answer that the model cannot read; they are not scored.")


def tiles(record: Record, a: Answer) -> str:
    """The big numbers that are known."""
    shown = [made for made in (accuracy(a), won(a), harm(a), labels(record, a)) if made]
    if len(shown) < 2:
        shown += facts(record, a)
    return f'<dl class="tiles">{"".join(shown)}</dl>' if shown else ""


def tile(name: str, value: str, about: str, class_: str = "", drawn: str = "") -> str:
    """One big number; `value` and `drawn` are HTML."""
    said = f'<span class="about">{escape(about)}</span>' if about else ""
    content = f'<span class="big">{value}</span>{drawn}{said}'
    return f'<div class="tile {class_}"><dt>{escape(name)}</dt><dd>{content}</dd></div>'


def big(words: str, unit: str = "") -> str:
    """A number with its unit set small."""
    return escape(words) + (f"<small>{SPACE}{escape(unit)}</small>" if unit else "")


def apart(metric: Metric, value: float | None) -> tuple[str, str]:
    """A value of the metric and its unit."""
    shown = metric.show(value)
    return (shown.removesuffix(SPACE + "%"), "%") if shown.endswith("%") else (shown, "")


def accuracy(a: Answer) -> str:
    """Source and served, or how good the model was when trained."""
    if a.source is not None and a.served is not None:
        (source, _), (served, unit) = apart(a.metric, a.source), apart(a.metric, a.served)
        arrow = f'<span class="was">{escape(source)}</span> <span class="to">→</span> {big(served, unit)}'
        return tile(f"{a.metric.name}, source → served", arrow, "over the whole stream", "lead")
    if a.trained is not None:
        value = big(*apart(a.metric, a.trained))
        return tile(f"{a.metric.name} when trained", value, "on held-out rows", "lead")
    return ""


def won(a: Answer) -> str:
    """What adaptation gave back of what drift took."""
    if a.cost is None or a.cost <= 0 or a.won is None:
        return ""
    about = f"{'of' if a.won >= 0 else 'on top of'} the {a.metric.amount(a.cost)} that drift cost"
    if a.won > 0 and (closed := gap_closed(a)) is not None:
        about += f"; {decimal(closed, 0)}{SPACE}% of the gap to retraining closed"
    value = big(a.metric.change(a.won), "points" if a.metric.share else "")
    return tile("won back" if a.won >= 0 else "lost by adapting", value, about)


def harm(a: Answer) -> str:
    """The harm with its interval."""
    mean, low, high = a.harm
    if mean is None:
        return ""
    drawn, said = "", []
    if low is not None and high is not None:
        drawn = interval(mean, low, high, 100 * a.margin)
        said.append(f"95{SPACE}% interval {signed(low)} to {signed(high)}; below zero is a gain.")
    if a.worst is not None:
        said.append(f"{a.stretch.capitalize()}: {signed(a.worst)}.")
    return tile(f"harm, source {MINUS} served", big(signed(mean), "points"), " ".join(said), drawn=drawn)


def labels(record: Record, a: Answer) -> str:
    """How many true answers it took."""
    if a.labels is None:
        return ""
    about = f"of {count(a.rows)} rows, {percent(a.labels / a.rows, 2)}" if a.rows else ""
    asked = number(mapping(record, "stream").get("asked"))
    about += f"; {count(asked)} were asked for" if asked is not None else ""
    return tile("labels used", big(count(a.labels)), about.removeprefix("; "))


def facts(record: Record, a: Answer) -> list[str]:
    """What is known of rows and size where accuracy is not."""
    model = mapping(record, "model")
    rows, parameters = number(model.get("rows")), number(model.get("parameters"))
    moving = number(model.get("state_bytes"))
    shown = [tile("rows served", big(count(a.rows)), "")] if a.rows is not None else []
    if rows is not None:
        target = model.get("target")
        shown.append(tile("training rows", big(count(rows)), f"to predict {target}" if target else ""))
    if parameters is not None:
        about = f"{volume(moving)} of settings may move in service" if moving is not None else ""
        shown.append(tile("parameters", big(count(parameters)), about))
    return shown
