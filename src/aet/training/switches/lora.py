"""LoRA (Hu et al. 2021, 2106.09685): the change of a matrix has a low rank.

    W' = W + (alpha / rank) · B A,    A (rank, in) drawn, B (out, rank) zero at first

for the linear layers of the trunk's blocks, r(in + out) weights each. W stands still. At the end W' is folded into a
plain layer, so that the model is saved, adapted and merged like any other.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from aet.training.switch import SWITCHES
from aet.training.tuner import Merged, Tuned


@SWITCHES.register("lora")
class LoRA(Merged):
    """Settings: `rank`; `alpha`; `where`: all, attention or mlp; whether `head` and `inputs` train too."""

    name = "lora"
    searched = False
    defaults: ClassVar[dict[str, Any]] = {"rank": 8, "alpha": 16.0, **Merged.own}

    def replaced(self, plain: nn.Linear, name: str) -> Tuned:
        """Every layer."""
        rank = int(self.settings["rank"])
        return LowRank(plain, rank, float(self.settings["alpha"]) / rank)


class LowRank(Tuned):
    """W x + b + scale · B A x.

    >>> import torch
    >>> plain, x = nn.Linear(4, 3), torch.ones(1, 4)
    >>> torch.equal(LowRank(plain, 2, 1.0)(x), plain(x))
    True
    """

    def __init__(self, plain: nn.Linear, rank: int, scale: float) -> None:
        super().__init__(plain)
        self.scale = scale
        self.down = nn.Parameter(plain.weight.new_empty(rank, plain.in_features))  # A
        self.up = nn.Parameter(plain.weight.new_zeros(plain.out_features, rank))  # B
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        """The formula above."""
        return super().forward(x) + self.scale * F.linear(F.linear(x, self.down), self.up)

    def fold(self) -> None:
        """W ← W + scale · B A."""
        self.weight.add_(self.scale * self.up @ self.down)
