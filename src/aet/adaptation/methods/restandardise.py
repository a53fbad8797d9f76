"""Input moments without a gradient: the last rows of the stream are brought to the source's center and spread.

    scale = spread_S / spread_T - 1,    shift = center_S - center_T · spread_S / spread_T

Each input kind says how its moments are taken (`Input.realigned`). With n rows seen the dials are shrunk by
n / (n + k). Undoes gain and offset of sensors and cameras. Harms where the rows' mix changed instead: that is for the
guard to see.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from aet.adaptation.base import METHODS, RADIUS, Method
from aet.attention.state import ElasticState
from aet.batch import Batch, newest
from aet.errors import ConfigError


@METHODS.register("restandardise")
class Restandardise(Method):
    """Settings: `window` rows that moments are taken over, `shrink` rows that weigh as much as the source."""

    defaults: ClassVar[dict[str, Any]] = {"window": 512, "shrink": 32.0}

    def reset(self) -> None:
        """Back to the source, with no rows seen."""
        super().reset()
        self.recent: dict[str, Tensor] = {}
        self.parts = {name: part for name, part in self.model.parts() if part.dial_shapes()}
        if not self.parts:
            raise ConfigError(
                "'restandardise' moves gain and offset of numbers and images; this model reads neither. "
                "Use 'align', 'prior' or 'feedback'."
            )

    def propose(self, batch: Batch) -> ElasticState:
        """The state from the window that ends with this batch."""
        if len(batch):
            window = self.settings["window"]
            for name in self.parts:
                self.recent[name] = newest(self.recent.get(name), batch.values[name].cpu(), window)
            self.state = self.state.updated(self.dials()).clipped(RADIUS)
        return self.state

    def dials(self) -> dict[str, Tensor]:
        """Input dials from the window."""
        moved: dict[str, Tensor] = {}
        for name, part in self.parts.items():
            rows = len(self.recent[name])
            trust = rows / (rows + self.settings["shrink"])
            for dial, tensor in part.realigned(self.recent[name]).items():
                moved[f"inputs.{name}.{dial}"] = trust * tensor.to(self.model.device)
        return moved

    def memory(self) -> dict[str, Tensor]:
        """The window."""
        return dict(self.recent)

    def load_memory(self, memory: Mapping[str, Tensor]) -> None:
        """Take back the window."""
        self.recent = dict(memory)
