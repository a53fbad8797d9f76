"""The outputs of the norms are brought to the source's moments, norm by norm in one pass, without a gradient.

    scale = t (σ^S/σ - 1),    shift = t (μ^S - μ · σ^S/σ),    t = n / (n + k)

μ, σ are the running moments of a norm's own output over the last n rows of the stream (at most `window`), μ^S, σ^S the
source's (`statistics.norms`). What `align` descends to step by step is solved here for each norm, the earlier ones
already moved; it is to any kind of norm what `bn_adapt` is to batch norms. Moments are over all tokens, so columns
that drift each its own way cancel out in them: measured, it helps batch norms a little and layer norms not at all.
Harms where the rows' mix changed and not their look, and in sorted streams (docs/lab/adaptation.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from aet.adaptation.base import METHODS
from aet.adaptation.norm_dials import NormPass
from aet.attention.layer import NormDials
from aet.attention.state import ElasticState, under
from aet.batch import Batch
from aet.errors import ConfigError
from aet.statistics import Moments


@METHODS.register("norm_align")
class NormAlign(NormPass):
    """Settings: `window` rows that the moments are taken over, `shrink` k rows that weigh as much as the source."""

    defaults: ClassVar[dict[str, Any]] = {**NormPass.defaults, "shrink": 32.0}

    def reset(self) -> None:
        """Back to the source, with no rows seen; the model must know the moments of its norms."""
        super().reset()
        norms = self.model.known_statistics().norms
        if norms is None:
            raise ConfigError(
                f"{self.name!r} brings the norms to the source's moments, and this model does not know them: it was "
                "trained by an older version. Train it again, or use 'align'."
            )
        device = self.model.device
        self.source = {name: Moments(m.mean.to(device), m.std.to(device)) for name, m in norms.items()}
        self.running: dict[str, tuple[Tensor, Tensor]] = {}
        """By norm: E[x] and E[x²] (dim,)."""
        self.seen = 0.0

    def propose(self, batch: Batch) -> ElasticState:
        """The state from the moments up to this batch."""
        rows = min(len(batch), self.settings["window"])
        self.seen = min(self.seen + rows, self.settings["window"])
        return super().propose(batch)

    def dials(self, norm: NormDials, x: Tensor, plain: Tensor, mask: Tensor | None, rows: int) -> tuple[Tensor, Tensor]:
        """The formulas above."""
        name, now = norm.elastic_name, Moments.of(plain, mask)
        latest = (now.mean, now.std.square() + now.mean.square())
        if all(bool(t.isfinite().all()) for t in latest):
            first, second = self.running.get(name, latest)
            share = rows / self.seen
            self.running[name] = (first.lerp(latest[0], share), second.lerp(latest[1], share))
        if name not in self.running:
            return torch.zeros_like(now.mean), torch.zeros_like(now.mean)
        mean, square = self.running[name]
        source, std = self.source[name], (square - mean.square()).clamp_min(1e-6).sqrt()
        trust, ratio = self.seen / (self.seen + self.settings["shrink"]), source.std / std
        return trust * (ratio - 1), trust * (source.mean - mean * ratio)

    def memory(self) -> dict[str, Tensor]:
        """The running moments and how many rows they are of."""
        first = {f"mean.{name}": pair[0] for name, pair in self.running.items()}
        second = {f"square.{name}": pair[1] for name, pair in self.running.items()}
        return {**first, **second, "seen": torch.tensor(self.seen, dtype=torch.float64)}

    def load_memory(self, memory: Mapping[str, Tensor]) -> None:
        """Take them back."""
        here = {name: t.to(self.model.device) for name, t in memory.items()}
        self.running = {name: (mean, here[f"square.{name}"]) for name, mean in under("mean.", here).items()}
        self.seen = float(memory["seen"])
