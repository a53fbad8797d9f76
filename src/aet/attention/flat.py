"""A summary that knows what stood where: each token has a map of its own."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class FlatPooling(nn.Module):
    """pooled = Σ_j W_j x_j + b, the flattened head of Nie et al. 2023 (2211.14730) at the width of one token.

    For rows whose tokens always stand at the same places, such as the patches of a window; not one of `POOLINGS`, which
    take any number of tokens. The weights are the shares of the tokens' parts, |W_j x_j| / Σ_k |W_k x_k|.

    Args:
        dim: channels D of a token.
        tokens: T.

    tokens (B, T, D), mask (B, T) or None -> pooled (B, D), weights (B, T)

    >>> pooled, weights = FlatPooling(dim=8, tokens=5)(torch.randn(3, 5, 8))
    >>> pooled.shape, weights.shape
    (torch.Size([3, 8]), torch.Size([3, 5]))
    """

    def __init__(self, dim: int, tokens: int) -> None:
        super().__init__()
        self.maps = nn.Parameter(torch.randn(tokens, dim, dim) / (tokens * dim) ** 0.5)  # W
        self.bias = nn.Parameter(torch.zeros(dim))

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Masked tokens count as 0."""
        if mask is not None:
            tokens = tokens.masked_fill(~mask[..., None], 0.0)
        parts = torch.bmm(tokens.transpose(0, 1), self.maps)  # (T, B, D)
        sizes = (parts.square().sum(-1) + 1e-12).sqrt().T  # (B, T)
        return parts.sum(0) + self.bias, sizes / sizes.sum(-1, keepdim=True)
