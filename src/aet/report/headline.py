"""The answer of a run: its few numbers, and the sentence that they amount to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aet.report.text import Metric, count, decimal, mapping, number, plural


@dataclass(frozen=True)
class Answer:
    """What a run amounts to; every number may be unknown."""

    metric: Metric
    trained: float | None
    source: float | None
    served: float | None
    oracle: float | None
    harm: tuple[float | None, float | None, float | None]
    margin: float
    worst: float | None
    window: float | None
    stream: bool
    rows: float | None
    labels: float | None

    @property
    def cost(self) -> float | None:
        """What drift took from the source, positive where it took something."""
        gain = self.metric.gain(self.trained, self.source)
        return None if gain is None else -gain

    @property
    def won(self) -> float | None:
        """What adaptation gave back."""
        return self.metric.gain(self.source, self.served)

    @property
    def stretch(self) -> str:
        """The rows that fared worst, in words."""
        return f"worst {count(self.window)} rows" if self.window else "worst stretch"

    @property
    def safe(self) -> bool | None:
        """True where the whole interval of the harm is within the margin, False where it is above zero."""
        _, low, high = self.harm
        if high is not None and high <= 100 * self.margin:
            return True
        return False if low is not None and low > 0 else None


def answer(record: Mapping[str, Any]) -> Answer:
    """Gather the numbers of the headline from a record: on the scale of the stream's scores where there is a stream."""
    model, stream, summary = (mapping(record, key) for key in ("model", "stream", "summary"))
    harm = mapping(summary, "harm")
    served = bool(stream or summary or record.get("parts") or record.get("curve"))
    metric = Metric(str((served and model.get("score")) or model.get("metric") or "accuracy"))
    labels = number(stream.get("labels"))
    return Answer(
        metric=metric,
        trained=number(mapping(model, "valid").get(metric.key)),
        source=number(summary.get("source")),
        served=number(summary.get("served")),
        oracle=number(summary.get("oracle")),
        harm=(number(harm.get("mean")), number(harm.get("low")), number(harm.get("high"))),
        worst=number(harm.get("worst_window")),
        window=number(harm.get("window")),
        margin=0.01 if (margin := number(stream.get("margin"))) is None else margin,
        stream=served,
        rows=number(stream.get("rows")),
        labels=labels,
    )


def sentence(a: Answer) -> str:
    """The whole page in one sentence."""
    if not a.stream:
        if a.trained is None:
            return "The model is trained; no rows were held out to measure it."
        if a.metric.lower:
            return f"On rows it did not train on, the model's {a.metric.name} is {a.metric.show(a.trained)}."
        return f"On rows it did not train on, the model reaches {a.metric.show(a.trained)} {a.metric.name}."
    if a.won is None:
        served = f"{plural(a.rows, 'row')} {'was' if a.rows == 1 else 'were'} served. " if a.rows else ""
        return served + unknown(a)
    return f"{drift(a)} {adaptation(a)}{verdict(a)}.".strip()


def unknown(a: Answer) -> str:
    """Why there is no accuracy to show."""
    if a.labels:
        return f"{a.metric.title} over the stream was not measured."
    return f"No true answers came, so {a.metric.name} is unknown."


def drift(a: Answer) -> str:
    """What drift cost."""
    if a.cost is None:
        return ""
    if a.cost <= 0:
        return f"The stream cost this model no {a.metric.name}."
    if a.metric.lower:
        return f"Drift raised this model's {a.metric.name} by {a.metric.size(a.cost)}."
    return f"Drift cost this model {a.metric.amount(a.cost)} of {a.metric.name}."


def adaptation(a: Answer) -> str:
    """What adaptation made of it, as the beginning of a sentence."""
    kept = f"With {plural(a.labels, 'label')}" if a.labels else "Without a label"
    if a.won is None or abs(a.won) < 0.0005:
        return f"{kept}, what was served equals the source"
    if a.cost is not None and a.cost > 0:
        whole = "them" if a.metric.share else "it"
        ending = f"won back {a.metric.size(a.won)} of {whole}" if a.won > 0 else f"lost {a.metric.size(a.won)} more"
    else:
        ending = f"{'gained' if a.won > 0 else 'lost'} {a.metric.amount(a.won)}"
    return f"{kept}, adaptation {ending}"


def verdict(a: Answer) -> str:
    """How safe the serving was, as the end of a sentence."""
    if a.safe is None:
        return "; whether serving was safe is still open" if a.harm[0] is not None else ""
    if not a.safe:
        return "; serving did harm"
    if a.worst is not None and a.worst > 100 * a.margin:
        return f", and serving was safe on the whole, but the {a.stretch} lost {decimal(a.worst)} points"
    return ", and serving was safe"


def gap_closed(a: Answer) -> float | None:
    """100 · (served − source) / (oracle − source), clipped to ±100, if the oracle is 5 points ahead.

    >>> a = answer({"model": {}, "summary": {"source": 0.6, "served": 0.75, "oracle": 0.8}})
    >>> round(gap_closed(a))
    75
    """
    gap = a.metric.gain(a.source, a.oracle)
    if gap is None or a.won is None or not a.metric.share or gap < 0.05:
        return None
    return max(-100.0, min(100.0, 100 * a.won / gap))
