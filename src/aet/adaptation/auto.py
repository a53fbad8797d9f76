"""The default: restandardise the inputs until labels come, then let labels train the state from the source.

Measured on gas sensors (docs/lab/adaptation.md): with labels, starting from the source beats starting from
restandardised inputs by 10 points at 16 labels; without any, restandardising is the better proposal on average and
harmful on some batches, which is why the guard serves the source until labels have spoken.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from aet.adaptation.base import METHODS, Method
from aet.adaptation.feedback import Feedback
from aet.adaptation.restandardise import Restandardise
from aet.adaptation.source import Source
from aet.attention.state import ElasticState
from aet.batch import Batch


@METHODS.register("auto")
class Auto(Method):
    """`restandardise` (where an input has moments), then `feedback`."""

    def reset(self) -> None:
        """Back to the source."""
        moments = any(part.dial_shapes() for _, part in self.model.parts())
        self.free: Method = (Restandardise if moments else Source)(self.model)
        self.trained = Feedback(self.model)
        super().reset()

    def propose(self, batch: Batch) -> ElasticState:
        """The label-free proposal until there are labels."""
        if self.trained.labelled is None:
            self.state = self.free.propose(batch)
        return self.state

    def label(self, batch: Batch) -> None:
        """Train from the source on all labels so far."""
        if len(batch):
            before = self.trained.passes
            self.trained.label(batch)
            self.passes += self.trained.passes - before
            self.state = self.trained.state

    def memory(self) -> dict[str, Tensor]:
        """Both memories."""
        free = {f"free.{name}": t for name, t in self.free.memory().items()}
        return free | {f"trained.{name}": t for name, t in self.trained.memory().items()}

    def load_memory(self, memory: Mapping[str, Tensor]) -> None:
        """Take back both; the state is the trained one once there are labels, the label-free one before."""
        parts: dict[str, dict[str, Tensor]] = {"free": {}, "trained": {}}
        for name, tensor in memory.items():
            part, _, rest = name.partition(".")
            parts[part][rest] = tensor
        self.free.load_memory(parts["free"])
        self.trained.load_memory(parts["trained"])
        source, labelled = ElasticState.zeros(self.model), self.trained.labelled is not None
        self.trained.state = self.state if labelled else source
        self.free.state = source if labelled else self.state
