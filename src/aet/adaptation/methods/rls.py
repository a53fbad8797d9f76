"""Forecasts corrected by their own late truths, horizon by horizon, in closed form: recursive least squares.

    y_h - f_h = g_h f_h + b_h,    θ_h = (g_h, b_h) = (Σ_i β^(n-i) x_i x_iᵀ + λI)⁻¹ Σ_i β^(n-i) x_i (y_i - f_i)

for each horizon h, x_i = (f_i, 1).

f and y at the size of each row's window, f the source's. This is e = y - xθ, K = Px / (β + xᵀPx), θ ← θ + Ke,
P ← (P - KxᵀP) / β, written with P⁻¹, which is summed up: so the anchor λ at the source never fades, as it does where P
alone is carried on, and the state stays bounded. Each row counts as 1 / H of one, since the windows of a stream overlap
by H values; rows are forgotten with a half-life in rows.

The dials `gain` and `bias` of the output hold θ. What was served is not touched: θ acts on the forecasts to come.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from aet.adaptation.base import METHODS, Method
from aet.attention.state import ElasticState, applied
from aet.batch import Batch
from aet.outputs.forecast import ForecastOutput

FARTHEST = 1.0
"""Largest gain and bias in size: twice the forecast, or one scale of the window."""
WILD = 5.0
"""Errors count for so many scales of the window at most."""


@METHODS.register("rls")
class RecursiveLeastSquares(Method):
    """Settings: `half_life` of a truth in rows, `anchor` λ."""

    defaults: ClassVar[dict[str, Any]] = {"half_life": 720.0, "anchor": 1.0}
    needs = ("forecast",)

    def reset(self) -> None:
        """Back to the source, with nothing known."""
        super().reset()
        output = self.model.output
        assert isinstance(output, ForecastOutput)
        self.moments = torch.zeros(output.horizon, 2, 3, dtype=torch.float64)
        """Per horizon Σ x xᵀ (2, 2) and Σ x (y - f) (2,), side by side."""

    def label(self, batch: Batch) -> None:
        """Take in truths; the state is θ of all so far."""
        if not len(batch) or batch.target is None:
            return
        output = self.model.output
        assert isinstance(output, ForecastOutput)
        with applied(None):
            logits = self.model.logits(batch)
        self.passes += len(batch)
        forecasts, _, tail = output.split(logits)
        truth, known = output.truth(batch.target.to(logits.device), tail)
        f, error = forecasts[:, 0].double(), (truth - forecasts[:, 0]).double()
        known &= error.isfinite()
        f, error = (figure.nan_to_num(0.0).clamp(-WILD, WILD) for figure in (f, error))
        x = torch.stack([f, torch.ones_like(f)], -1) * known[..., None]  # (B, H, 2)
        both = torch.cat([x, error[..., None]], -1)  # (B, H, 3)
        age = torch.arange(len(batch) - 1, -1, -1, dtype=torch.float64)
        kept = 0.5 ** (age / self.settings["half_life"]) / output.horizon
        self.moments = 0.5 ** (len(batch) / self.settings["half_life"]) * self.moments + torch.einsum(
            "b,bhi,bhj->hij", kept, x, both
        )
        self.settle()

    def settle(self) -> None:
        """The state that the moments say."""
        anchored = self.moments[..., :2] + max(self.settings["anchor"], 1e-6) * torch.eye(2, dtype=torch.float64)
        theta = torch.linalg.solve(anchored, self.moments[..., 2:])[..., 0].clamp(-FARTHEST, FARTHEST)  # (H, 2)
        like = self.state["output.gain"]
        moved = {"output.gain": theta[:, 0], "output.bias": theta[:, 1]}
        self.state = ElasticState({**self.state, **{name: t.to(like) for name, t in moved.items()}})

    def memory(self) -> dict[str, Tensor]:
        """The moments."""
        return {"moments": self.moments}

    def load_memory(self, memory: Mapping[str, Tensor]) -> None:
        """Take back the moments."""
        self.moments = memory["moments"]
