"""What the server's pages show, from service and store, as records that the report room draws."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np

from aet.outputs.label import LabelOutput
from aet.serving.alarming import described
from aet.serving.cells import plain_cell
from aet.serving.residents import Resident
from aet.serving.service import Service
from aet.serving.watches import advised

STREAMS = 200
"""Streams that the first page lists."""
ASKED = 16
"""Rows that a stream's page asks about at a time."""


def overview(service: Service, owner: str | None, may: str, load: Mapping[str, Any], since: datetime) -> dict[str, Any]:
    """The record of `aet.report.live.overview`; of all owners' streams if `owner` is None.

    Streams that are not in memory are listed by name alone: to look at them would push out those that are in use.
    """
    inside = {one.line.number: one for one in service.residents.all()}
    lines = service.store.streams(owner)
    known = {line.number: line for line in lines}
    alarms = service.store.alarms(owner)
    count = Counter(alarm.stream for alarm in alarms)
    shown = sorted(lines, key=lambda line: line.number not in inside)[:STREAMS]
    streams = []
    for line in shown:
        about = {"owner": line.owner, "name": line.name, "href": f"/page/streams/{line.owner}/{line.name}"}
        more = known_of(inside[line.number]) if line.number in inside else {}
        streams.append({**about, **more, "alarms": count[line.number]})
    return {
        "title": ", ".join(service.models),
        "now": datetime.now(UTC).isoformat(timespec="seconds"),
        "since": since.isoformat(timespec="seconds"),
        "may": may,
        "load": load,
        "streams": streams,
        "left_out": len(lines) - len(shown),
        "alarms": [described(alarm, known.get(alarm.stream or 0)) for alarm in alarms],
        "versions": versions(service),
        "shadows": [{"model": name, **one.record()} for name, one in list(service.releases.shadows.items())],
    }


def versions(service: Service) -> list[dict[str, Any]]:
    """The versions of all models."""
    return [
        {"model": served.name, "share": served.share, **line}
        for served in list(service.models.values())
        for line in service.releases.versions(served)
    ]


def known_of(resident: Resident) -> dict[str, Any]:
    """Rows, labels, who serves, and how many answers are right: by late labels and as estimated without."""
    with resident.stream._lock:
        one = resident.stream
        found: dict[str, Any] = {"rows": one.rows, "labels": one.labels, "adapted": one.serving}
        now = one.answered.now()
    best = next((line for line in now if line["answers"] == "served"), None)
    if best is not None:
        found["estimate"] = {key: plain_cell(best[key]) for key in ("value", "low", "high")}
        right = {"value": best["truth"], "low": best["truth_low"], "high": best["truth_high"]}
        found["truth"] = {
            **{key: plain_cell(value) for key, value in right.items()},
            "labels": plain_cell(best["labels"]),
        }
    return found


def controls(service: Service, owner: str, name: str, may: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The record of a stream, and what its page asks of a person (`aet.report.live_stream.stream_page`)."""
    with service.residents.use(owner, name) as resident:
        watched = None if service.watches is None else service.watches.report(resident)
        with resident.stream._lock:
            one, advice = resident.stream, advised(resident)
            record, undone = one.record(), len(one._history)
            waiting = [one.kept.ids[place] for place in np.flatnonzero(~np.isnan(one.kept.weights))[:ASKED]]
        lines = service.store.values(resident.line.number, waiting)
        rows = [
            {
                "id": plain_cell(known),
                "values": (lines[known].values or {}) if known in lines else {},
                "prediction": lines[known].answer.get("prediction") if known in lines else None,
            }
            for known in waiting
        ]
        output = resident.served.model.output
        return record, {
            "title": f"{owner} / {name}",
            "now": datetime.now(UTC).isoformat(timespec="seconds"),
            "may": may,
            "home": "/",
            "action": f"/page/streams/{owner}/{name}",
            "undone": undone,
            "advice": advice,
            "watch": watched,
            "asked": {
                "rows": rows,
                "classes": [str(value) for value in output.classes] if isinstance(output, LabelOutput) else None,
                "target": ", ".join(resident.served.model.schema.targets),
            },
        }
