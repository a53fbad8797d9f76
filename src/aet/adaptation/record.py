"""What is known of a model and a stream, as one JSON-able record: the report's input."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from aet.attention.state import ElasticState, applied
from aet.cells import CELLS
from aet.focus import focus
from aet.model import Model
from aet.monitoring.drift import quantile_distance, share_distance
from aet.statistics import OTHER, describe_measured, pooled

if TYPE_CHECKING:
    from aet.adaptation.stream import Stream

FOCUS_ROWS = 256
SHOWN = 8
"""Categories of a column that are named."""


def model_record(model: Model, title: str = "") -> dict[str, Any]:
    """The part of the record that training alone fills."""
    import aet

    drift = model.config.train.drift
    return {
        "title": title or ", ".join(model.schema.targets),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": aet.__version__,
        "model": {
            "output": model.output.kind,
            "target": ", ".join(model.schema.targets),
            "classes": [str(c) for c in getattr(model.output, "classes", [])] or None,
            "parameters": sum(p.numel() for p in model.parameters()),
            "state_bytes": ElasticState.zeros(model).nbytes,
            "tokens": len(model.token_names()),
            "metric": model.output.metric,
            "score": model.output.score_name,
            "trained_for_shift": f"simulated drift of strength {drift:g} on every batch" if drift else None,
            **{
                key: model.report.get(key)
                for key in ("rows", "valid", "history", "seconds", "switches", "worth", "tracked")
            },
        },
        **({"update": model.report["update"]} if "update" in model.report else {}),
    }


def stream_record(stream: Stream) -> dict[str, Any]:
    """Model and stream; true accuracies are added by `replay`, which knows the answers."""
    trace, guard = stream.trace, stream.guard
    rows = max(1, stream.rows)
    total = trace.seconds["answering"] + trace.seconds["adapting"]
    return {
        **model_record(stream.model),
        "stream": {
            "adapt": stream.adapt,
            "guard": guard.name,
            "rows": stream.rows,
            "asked": stream.asked,
            "labels": stream.labels,
            "quarantined": trace.quarantined,
            "seconds": round(total, 3),
            "level": getattr(guard, "level", None),
            "margin": getattr(guard, "margin", None),
            "served": dict(trace.served),
            "unlabelled": stream.unlabelled,
            "spans": list(trace.spans),
        },
        "drift": drift_record(stream),
        **attention_record(stream),
        "state": {"changes": list(trace.changes), "by_dial": by_dial(stream.state)},
        "estimates": stream.answered.record(),
        "guard": list(trace.guard),
        "events": sorted([*trace.events, *trace.aside], key=lambda event: event["row"]),
        "cost": {
            "forwards_per_row": {name: passes / rows for name, passes in trace.passes.items()},
            "seconds": {name: round(seconds, 3) for name, seconds in trace.seconds.items()},
            "state_bytes": stream.state.nbytes,
        },
    }


def drift_record(stream: Stream) -> list[dict[str, Any]]:
    """Columns, those that moved most first; `measure` says what is compared where it is not the value itself."""
    if stream.trace.sample is None or not len(stream.trace.sample):
        return []
    source = stream.model.known_statistics().columns
    columns = []
    for name, now in describe_measured(stream.trace.sample, stream.model.schema, source).items():
        before, measure = source[name], CELLS[now["kind"]].measure or None
        column = {"column": name, "input": now["input"], "measure": measure}
        column["missing"] = [before["missing"], now["missing"]]
        if "shares" in now:
            column["distance"] = share_distance(before["shares"], now["shares"])
            column |= group_rare(before["shares"], now["shares"])
        else:
            column["distance"] = quantile_distance(before["grid"], now["grid"])
            column |= {"source": before["quantiles"], "stream": now["quantiles"]}
        if not np.isnan(column["distance"]):
            columns.append(column)
    return sorted(columns, key=lambda column: -column["distance"])


def group_rare(source: dict[str, float], now: dict[str, float]) -> dict[str, dict[str, float]]:
    """The commonest categories of both sides by name, the others together."""
    names = sorted({*source, *now} - {OTHER}, key=lambda n: (-max(source.get(n, 0.0), now.get(n, 0.0)), n))[:SHOWN]
    return {"source_shares": pooled(source, names), "stream_shares": pooled(now, names)}


@torch.no_grad()
def attention_record(stream: Stream) -> dict[str, Any]:
    """Where attention goes on the last rows, under the source and under the proposal; by input, or as a picture."""
    if not len(stream.kept):
        return {}
    model, batch = stream.model, stream.kept.batch
    rows = batch[torch.arange(len(batch))[-FOCUS_ROWS:]].to(model.device)
    before = focus(model, rows).cpu()
    with applied(stream.state):
        after = focus(model, rows).cpu()
    names = [name.partition("[")[0] for name in model.token_names()]
    totals: dict[str, list[float]] = {}
    for name, one, other in zip(names, before.mean(0).tolist(), after.mean(0).tolist(), strict=True):
        total = totals.setdefault(name, [0.0, 0.0])
        total[0] += one
        total[1] += other
    record: dict[str, Any] = {
        "attention": [{"token": n, "before": b, "after": a} for n, (b, a) in totals.items()] if len(totals) > 1 else []
    }
    if any(spec.kind == "image" for spec in model.schema.inputs) and len(totals) == 1:
        from aet.adaptation.pictures import picture_grid

        record["attention_images"] = picture_grid(model, rows, before, after)
    return record


def by_dial(state: ElasticState) -> dict[str, float]:
    """How far each kind of dial moved."""
    squares: dict[str, float] = {}
    for name, tensor in state.items():
        dial = name.rpartition(".")[2]
        kind = f"input {dial}" if name.startswith("inputs.") else "head bias" if name.startswith("output.") else dial
        kind = f"norm {dial}" if ".norm" in name else kind
        squares[kind] = squares.get(kind, 0.0) + float(tensor.double().square().sum())
    return {kind: square**0.5 for kind, square in squares.items()}
