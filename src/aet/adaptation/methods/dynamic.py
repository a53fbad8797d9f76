"""Adaptive dynamic attention: the state that the model's own network reads off the rows, without a gradient.

    inputs:  (n_w - 1)/(n_w - 1 + κ) of what brings the last n_w <= `window` rows to the training rows' moments
    trunk:   m ← 2^(-n / half_life) · m + Σ_i r(x_i),    N ← 2^(-n / half_life) · N + n,    network(s(m / N), N)

r: a row's statistics, s and the network: `aet.attention.dynamic`, trained with the model across simulated worlds. At
most n = `sample` rows of a batch, evenly spread, speak together with those of the stream before them, so that small
batches are steadied and large ones cost little. It reads tokens before the trunk: a few percent of a forward pass. One
row alone is answered by the source.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from aet.adaptation.base import METHODS, RADIUS, Method
from aet.attention.state import ElasticState, applied
from aet.batch import Batch
from aet.errors import ConfigError


@METHODS.register("dynamic")
class Dynamic(Method):
    """Settings: `half_life` of a row's say in rows; `window` and `sample`, rows at most, as above.

    For models trained with `model.attention: {dynamic: {}}`; ConfigError for others.
    """

    defaults: ClassVar[dict[str, Any]] = {"half_life": 256, "window": 128, "sample": 64}

    def reset(self) -> None:
        """Back to the source, with no rows seen."""
        super().reset()
        if self.model.trunk.dynamic is None:
            raise ConfigError(
                "'dynamic' needs a model that was trained for it; this one has no network that emits a state. Train "
                "with config={'model': {'attention': {'dynamic': {}}}}, or use 'align' or 'restandardise'."
            )
        self.network, self.device = self.model.trunk.dynamic, self.model.device
        self.total = torch.zeros_like(self.network.row_center)
        self.rows = 0.0
        self.recent: dict[str, Tensor] = {}
        self.parts = [name for name, part in self.model.parts() if part.dial_shapes()]

    @torch.no_grad()
    def propose(self, batch: Batch) -> ElasticState:
        """The state for these rows and those before them."""
        if len(batch):
            newest = sampled(batch, self.settings["window"])
            for name in self.parts:
                seen = [self.recent[name]] if name in self.recent else []
                # A copy, so that what fell out of the window is freed.
                self.recent[name] = torch.cat([*seen, newest.values[name].cpu()])[-self.settings["window"] :].clone()
            inputs = (self.model.realigned(self.recent) if self.parts else ElasticState({})).clipped(RADIUS)
            spoken = sampled(batch, self.settings["sample"])
            kept = 0.5 ** (len(spoken) / self.settings["half_life"])
            self.total = kept * self.total + self.read(spoken, inputs)
            self.rows = kept * self.rows + len(spoken)
            flat = self.network(self.network.statistics(self.total / self.rows), self.rows)
            trunk = self.model.trunk.shaped(flat.clamp(-RADIUS, RADIUS))
            self.state = self.state.updated({**inputs, **trunk})
        return self.state

    def read(self, batch: Batch, inputs: ElasticState) -> Tensor:
        """Σ_i r(x_i) under the inputs' part of the state, (S,)."""
        training = self.model.training
        if training:
            self.model.eval()
        with applied(inputs):
            tokens, mask = self.model.tokens(batch.to(self.device))
        if training:
            self.model.train()
        return self.network.tamed(self.network.rows(tokens, mask)).sum(0)

    def memory(self) -> dict[str, Tensor]:
        """Sum and number of the rows, and the window."""
        window = {f"recent.{name}": t for name, t in self.recent.items()}
        return {"total": self.total, "rows": torch.tensor(self.rows, dtype=torch.float64), **window}

    def load_memory(self, memory: Mapping[str, Tensor]) -> None:
        """Take them back."""
        self.total, self.rows = memory["total"].to(self.total), float(memory["rows"])
        self.recent = {n.removeprefix("recent."): t for n, t in memory.items() if n.startswith("recent.")}


def sampled(batch: Batch, most: int) -> Batch:
    """At most so many rows of a batch, evenly spread over it: a large one may be sorted.

    >>> sampled(Batch({"x": torch.arange(9)}), 3).values["x"]
    tensor([0, 3, 6])
    """
    return batch if len(batch) <= most else batch[torch.arange(most) * len(batch) // most]
