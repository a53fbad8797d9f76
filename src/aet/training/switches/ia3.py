"""(IA)³ (Liu et al. 2022, 2205.05638): keys, values and the hidden units of the MLP are rescaled, each by one number.

    k' = l_k ⊙ k,    v' = l_v ⊙ v,    mlp(x) = W₂ (l_ff ⊙ gelu(W₁ x)),    all l = 1 at first

for every block, 2·dim + hidden weights. At the end the numbers are folded into the layers, rows of the projection and
columns of W₂, so that the model is saved, adapted and merged like any other.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aet.training.switch import SWITCHES
from aet.training.tuner import Merged, Tuned


@SWITCHES.register("ia3")
class IA3(Merged):
    """Settings: `where`: all, attention or mlp; whether `head` and `inputs` train too."""

    name = "ia3"
    searched = False
    defaults: ClassVar[dict[str, Any]] = {**Merged.own}

    def replaced(self, plain: nn.Linear, name: str) -> Tuned | None:
        """The packed projection, and the last layer of the MLP."""
        if name == "attention.qkv":
            return ScaledOut(plain)
        return ScaledIn(plain) if name == "mlp.3" else None


class ScaledOut(Tuned):
    """L ⊙ (W x + b), where l is 1 for the queries: the first third of the channels."""

    def __init__(self, plain: nn.Linear) -> None:
        super().__init__(plain)
        self.factor = nn.Parameter(plain.weight.new_ones(2 * plain.out_features // 3))

    def whole(self) -> Tensor:
        """L (out,)."""
        return torch.cat([self.factor.new_ones(self.out_features - len(self.factor)), self.factor])

    def forward(self, x: Tensor) -> Tensor:
        """The formula above."""
        return super().forward(x) * self.whole()

    def fold(self) -> None:
        """Rows of W, and b."""
        self.weight.mul_(self.whole()[:, None])
        self.bias.mul_(self.whole())


class ScaledIn(Tuned):
    """W (l ⊙ x) + b."""

    def __init__(self, plain: nn.Linear) -> None:
        super().__init__(plain)
        self.factor = nn.Parameter(plain.weight.new_ones(plain.in_features))

    def forward(self, x: Tensor) -> Tensor:
        """The formula above."""
        return F.linear(x * self.factor, self.weight, self.bias)

    def fold(self) -> None:
        """Columns of W."""
        self.weight.mul_(self.factor)
