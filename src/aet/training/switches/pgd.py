"""Adversarial training on tokens by several moves: projected gradient descent (Madry et al. 2018, 1706.06083).

    L = mean l(x) + weight · (1/K) Σ_k mean l(x + δ_k),    δ_k = Π(δ_{k-1} + pace · radius · ‖x‖ · g / ‖g‖)

from a random δ_0 in the ball ‖δ‖ ≤ radius · ‖x‖ onto which Π projects, g = ∇ l(x + δ_{k-1}). All K places train the
weights, as in FreeLB (Zhu et al. 2020, 1909.11764), since their passes are paid for. Costs K + 1 more passes of the
rows, held in memory at once.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from aet.training.switch import SWITCHES, Pass, Run, Switch
from aet.training.switches.adversarial import TINY, attacked, lengths, real


@SWITCHES.register("pgd")
class PGD(Switch):
    """Settings: `radius` over the length of the row's tokens, `steps` K, `pace` of a move over the radius, `weight`."""

    name = "pgd"
    defaults: ClassVar[dict[str, Any]] = {"radius": 0.1, "steps": 3, "pace": 0.5, "weight": 1.0}
    excludes = ("fgm",)

    def term(self, run: Run, seen: Pass) -> Tensor | None:
        """The mean loss over the places."""
        radius, pace, weight = (float(self.settings[name]) for name in ("radius", "pace", "weight"))
        if radius == 0 or weight == 0:
            return None
        reach = radius * lengths(real(seen.tokens, seen.mask))
        noise = real(torch.randn_like(seen.tokens), seen.mask)
        start = noise * (torch.rand_like(reach) * reach / lengths(noise).clamp_min(TINY))
        self.calls += 1
        losses = torch.stack(list(attacked(run, seen, start, reach, pace * reach, int(self.settings["steps"]))))
        return weight * seen.mean(losses.mean(0))

    def acted(self) -> str:
        """Batches moved."""
        moves = f"{self.settings['steps']} times within {self.settings['radius']:g}"
        return f"moved the tokens of {self.calls:,} batches {moves}" if self.calls else ""
