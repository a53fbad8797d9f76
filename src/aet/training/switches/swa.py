"""Stochastic weight averaging (Izmailov et al. 2018, 1803.05407): the plain mean of the last weights.

    w̄ ← w̄ + (w - w̄) / n

after each of the last `share` of the run's steps, n of them so far. From then on the mean is validated and may be kept;
training goes on from w itself. The steps are those of `train.epochs`: a run whose patience ends it before averages
nothing, which is an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar

import torch
from torch import Tensor

from aet.training.switch import SWITCHES, Run, Switch
from aet.training.switches.ema import swapped


@SWITCHES.register("swa")
class SWA(Switch):
    """Settings: `share` in [0, 1) of the steps that are averaged."""

    name = "swa"
    defaults: ClassVar[dict[str, Any]] = {"share": 0.25}
    fractions = ("share",)
    excludes = ("ema",)

    def begin(self, run: Run) -> None:
        """Nothing is averaged yet."""
        self.device = run.model.device
        self.mean: dict[str, Tensor] = {}

    @torch.no_grad()
    def stepped(self, run: Run) -> None:
        """The formula above; one fused call for all weights."""
        if run.step < run.steps - round(float(self.settings["share"]) * run.steps):
            return
        weights = {name: p.detach() for name, p in run.model.named_parameters()}
        self.calls += 1
        if self.calls == 1:
            self.mean = {name: weight.clone() for name, weight in weights.items()}
            return
        moved = torch._foreach_lerp([self.mean[name] for name in weights], list(weights.values()), 1 / self.calls)
        self.mean = dict(zip(weights, moved, strict=True))

    def epoch(self, run: Run) -> AbstractContextManager[None]:
        """The mean, once there is one, stands in for the weights."""
        return swapped(run, self.mean) if self.calls else nullcontext()

    def remedy(self, run: Run) -> str:
        """Patience came first, or the share is 0."""
        first = run.steps - round(float(self.settings["share"]) * run.steps)
        if run.step + 1 >= run.steps:
            return super().remedy(run)
        return (
            f"Averaging was to begin at step {first + 1} of {run.steps}, but train.patience ended the run before. "
            "Lower train.epochs towards what the run took, raise train.patience, or raise share."
        )

    def acted(self) -> str:
        """Steps averaged."""
        return f"averaged the weights of {self.calls:,} steps" if self.calls else ""

    def memory(self) -> dict[str, Tensor]:
        """The mean."""
        return dict(self.mean)

    def load_memory(self, memory: Mapping[str, Tensor]) -> None:
        """Take the mean back."""
        self.mean = {name: t.to(self.device) for name, t in memory.items()}
