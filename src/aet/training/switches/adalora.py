"""AdaLoRA (Zhang et al. 2023, 2303.10512): LoRA whose ranks move to the layers that need them.

    W' = W + (alpha / rank) · P diag(λ) Q,    P (out, r₀) and Q (r₀, in) drawn orthogonal, λ zero, at first

each of the layers begins with r₀ = `start` triplets (P_·i, λ_i, Q_i·). After each step their worth is

    S_i = s(λ_i) + mean_j s(P_ji) + mean_j s(Q_ij),    s(w) = Ī·Ū,
    Ī ← β Ī + (1 - β) |w·g|,    Ū ← β Ū + (1 - β) |I - Ī|,    β = 0.85

and over all layers together only the b best triplets keep their λ, the others' is set to zero (they may come back). b
falls from `start` to `rank` a layer by a cubic: b = b₁ + (b₀ - b₁)(1 - u)³, u from 0 to 1 between the share `warm` of
the steps and the share `settle` before their end; from there on the choice is final. The loss gets
γ Σ (‖PᵀP - 1‖² + ‖QQᵀ - 1‖²), γ = `orthogonal`, which keeps the triplets apart. At the end W' is folded
into plain layers, so that the model is saved, adapted and merged like any other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aet.errors import ConfigError
from aet.model import Model
from aet.training.switch import SWITCHES, Pass, Run
from aet.training.tuner import Merged, Tuned

BETA = 0.85


@SWITCHES.register("adalora")
class AdaLoRA(Merged):
    """Settings: `rank` and `start`, the last and the first mean rank; `warm`; `settle`; `orthogonal`; more as LoRA."""

    name = "adalora"
    searched = False
    defaults: ClassVar[dict[str, Any]] = {
        "rank": 4,
        "start": 8,
        "alpha": 8.0,
        "warm": 0.1,
        "settle": 0.3,
        "orthogonal": 0.1,
        **Merged.own,
    }
    fractions = ("warm", "settle")

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        if self.settings["rank"] >= self.settings["start"]:
            raise ConfigError(
                f"The switch {self.name!r} needs rank below start, or no rank would move; got rank="
                f"{self.settings['rank']}, start={self.settings['start']}. Lower rank, or turn on lora instead."
            )
        if self.settings["warm"] + self.settings["settle"] >= 1:
            raise ConfigError(
                f"The settings warm and settle of the switch {self.name!r} are shares of the steps that leave some "
                f"between them: expected a sum below 1, got {self.settings['warm']} and {self.settings['settle']}."
            )

    def replaced(self, plain: nn.Linear, name: str) -> Tuned:
        """Every layer."""
        return Triplets(plain, int(self.settings["start"]), float(self.settings["alpha"]) / self.settings["rank"])

    def insert(self, model: Model) -> list[nn.Parameter]:
        """All triplets count at first."""
        parameters = super().insert(model)
        self.parts = [part for part in self.tuned.values() if isinstance(part, Triplets)]
        self.kept = torch.ones(len(self.parts), int(self.settings["start"]), dtype=torch.bool)
        self.kept = self.kept.to(parameters[0].device)
        self.mean = [torch.zeros_like(p, requires_grad=False) for p in parameters]
        self.spread = [torch.zeros_like(p, requires_grad=False) for p in parameters]
        return parameters

    def budget(self, step: int, steps: int) -> int:
        """B: how many triplets keep their λ after a step."""
        first, last = (len(self.parts) * float(self.settings[name]) for name in ("start", "rank"))
        begin, end = float(self.settings["warm"]) * steps, (1 - float(self.settings["settle"])) * steps
        u = min(1.0, max(0.0, (step + 1 - begin) / (end - begin)))
        return round(last + (first - last) * (1 - u) ** 3)

    def term(self, run: Run, seen: Pass) -> Tensor | None:
        """Keep the triplets apart."""
        weight = float(self.settings["orthogonal"])
        return weight * torch.stack([part.tangle() for part in self.parts]).sum() if weight else None

    @torch.no_grad()
    def stepped(self, run: Run) -> None:
        """Value the triplets by the step's gradients, and share out the ranks."""
        final = self.budget(run.step, run.steps) == len(self.parts) * self.settings["rank"] == int(self.kept.sum())
        if not final:
            self.kept = chosen(self.worths(), self.budget(run.step, run.steps))
            self.calls += 1
        for part, kept in zip(self.parts, self.kept, strict=True):
            part.size.mul_(kept)

    @torch.no_grad()
    def gradient(self, run: Run) -> None:
        """Move the averages; here the gradients are whole, and not clipped yet."""
        parameters = [p for part in self.parts for p in part.fresh()]
        now = [torch.zeros_like(p) if p.grad is None else (p * p.grad).abs() for p in parameters]
        self.mean = list(torch._foreach_lerp(self.mean, now, 1 - BETA))
        away = torch._foreach_abs(torch._foreach_sub(now, self.mean))
        self.spread = list(torch._foreach_lerp(self.spread, list(away), 1 - BETA))

    def worths(self) -> Tensor:
        """S (layers, start)."""
        s = [mean * spread for mean, spread in zip(self.mean, self.spread, strict=True)]
        left, size, right = s[0::3], s[1::3], s[2::3]
        return torch.stack([b + a.mean(0) + c.mean(1) for a, b, c in zip(left, size, right, strict=True)])

    def end(self, run: Run) -> None:
        """Note the ranks that stay: those of the best weights, which may be older than the last step."""
        self.ranks = [int(part.size.count_nonzero()) for part in self.parts]
        super().end(run)

    def acted(self) -> str:
        """Ranks from and to; empty if none moved."""
        start, kept = int(self.settings["start"]), self.kept.sum(1).tolist()
        if kept == [start] * len(self.parts):
            return ""
        stayed = getattr(self, "ranks", kept)
        return (
            f"{super().acted()}; ranks of {len(kept)} layers from {start} each to {min(kept)}-{max(kept)} "
            f"({start * len(kept)} to {sum(kept)} in all; the weights kept have {sum(stayed)})"
        )

    def remedy(self, run: Run) -> str:
        """Too few steps."""
        return "No rank moved: raise train.epochs, or lower warm."

    def memory(self) -> dict[str, Tensor]:
        """The choice and the averages."""
        sides = {"mean": self.mean, "spread": self.spread}
        return {
            "kept": self.kept,
            **{f"{side}{number}": t for side, tensors in sides.items() for number, t in enumerate(tensors)},
        }

    def load_memory(self, memory: Mapping[str, Tensor]) -> None:
        """Take them back."""
        self.kept = memory["kept"].to(self.kept.device)
        self.mean = [memory[f"mean{number}"].to(t) for number, t in enumerate(self.mean)]
        self.spread = [memory[f"spread{number}"].to(t) for number, t in enumerate(self.spread)]


