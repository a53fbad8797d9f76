"""Meta-Weight-Net (Shu et al. 2019, 1902.07379), first order: a row's weight is a learned function of its loss.

    w_i = V(l_i; θ) / mean V,    V(l; θ) = σ(uᵀ relu(a l + b) + c)
    θ ← Adam(θ, -∇_θ Σ_i w_i(θ) c_i / n),    c_i = ⟨g_i, ḡ_clean⟩

The clean loss after a step on the weighted rows falls by the sum, to first order in the step; so θ learns which losses
belong to rows that help. The paper differentiates through the step of all layers; here the gradients are the head's, at
the weights before the step, in closed form (`aet.training.clean`, which also says where the clean rows come from). As
in the paper θ moves first and the batch is weighed by the new θ. u and c start at 0: all rows weigh alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from aet.training.clean import CLEAN, CleanSwitch
from aet.training.row_weights import mean_one
from aet.training.switch import SWITCHES, Pass, Run


@SWITCHES.register("meta_weights")
class MetaWeights(CleanSwitch):
    """Settings: `hidden` units of V; `rate` of Adam; the clean set's `share`, or `file` and `column`, and `rows`."""

    name = "meta_weights"
    monitors = "metric"
    defaults: ClassVar[dict[str, Any]] = {"hidden": 32, "rate": 0.01, **CLEAN}
    excludes = ("learning_to_reweight",)

    def begin(self, run: Run) -> None:
        """The clean rows, and a V that weighs all rows alike."""
        super().begin(run)
        hidden = self.settings["hidden"]
        self.theta = torch.cat([torch.empty(2 * hidden).uniform_(-1, 1), torch.zeros(hidden + 1)]).to(run.model.device)
        self.first, self.second = torch.zeros_like(self.theta), torch.zeros_like(self.theta)
        self.learned = 0  # rows of the step that θ has learned from

    def weights(self, run: Run, seen: Pass) -> Tensor:
        """θ learns, once a step from each row, and then gives the weights."""
        losses = seen.losses.detach().float()
        if self.learned < len(run.rows):
            self.learn(losses, self.agreement(run, seen), seen.batch.weight)
            self.learned += len(losses)
        self.hush()
        return mean_one(weight_of(losses, self.theta), seen.batch.weight).to(seen.losses)

    def learn(self, losses: Tensor, agreement: Tensor, counts: Tensor | None) -> None:
        """One step of Adam (Kingma and Ba 2015) on θ."""
        theta = self.theta.detach().requires_grad_()
        with torch.enable_grad():
            weights = mean_one(weight_of(losses, theta), counts)
            gain = (weights * agreement.float() * (1.0 if counts is None else counts)).mean()
            slope = torch.autograd.grad(-gain, theta)[0]
        self.calls += 1
        self.first = torch.lerp(self.first, slope, 0.1)
        self.second = torch.lerp(self.second, slope.square(), 0.001)
        first, second = self.first / (1 - 0.9**self.calls), self.second / (1 - 0.999**self.calls)
        self.theta = self.theta - float(self.settings["rate"]) * first / (second.sqrt() + 1e-8)

    def stepped(self, run: Run) -> None:
        """The next step's rows are new."""
        super().stepped(run)
        self.learned = 0

    def acted(self) -> str:
        """What V makes of a small loss beside a large one."""
        if not self.calls:
            return ""
        small, large = weight_of(torch.tensor([0.0, 3.0], device=self.theta.device), self.theta).tolist()
        return f"learned from {self.calls:,} batches: weight {small:.2g} at loss 0, {large:.2g} at loss 3"

    def memory(self) -> dict[str, Tensor]:
        """θ and Adam's moments."""
        return {"theta": self.theta, "first": self.first, "second": self.second}

    def load_memory(self, memory: Mapping[str, Tensor]) -> None:
        """Take them back."""
        self.theta, self.first, self.second = (memory[name].to(self.theta) for name in ("theta", "first", "second"))


def weight_of(losses: Tensor, theta: Tensor) -> Tensor:
    """V(l; θ) (B,) of losses (B,), θ = (a, b, u, c).

    >>> weight_of(torch.tensor([0.0, 7.0]), torch.zeros(3 * 4 + 1))
    tensor([0.5000, 0.5000])
    """
    hidden = len(theta) // 3
    a, b, u, c = theta.split([hidden, hidden, hidden, 1])
    return torch.sigmoid(torch.relu(losses[:, None] * a + b) @ u + c)
