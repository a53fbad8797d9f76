"""Adaptive gradient clipping (Brock et al. 2021, 2102.06171): a unit's gradient is bounded by its weights.

    g_i ← g_i · min(1, clip · max(‖w_i‖, 10⁻³) / ‖g_i‖)

for each unit i, a row of a matrix (all that leads into one neuron) or a whole vector (a bias, a norm's scale). The
output's layer is left alone, as the paper finds best. It acts before the clipping of the whole gradient, `train.clip`.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from aet.errors import ConfigError
from aet.training.switch import SWITCHES, Run, Switch

LEAST = 1e-3
"""Counts as the norm of smaller weights: those that start at zero could never move otherwise."""


@SWITCHES.register("agc")
class AGC(Switch):
    """Settings: `clip`, the largest gradient over the weights.

    >>> AGC(clip=0)
    Traceback (most recent call last):
    aet.errors.ConfigError: The setting clip of the switch 'agc' must be above 0: got 0, which would stop all ...
    """

    name = "agc"
    defaults: ClassVar[dict[str, Any]] = {"clip": 0.01}

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        if self.settings["clip"] == 0:
            raise ConfigError(
                f"The setting clip of the switch {self.name!r} must be above 0: got 0, which would stop all training. "
                f"The default is {self.defaults['clip']:g}."
            )

    @torch.no_grad()
    def gradient(self, run: Run) -> None:
        """The formula above."""
        clip = float(self.settings["clip"])
        head = {id(p) for p in run.model.output.parameters()}
        clipped = torch.zeros((), dtype=torch.long, device=run.model.device)
        for p in run.model.parameters():
            if p.grad is None or id(p) in head:
                continue
            factor = clip * unit_norms(p).clamp_min(LEAST) / unit_norms(p.grad).clamp_min(1e-12)
            p.grad.mul_(factor.clamp_max(1))
            clipped += (factor < 1).sum()
        self.calls += int(clipped)

    def acted(self) -> str:
        """Units clipped, over all steps."""
        return f"clipped the gradient of a unit {self.calls:,} times" if self.calls else ""


def unit_norms(weights: Tensor) -> Tensor:
    """‖w_i‖, to be broadcast over the weights.

    >>> unit_norms(torch.tensor([[3.0, 4.0], [0.0, 1.0]])).tolist(), unit_norms(torch.tensor([3.0, 4.0])).tolist()
    ([[5.0], [1.0]], [5.0])
    """
    first = 0 if weights.ndim < 2 else 1
    if weights.ndim == 0:
        return weights.abs()
    norms: Tensor = torch.linalg.vector_norm(weights, dim=tuple(range(first, weights.ndim)), keepdim=True)
    return norms
