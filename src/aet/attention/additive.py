"""Bahdanau's additive attention as pooling: one learned or given query looks at all tokens."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from aet.attention.mechanisms import POOLINGS
from aet.attention.pooling import pool
from aet.errors import ConfigError


@POOLINGS.register("additive")
class AdditivePooling(nn.Module):
    """e_j = vᵀ tanh(W_k x_j + W_q q + b), pooled = Σ_j softmax(e)_j x_j (Bahdanau et al. 2015).

    Without a given query, b is the learned one. v starts at zero, so that pooling starts as the mean.

    Args:
        dim: channels D of a token.
        hidden: channels inside the tanh.
        query_dim: channels of the given query; 0 for a learned one.

    >>> pooled, weights = AdditivePooling(dim=8, hidden=4)(torch.randn(3, 5, 8))
    >>> pooled.shape, weights.shape
    (torch.Size([3, 8]), torch.Size([3, 5]))
    """

    def __init__(self, dim: int, hidden: int, query_dim: int = 0) -> None:
        super().__init__()
        self.key = nn.Linear(dim, hidden)  # W_k, b
        self.query = nn.Linear(query_dim, hidden, bias=False) if query_dim else None  # W_q
        self.score = nn.Parameter(torch.zeros(hidden))  # v

    def forward(
        self,
        tokens: Tensor,
        mask: Tensor | None = None,
        key_weights: Tensor | None = None,
        query: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Pooled (B, D) and weights (B, T) of tokens (B, T, D), for queries (B, query_dim) if there are any.

        Other arguments and errors are those of `pool`; ConfigError too if a query is missing or not expected.
        """
        inside = self.key(tokens)  # (B, T, hidden)
        if (query is None) != (self.query is None):
            expected, given = (
                ("no query" if self.query is None else "a query"),
                "none" if query is None else "one",
            )
            raise ConfigError(f"AdditivePooling expected {expected}, got {given}. Set query_dim to the query's width.")
        if self.query is not None:
            inside = inside + self.query(query)[:, None]
        return pool(torch.tanh(inside) @ self.score, tokens, mask, key_weights)
