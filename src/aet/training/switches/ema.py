"""Moving average of the weights (Polyak and Juditsky 1992; with a ramp, as in timm's ModelEmaV3).

    w̄ ← d_t · w̄ + (1 - d_t) · w,    d_t = min(decay, (1 + t) / (10 + t))

after each step t. The average is validated and kept; training goes on from w itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor

from aet.training.switch import SWITCHES, Run, Switch


@SWITCHES.register("ema")
class Ema(Switch):
    """Settings: `decay` in [0, 1)."""

    name = "ema"
    defaults: ClassVar[dict[str, Any]] = {"decay": 0.99}
    fractions = ("decay",)
    excludes = ("swa",)

    def begin(self, run: Run) -> None:
        """The average starts at the weights."""
        self.mean = {name: p.detach().clone() for name, p in run.model.named_parameters()}

    @torch.no_grad()
    def stepped(self, run: Run) -> None:
        """The formula above; one fused call for all weights."""
        keep = min(float(self.settings["decay"]), (1 + self.calls) / (10 + self.calls))
        weights = [p.detach() for p in run.model.parameters()]
        self.mean = dict(zip(self.mean, torch._foreach_lerp(list(self.mean.values()), weights, 1 - keep), strict=True))
        self.calls += 1

    def epoch(self, run: Run) -> AbstractContextManager[None]:
        """The average stands in for the weights."""
        return swapped(run, self.mean)

    def acted(self) -> str:
        """Steps averaged."""
        return f"averaged {self.calls:,} steps" if self.calls else ""

    def memory(self) -> dict[str, Tensor]:
        """The average."""
        return dict(self.mean)

    def load_memory(self, memory: Mapping[str, Tensor]) -> None:
        """Take the average back."""
        self.mean = {name: memory[name].to(t) for name, t in self.mean.items()}


@contextmanager
def swapped(run: Run, weights: Mapping[str, Tensor]) -> Iterator[None]:
    """Within the context the model's parameters hold `weights`."""
    own = {name: p.data for name, p in run.model.named_parameters()}
    for name, p in run.model.named_parameters():
        p.data = weights[name].clone()
    try:
        yield
    finally:
        for name, p in run.model.named_parameters():
            p.data = own[name]
