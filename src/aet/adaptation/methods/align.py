"""Activation statistics of the stream are pulled to the source's, layer by layer.

    L = Σ_l mean_c ((μ_l(X) - μ_l^S) / σ_l^S)² + mean_c ((σ_l(X) - σ_l^S) / σ_l^S)²

over channels c of every block's output and of the summary; after the statistics term of Niu et al. 2024
(2404.01650, eq. 5), with squared and scaled differences. Moves norms, q/k/v scales and shifts, and the gate; the
inverse temperature stays, since it gained nothing where it was measured. Moments of small batches are blended with the
stream's running ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from aet.adaptation.base import METHODS, Method, is_attention, is_norm
from aet.batch import Batch
from aet.statistics import Moments


def moves(name: str) -> bool:
    """Norms and attention, but for the inverse temperature."""
    return is_norm(name) or (is_attention(name) and not name.endswith("log_beta"))


@METHODS.register("align")
class Align(Method):
    """Settings: `lr` of Adam, `steps` a batch, `batch`: rows from which a batch speaks for itself alone."""

    defaults: ClassVar[dict[str, Any]] = {"lr": 3e-3, "steps": 1, "batch": 64}

    def reset(self) -> None:
        """Back to the source."""
        super().reset()
        self.source = self.model.known_statistics().layers
        self.running: list[Moments] = []

    def moments(self, batch: Batch) -> list[Moments]:
        """Of each layer, under the active state; keeps the gradient."""
        taps: list[Tensor] = []
        tokens, mask = self.model.tokens(batch)
        self.model.trunk(tokens, mask, taps, concepts=self.model.concepts(batch))
        whole = [mask] * (len(taps) - 1) + [None]  # the summary is one token, always real
        return [Moments.of(tap, real) for tap, real in zip(taps, whole, strict=True)]

    def loss(self, batch: Batch, share: float) -> Tensor:
        """The formula above; `share` of the moments is the batch's, the rest the stream's so far."""
        total = torch.zeros((), device=self.model.device)
        latest = self.moments(batch)
        for layer, (now, source) in enumerate(zip(latest, self.source, strict=True)):
            mean, std = now.mean, now.std
            if self.running:
                before = self.running[layer]
                mean = share * mean + (1 - share) * before.mean
                std = share * std + (1 - share) * before.std
            center, spread = source.mean.to(mean), source.std.to(mean)
            total = total + (((mean - center) / spread).square() + ((std - spread) / spread).square()).mean()
        self.latest = [Moments(m.mean.detach(), m.std.detach()) for m in latest]
        return total

    def learn(self, batch: Batch) -> None:
        """One descent on the batch."""
        if not len(batch):
            return
        share = min(1.0, len(batch) / self.settings["batch"])
        batch = batch.to(self.model.device)
        lr, steps = self.settings["lr"], self.settings["steps"]
        self.state = self.descend(lambda _: self.loss(batch, share), self.state, moves, lr, steps)
        if all(bool(m.mean.isfinite().all() and m.std.isfinite().all()) for m in self.latest):
            self.running = [
                Moments(before.mean.lerp(m.mean, share), before.std.lerp(m.std, share))
                for before, m in zip(self.running or self.latest, self.latest, strict=True)
            ]
        self.passes += 3.0 * steps * len(batch)

    def memory(self) -> dict[str, Tensor]:
        """The running moments."""
        named = {f"mean{i}": m.mean for i, m in enumerate(self.running)}
        return named | {f"std{i}": m.std for i, m in enumerate(self.running)}

    def load_memory(self, memory: Mapping[str, Tensor]) -> None:
        """Take back the running moments."""
        here = {name: t.to(self.model.device) for name, t in memory.items()}
        self.running = [Moments(here[f"mean{i}"], here[f"std{i}"]) for i in range(len(here) // 2)]
