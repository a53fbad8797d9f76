"""Gated attention pooling for bags of instances."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from aet.attention.mechanisms import POOLINGS
from aet.attention.pooling import pool


@POOLINGS.register("gated")
class GatedPooling(nn.Module):
    """e_j = wᵀ(tanh(V x_j) ⊙ σ(U x_j)), pooled = Σ_j softmax(e)_j x_j (Ilse et al. 2018, arXiv:1802.04712).

    The weights say which instances of the bag spoke. w starts at zero, so that pooling starts as the mean.

    Args:
        dim: channels D of a token.
        hidden: channels of V and U.

    >>> pooled, weights = GatedPooling(dim=8, hidden=4)(torch.randn(3, 5, 8))
    >>> weights[0]
    tensor([0.2000, 0.2000, 0.2000, 0.2000, 0.2000], grad_fn=...)
    """

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.content = nn.Linear(dim, hidden)  # V
        self.gate = nn.Linear(dim, hidden)  # U
        self.score = nn.Parameter(torch.zeros(hidden))  # w

    def forward(
        self, tokens: Tensor, mask: Tensor | None = None, key_weights: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Pooled (B, D) and weights (B, T) of tokens (B, T, D); arguments and errors are those of `pool`."""
        inside = torch.tanh(self.content(tokens)) * torch.sigmoid(self.gate(tokens))  # (B, T, hidden)
        return pool(inside @ self.score, tokens, mask, key_weights)
