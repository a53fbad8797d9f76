"""What a stream notes: bounded, and nothing that matters is pushed out by what does not."""

from __future__ import annotations

from aet.adaptation.trace import EVENTS
from tests.adaptation.models import inputs, served, three


def test_rows_set_aside_leave_the_other_events(model):
    stream, truth = served(model)
    stream.feedback(range(4), truth[:4])
    broken = inputs(three(EVENTS + 500)).astype(object).assign(a="broken")
    stream.predict(broken)
    assert "feedback" in [event["kind"] for event in stream.trace.events]
    assert len(stream.trace.aside) == EVENTS
    assert stream.trace.quarantined == EVENTS + 500
    record = stream.record()
    assert {"feedback", "quarantined"} <= {event["kind"] for event in record["events"]}
    rows = [event["row"] for event in record["events"]]
    assert rows == sorted(rows)
    assert record["stream"]["quarantined"] == EVENTS + 500
