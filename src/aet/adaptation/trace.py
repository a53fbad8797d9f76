"""What a stream notes for its report: bounded, whatever the stream's length."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from aet.adaptation.guard import Guard
from aet.attention.state import ElasticState

if TYPE_CHECKING:
    from aet.model import Model

EVENTS = 2000
SAMPLE = 2048


class Trace:
    """Events, decisions, movements, costs, and a uniform sample of the rows seen."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.events: deque[dict[str, Any]] = deque(maxlen=EVENTS)
        self.guard: deque[dict[str, Any]] = deque(maxlen=EVENTS)
        self.changes: deque[dict[str, Any]] = deque(maxlen=EVENTS)
        self.served = {"source": 0, "proposal": 0}
        self.passes = dict.fromkeys(("served", "adapting", "asking", "scoring"), 0.0)
        self.seconds = {"answering": 0.0, "adapting": 0.0}
        self.quarantined = 0
        self.sample: pd.DataFrame | None = None
        self._rng = np.random.default_rng(0)
        self._seen = 0

    def event(self, row: int, kind: str, text: str) -> None:
        """Something a person may want to read."""
        self.quarantined += kind == "quarantined"
        self.events.append({"row": row, "kind": kind, "text": text})

    def weighed(self, row: int, guard: Guard) -> None:
        """The guard's evidence after a label."""
        serving = "proposal" if guard.serving else "source"
        self.guard.append(
            {
                "row": row,
                "labels": guard.labels,
                "wealth": guard.wealth,
                "threshold": guard.threshold,
                "serving": serving,
                "reason": guard.reason(),
            }
        )

    def moved(self, row: int, state: ElasticState, reason: str) -> None:
        """The state changed."""
        self.changes.append({"row": row, "norm": state.size(), "reason": reason})

    def serves(self, proposal: bool, rows: int) -> None:
        """A batch was answered."""
        self.served["proposal" if proposal else "source"] += rows

    def saw(self, frame: pd.DataFrame) -> None:
        """Keep a uniform sample of the input rows (reservoir sampling, Vitter 1985, in blocks)."""
        inputs = frame[list(self.model.schema.input_columns)]
        if self.sample is None or len(self.sample) < SAMPLE:
            room = SAMPLE - (0 if self.sample is None else len(self.sample))
            head, inputs = inputs.iloc[:room], inputs.iloc[room:]
            self.sample = head if self.sample is None else pd.concat([self.sample, head], ignore_index=True)
            self._seen += len(head)
        if not len(inputs):
            return
        place = self._rng.integers(0, self._seen + 1 + np.arange(len(inputs)))
        self._seen += len(inputs)
        last = {int(place[row]): int(row) for row in np.flatnonzero(place < SAMPLE)}  # a later row takes the place over
        if last:
            stay = np.setdiff1d(np.arange(SAMPLE), list(last))
            self.sample = pd.concat([self.sample.iloc[stay], inputs.iloc[list(last.values())]], ignore_index=True)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able: everything but the sample of rows."""
        kept = {name: list(getattr(self, name)) for name in ("events", "guard", "changes")}
        return {**kept, **{name: getattr(self, name) for name in ("served", "passes", "seconds", "quarantined")}}

    def load_dict(self, memory: Mapping[str, Any]) -> None:
        """Take back what `to_dict` gave."""
        for name in ("events", "guard", "changes"):
            getattr(self, name).extend(memory[name])
        for name in ("served", "passes", "seconds"):
            getattr(self, name).update(memory[name])
        self.quarantined = int(memory["quarantined"])
