"""What a stream notes for its report: bounded, whatever the stream's length."""

from __future__ import annotations

from collections import deque
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

    def serves(self, row: int, proposal: bool, rows: int, guard: Guard) -> None:
        """A batch was answered."""
        self.served["proposal" if proposal else "source"] += rows

    def saw(self, frame: pd.DataFrame, row: int) -> None:
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
        chosen = np.flatnonzero(place < SAMPLE)
        if len(chosen):
            stay = np.setdiff1d(np.arange(SAMPLE), place[chosen])
            newest = inputs.iloc[chosen].iloc[-(SAMPLE - len(stay)) :]
            self.sample = pd.concat([self.sample.iloc[stay], newest], ignore_index=True)
