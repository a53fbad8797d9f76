"""What a stream notes for its report: bounded, whatever the stream's length."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from aet.adaptation.guard import Guard
from aet.adaptation.sampled import Sampled
from aet.attention.state import ElasticState

if TYPE_CHECKING:
    from aet.model import Model

EVENTS = 2000
LOGS = ("events", "aside", "guard", "changes", "spans")


class Trace:
    """Events, decisions, movements, costs, and what was measured on a uniform sample of the rows seen."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.events: deque[dict[str, Any]] = deque(maxlen=EVENTS)
        self.aside: deque[dict[str, Any]] = deque(maxlen=EVENTS)
        """Rows that could not be read; apart, so that many of them do not push other events out."""
        self.guard: deque[dict[str, Any]] = deque(maxlen=EVENTS)
        self.changes: deque[dict[str, Any]] = deque(maxlen=EVENTS)
        self.spans: deque[dict[str, Any]] = deque(maxlen=EVENTS)
        """Who answered from which row on."""
        self.served = {"source": 0, "proposal": 0}
        self.passes = dict.fromkeys(("served", "adapting", "asking", "scoring"), 0.0)
        self.seconds = dict.fromkeys(("answering", "adapting", "asking"), 0.0)
        self.quarantined = self.noted = 0
        """Rows kept aside, and events, since the stream was opened."""
        self.sampled = Sampled(model.schema)

    @property
    def sample(self) -> pd.DataFrame | None:
        """What was measured on a uniform sample of the rows seen; None if nothing was seen."""
        return self.sampled.rows

    def event(self, row: int, kind: str, text: str) -> None:
        """Something a person may want to read."""
        aside = kind == "quarantined"
        self.quarantined += aside
        self.noted += not aside
        (self.aside if aside else self.events).append({"row": row, "kind": kind, "text": text})

    def weighed(self, row: int, guard: Guard) -> None:
        """The guard's evidence after a label."""
        serving = "proposal" if guard.serving else "source"
        self.guard.append({"row": row, **guard.evidence(), "serving": serving, "reason": guard.reason()})

    def moved(self, row: int, state: ElasticState, reason: str) -> None:
        """The state changed."""
        self.changes.append({"row": row, "norm": state.size(), "reason": reason})

    def serves(self, adapted: bool, rows: int, first: int) -> None:
        """A batch that begins at row `first` was answered, its good rows counted."""
        who = "proposal" if adapted else "source"
        self.served[who] += rows
        if not self.spans or self.spans[-1]["who"] != who:
            self.spans.append({"row": first, "who": who})

    def to_dict(self) -> dict[str, Any]:
        """JSON-able: everything but the sample of rows."""
        kept = {name: list(getattr(self, name)) for name in LOGS}
        return {**kept, **{name: getattr(self, name) for name in ("served", "passes", "seconds", "quarantined")}}

    def load_dict(self, memory: Mapping[str, Any]) -> None:
        """Take back what `to_dict` gave."""
        for name in LOGS:
            getattr(self, name).extend(memory.get(name, []))
        for name in ("served", "passes", "seconds"):
            getattr(self, name).update(memory[name])
        self.quarantined = int(memory["quarantined"])
