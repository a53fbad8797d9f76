"""Activation shift: the summary moves by what its running mean is away from the source's (Niu et al. 2024).

    e ← e + γ (μ^S - μ(t)),    μ(t) = a μ(X_t) + (1 - a) μ(t - 1),    μ(0) = μ^S

over the summaries e, which the head reads. Source: 2404.01650, equations 7 to 9, with γ = 1 and a = 0.1 for a batch of
64 rows; here a = 1 - 0.9^(n / 64) for n rows, so that rows one by one say as much as together. The head is linear,
W (e + d) = W e + W d, so the shift is exactly a bias W d on the logits: only that dial moves, for any kind of output
(of an ensemble of k the members' mean). No gradient; one pass to see the summaries. Harms where the rows' mix changed
and not their look: it takes the new classes for drift.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from aet.adaptation.base import METHODS, RADIUS, Method
from aet.attention.state import ElasticState, applied
from aet.batch import Batch
from aet.summaries import head_weight, summaries


@METHODS.register("act_shift")
class ActShift(Method):
    """Settings: `step` γ, `rate` a of a batch of `batch` rows."""

    defaults: ClassVar[dict[str, Any]] = {"step": 1.0, "rate": 0.1, "batch": 64}

    def reset(self) -> None:
        """Back to the source."""
        super().reset()
        self.source = self.model.known_statistics().layers[-1].mean.cpu()  # μ^S (dim,)
        self.running = self.source  # μ(t) (dim,), over the members too if there are several

    def propose(self, batch: Batch) -> ElasticState:
        """The bias from the summaries up to this batch."""
        if len(batch):
            with applied(None):
                summary, _ = summaries(self.model, batch)
            self.passes += len(batch)
            summary = summary[summary.isfinite().all(-1)]
            if len(summary):
                kept = (1 - min(1.0, self.settings["rate"])) ** (len(summary) / self.settings["batch"])
                self.running = summary.view(-1, len(self.source)).mean(0).lerp(self.running, kept)
                away = (self.settings["step"] * (self.source - self.running)).to(self.model.device)
                bias = head_weight(self.model) @ away.repeat(self.model.config.model.members)
                self.state = self.state.updated({"output.bias": bias}).clipped(RADIUS)
        return self.state

    def memory(self) -> dict[str, Tensor]:
        """μ(t)."""
        return {"mean": self.running}

    def load_memory(self, memory: Mapping[str, Tensor]) -> None:
        """Take it back."""
        self.running = memory["mean"]