class Triplets(Tuned):
    """W x + b + scale · P diag(λ) Q x.

    >>> plain, x = nn.Linear(4, 3), torch.ones(1, 4)
    >>> torch.equal(Triplets(plain, 2, 1.0)(x), plain(x))
    True
    """

    def __init__(self, plain: nn.Linear, rank: int, scale: float) -> None:
        super().__init__(plain)
        self.scale = scale
        self.left = nn.Parameter(plain.weight.new_empty(plain.out_features, rank))  # P
        self.size = nn.Parameter(plain.weight.new_zeros(rank))  # λ
        self.right = nn.Parameter(plain.weight.new_empty(rank, plain.in_features))  # Q
        nn.init.orthogonal_(self.left)
        nn.init.orthogonal_(self.right)

    def forward(self, x: Tensor) -> Tensor:
        """The formula above."""
        return super().forward(x) + self.scale * F.linear(F.linear(x, self.right) * self.size, self.left)

    def tangle(self) -> Tensor:
        """‖PᵀP - 1‖² + ‖QQᵀ - 1‖²."""
        eye = torch.eye(len(self.size), device=self.size.device, dtype=self.size.dtype)
        return (self.left.T @ self.left - eye).square().sum() + (self.right @ self.right.T - eye).square().sum()

    def fold(self) -> None:
        """W ← W + scale · P diag(λ) Q."""
        self.weight.add_(self.scale * (self.left * self.size) @ self.right)


def chosen(worths: Tensor, budget: int) -> Tensor:
    """Which triplets (layers, start) are among the `budget` best; of equal ones the earlier.

    >>> chosen(torch.tensor([[3.0, 1.0], [5.0, 2.0]]), 2)
    tensor([[ True, False],
            [ True, False]])
    """
    order = worths.flatten().argsort(descending=True, stable=True)
    kept = torch.zeros(worths.numel(), dtype=torch.bool, device=worths.device)
    kept[order[:budget]] = True
    return kept.view_as(worths)
