"""A gate on the output of attention, read from the token that asks."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor, nn

from aet.attention.mechanisms import MECHANISMS, Dials, Mechanism


@MECHANISMS.register("gate")
class OutputGate(Mechanism):
    """g = 2σ(xW + b), a gate for each head and channel (gated attention, Qiu et al. 2025, arXiv:2505.06708).

    The paper's gate is σ(xW), from the normed hidden state, after attention and before the output
    projection. The factor 2 makes W = 0, b = 0 exactly no gate, and the output projection can absorb it.
    Reports differ on its
    worth: gains on plain transformers, none or harm on well-tuned ones.

    Args:
        dim: channels of x.
        heads: query heads H.
        width: gates for each head: its channels, or 1 for one gate a head.

    >>> gate = OutputGate(dim=8, heads=2, width=4)
    >>> gate(torch.randn(3, 5, 8))["gate"].shape
    torch.Size([3, 2, 5, 4])
    """

    def __init__(self, dim: int, heads: int, width: int = 1) -> None:
        super().__init__()
        self.heads, self.width = heads, width
        self.project = nn.Linear(dim, heads * width)
        nn.init.zeros_(self.project.weight)
        nn.init.zeros_(self.project.bias)

    @classmethod
    def at_zero(cls, dim: int, heads: int) -> Self:
        """As at its start, with a gate for each channel."""
        return cls(dim, heads, dim // heads)

    def learned(self) -> dict[str, tuple[Tensor, Tensor | float]]:
        """W and b."""
        return {"weight": (self.project.weight, 0.0), "bias": (self.project.bias, 0.0)}

    def forward(self, tokens: Tensor) -> Dials:
        """The gate (B, H, T, width) for tokens (B, T, dim)."""
        gate = 2 * torch.sigmoid(self.project(tokens))  # (B, T, H * width)
        return Dials(gate=gate.view(*gate.shape[:2], self.heads, self.width).transpose(1, 2))
