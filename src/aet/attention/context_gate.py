"""A gate on the output of attention, read from the whole row."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor, nn

from aet.attention.mechanisms import MECHANISMS, Dials, Mechanism


@MECHANISMS.register("context_gate")
class ContextGate(Mechanism):
    """g = 2σ(W₂ gelu(W₁ c) + b₂), a gate for each head and channel from c, the mean of the row's real tokens.

    Squeeze and excitation (Hu et al. 2018, arXiv:1709.01507) on the channels of attention. W₂ = 0, b₂ = 0 is no gate.

    Args:
        dim: channels of a token.
        heads: query heads H; they divide `dim`.
        hidden: channels inside.

    >>> ContextGate(dim=8, heads=2)(torch.randn(3, 8))["gate"].shape
    torch.Size([3, 2, 1, 4])
    """

    def __init__(self, dim: int, heads: int, hidden: int = 16) -> None:
        super().__init__()
        self.heads = heads
        self.squeeze = nn.Sequential(nn.Linear(dim, hidden), nn.GELU())
        self.excite = nn.Linear(hidden, dim)
        nn.init.zeros_(self.excite.weight)
        nn.init.zeros_(self.excite.bias)

    @classmethod
    def at_zero(cls, dim: int, heads: int) -> Self:
        """As at its start."""
        return cls(dim, heads)

    def learned(self) -> dict[str, tuple[Tensor, Tensor | float]]:
        """W₂ and b₂."""
        return {"weight": (self.excite.weight, 0.0), "bias": (self.excite.bias, 0.0)}

    def forward(self, context: Tensor) -> Dials:
        """The gate (B, H, 1, D) for contexts (B, dim)."""
        gate = 2 * torch.sigmoid(self.excite(self.squeeze(context)))  # (B, dim)
        return Dials(gate=gate.unflatten(-1, (self.heads, 1, -1)))
