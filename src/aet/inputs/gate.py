"""Attention over the columns: which inputs a model looks at at all, learned with it.

    token ← m + g (token - m),    g = clamp(s, 0, 1),    L += λ Σ_f g_f

s (F,) is one score for each of the F inputs, the same for every row. It starts at 1, where nothing changes. An open
input costs λ, so one that lowers the loss by less is closed: exactly 0, and then it shows the constant m, whatever its
cell holds (the lasso, Tibshirani 1996, on the gate of a group of weights as in LassoNet, Lemhadri et al. 2021,
1907.12207).

m is learned and starts as large as a token: the norms in the trunk keep a token's direction only, so a gate towards
zero would change nothing before it is shut. Sparsemax over the inputs and hard-concrete gates did not find
the columns that matter (docs/lab/tables.md).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class ColumnGate(nn.Module):
    """tokens (B, T, dim) -> (B, T, dim).

    Args:
        owners: for each token the number of its input, 0 to F - 1.
        dim: channels.
        cost: λ.
        rate: how much faster s moves than other weights; in steps of 0.001 it would not arrive.

    >>> gate = ColumnGate([0, 1, 1], dim=4, cost=0.02)
    >>> tokens = torch.randn(2, 3, 4)
    >>> torch.equal(gate(tokens), tokens), gate.weights().tolist()
    (True, [1.0, 1.0])
    """

    owners: Tensor

    def __init__(self, owners: Sequence[int], dim: int, cost: float, rate: float = 10.0) -> None:
        super().__init__()
        self.register_buffer("owners", torch.tensor(owners), persistent=False)
        self.cost, self.rate = cost, rate
        self.change = nn.Parameter(torch.zeros(max(owners) + 1))  # (s - 1) / rate
        self.constant = nn.Parameter(torch.randn(len(owners), dim))  # m

    def weights(self) -> Tensor:
        """Gates g (F,): 1 for an open input, 0 for one that is not looked at."""
        return (1 + self.rate * self.change).clamp(0, 1)

    def penalty(self) -> Tensor:
        """λ Σ g."""
        return self.cost * self.weights().sum()

    def forward(self, tokens: Tensor) -> Tensor:
        """Weigh the tokens."""
        gates = self.weights()[self.owners, None]  # (T, 1)
        # m + g(token - m), written so that g = 1 gives the very bits of the token.
        return tokens * gates + self.constant * (1 - gates)
