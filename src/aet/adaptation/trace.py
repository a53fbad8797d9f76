"""What a stream notes for its report: bounded, whatever the stream's length."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from aet.adaptation.guard import Guard
from aet.attention.state import ElasticState
from aet.statistics import measured

if TYPE_CHECKING:
    from aet.model import Model

EVENTS = 2000
SAMPLE = 2048
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
        self.quarantined = 0
        self.sample: pd.DataFrame | None = None
        self._rng = np.random.default_rng(0)
        self._seen = 0

    def event(self, row: int, kind: str, text: str) -> None:
        """Something a person may want to read."""
        aside = kind == "quarantined"
        self.quarantined += aside
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

    def saw(self, frame: pd.DataFrame) -> None:
        """Sample the rows uniformly (reservoir sampling, Vitter 1985, in blocks) and keep what is measured on them now:
        the files that cells name may be gone by the time of the report.
        """
        schema, inputs = self.model.schema, frame
        if self.sample is None or len(self.sample) < SAMPLE:
            room = SAMPLE - (0 if self.sample is None else len(self.sample))
            head, inputs = measured(inputs.iloc[:room], schema), inputs.iloc[room:]
            self.sample = head if self.sample is None else pd.concat([self.sample, head], ignore_index=True)
            self._seen += len(head)
        if not len(inputs):
            return
        place = self._rng.integers(0, self._seen + 1 + np.arange(len(inputs)))
        self._seen += len(inputs)
        last = {int(place[row]): int(row) for row in np.flatnonzero(place < SAMPLE)}  # a later row takes the place over
        if last:
            stay = np.setdiff1d(np.arange(SAMPLE), list(last))
            new = measured(inputs.iloc[list(last.values())], schema)
            self.sample = pd.concat([self.sample.iloc[stay], new], ignore_index=True)

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
