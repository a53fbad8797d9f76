"""The trunk: pre-norm transformer blocks of elastic attention, pooled by attention into one summary per row."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aet.attention.additive import AdditivePooling
from aet.attention.layer import ElasticAttention, ElasticNorm


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)) (Xiong et al. 2020, 2002.04745: the pre-norm form).

    x (B, T, dim), bias (B, 1, 1, T) boolean -> (B, T, dim)
    """

    def __init__(self, dim: int, heads: int, expansion: float, dropout: float) -> None:
        super().__init__()
        hidden = max(1, int(dim * expansion))
        self.norm_attention = ElasticNorm(dim)
        self.attention = ElasticAttention(dim, heads)
        self.norm_mlp = ElasticNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, dim))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """One block."""
        x = x + self.dropout(self.attention(self.norm_attention(x), bias))
        out: Tensor = x + self.dropout(self.mlp(self.norm_mlp(x)))
        return out


class Trunk(nn.Module):
    """Blocks, a last norm, and additive attention that pools the tokens.

    tokens (B, T, dim), mask (B, T) boolean, True where a token is real -> summary (B, dim)

    >>> import torch
    >>> Trunk(dim=16, depth=2, heads=2)(torch.randn(3, 5, 16)).shape
    torch.Size([3, 16])
    """

    def __init__(self, dim: int, depth: int, heads: int, expansion: float = 2.0, dropout: float = 0.0) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(dim, heads, expansion, dropout) for _ in range(depth))
        self.norm = ElasticNorm(dim)
        self.pool = AdditivePooling(dim, dim)

    def forward(self, tokens: Tensor, mask: Tensor | None = None, taps: list[Tensor] | None = None) -> Tensor:
        """Summary of each row; `taps` collects each block's output (B, T, dim) and the summary (B, 1, dim)."""
        bias = None if mask is None else mask[:, None, None, :]  # (B, 1, 1, T)
        for block in self.blocks:
            tokens = block(tokens, bias)
            if taps is not None:
                taps.append(tokens)
        summary: Tensor = self.pool(self.norm(tokens), mask)[0]
        if taps is not None:
            taps.append(summary[:, None])
        return summary

    @torch.no_grad()
    def focus(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """How much of the summary comes from each token, (B, T), each row summing to one.

        Attention rollout (Abnar and Zuidema 2020, 2005.00928): the product of ½(A + I) over the blocks, A the
        head-averaged weights, read through the pooling weights.
        """
        bias = None if mask is None else mask[:, None, None, :]
        eye = torch.eye(tokens.shape[1], device=tokens.device, dtype=tokens.dtype)
        rolled = eye.expand(tokens.shape[0], -1, -1)  # (B, T, T)
        for block in self.blocks:
            assert isinstance(block, Block)
            weights = block.attention.weights(block.norm_attention(tokens), bias).mean(1)
            rolled = 0.5 * (weights + eye) @ rolled
            tokens = block(tokens, bias)
        _, pooled = self.pool(self.norm(tokens), mask)  # (B, T)
        return F.normalize((pooled[:, None] @ rolled).squeeze(1), p=1, dim=-1)
