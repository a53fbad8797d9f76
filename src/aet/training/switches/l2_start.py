"""Decay to the start (L2-SP, Li, Grandvalet and Davoine 2018, 1802.01483).

    L + (α/2) Σ (θ - θ⁰)²

over all weights, with θ⁰ the weights at the start: the trained model's when a model is updated, the first draw when it
is trained from nothing. Weights that an update added start at zero and so decay to zero, the paper's second term.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from aet.training.switch import SWITCHES, Pass, Run, Switch


@SWITCHES.register("l2_start")
class L2Start(Switch):
    """Settings: `alpha`, the strength of the pull."""

    name = "l2_start"
    searched = False
    defaults: ClassVar[dict[str, Any]] = {"alpha": 0.01}

    def begin(self, run: Run) -> None:
        """Note the start; a run that is taken up begins with the same weights and then gets its own."""
        self.start = [p.detach().clone() for p in run.model.parameters()]

    def term(self, run: Run, seen: Pass) -> Tensor | None:
        """The formula above."""
        alpha = float(self.settings["alpha"])
        if alpha == 0:
            return None
        self.calls += 1
        pairs = zip(run.model.parameters(), self.start, strict=True)
        return 0.5 * alpha * torch.stack([(p - start).square().sum() for p, start in pairs]).sum()
