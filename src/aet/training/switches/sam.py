"""Sharpness-aware minimisation (Foret et al. 2021, 2010.01412): the step follows the gradient at a nearby worse place.

    e = rho · g / ‖g‖,    w ← step(w, ∇L(w + e))

with the same rows and the same dropout. Costs a second pass of the rows. The gradient of the switches' terms is taken
at w, since they may draw anew.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from aet.training.switch import SWITCHES, Run, Switch


@SWITCHES.register("sam")
class Sam(Switch):
    """Settings: `rho`, how far the worse place lies."""

    name = "sam"
    defaults: ClassVar[dict[str, Any]] = {"rho": 0.05}

    def gradient(self, run: Run) -> None:
        """Climb, take the gradient there, climb back."""
        parameters: list[Tensor] = [p for p in run.model.parameters() if p.grad is not None]
        slopes = [p.grad for p in parameters if p.grad is not None]
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(slopes)))
        rho = float(self.settings["rho"])
        if not torch.isfinite(norm) or norm == 0 or rho == 0:
            return
        with torch.no_grad():
            places = [p.detach().clone() for p in parameters]
            torch._foreach_add_(parameters, list(torch._foreach_mul(slopes, rho / norm)))
        run.optimiser.zero_grad(set_to_none=True)
        run.backward()
        with torch.no_grad():
            for p, place in zip(parameters, places, strict=True):
                p.copy_(place)
        self.calls += 1

    def acted(self) -> str:
        """Steps taken from the worse place."""
        return f"{self.calls:,} steps from {self.settings['rho']:g} away" if self.calls else ""
