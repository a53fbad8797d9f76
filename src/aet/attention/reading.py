"""Elastic attention from some tokens to keys and values that may be others': an encoder's, or those of earlier steps.

The dials are those of `ElasticAttention`. Keys and values are kept as they are before the dials, so that what is kept
is right under any state; a dial of theirs acts on the other side of the product instead, on one query and one output in
place of all keys:

    q̃·k̃ = (q̃ (1 + k_scale))·k        Σ a ṽ = (1 + v_scale) Σ a v + v_shift        (weights a sum to one)

At the zero state it is `nn.MultiheadAttention` (Vaswani et al. 2017, 1706.03762).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from aet.attention.attend import attend
from aet.attention.layer import ElasticNorm, scaled
from aet.attention.state import ElasticModule
from aet.errors import ConfigError

Kept = tuple[Tensor, Tensor]
"""Keys and values before the dials, (B, H, S, D) each."""


class ElasticReading(ElasticModule):
    """Multi-head attention with dials to keys and values that `kept` made.

    x (B, T, dim), kept (B, H, S, D) each -> (B, T, dim)

    >>> layer = ElasticReading(8, heads=2)
    >>> x, memory = torch.randn(3, 5, 8), torch.randn(3, 7, 8)
    >>> layer(x, layer.kept(memory)).shape
    torch.Size([3, 5, 8])
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        if dim % heads:
            raise ConfigError(
                f"The width {dim} cannot be split over {heads} heads. Choose a width that is a multiple of the heads."
            )
        self.heads, self.head_dim = heads, dim // heads
        self.query = nn.Linear(dim, dim)
        self.key_value = nn.Linear(dim, 2 * dim)
        self.out = nn.Linear(dim, dim)

    def dial_shapes(self) -> dict[str, tuple[int, ...]]:
        """(H, 1, D) for scales and shifts, (H, 1, 1) for the inverse temperature and the gate."""
        wide, single = (self.heads, 1, self.head_dim), (self.heads, 1, 1)
        wide_dials = dict.fromkeys(("q_scale", "q_shift", "k_scale", "v_scale", "v_shift"), wide)
        return {**wide_dials, "log_beta": single, "log_gate": single}

    def split(self, projected: Tensor) -> Tensor:
        """(B, T, H·D) -> (B, H, T, D)."""
        return projected.view(*projected.shape[:-1], self.heads, self.head_dim).transpose(1, 2)

    def kept(self, tokens: Tensor) -> Kept:
        """Keys and values of tokens (B, S, dim)."""
        key, value = self.key_value(tokens).chunk(2, -1)
        return self.split(key), self.split(value)

    def forward(self, x: Tensor, kept: Kept, bias: Tensor | None = None, causal: bool = False) -> Tensor:
        """Attend from every token of x; `bias` and `causal` as in `attend`. Each query must see a key."""
        query, dials = self.split(self.query(x)), self.dials()
        if dials:
            query = query * (1 + dials["q_scale"]) + dials["q_shift"]
            query = query * (dials["log_beta"].exp() * (1 + dials["k_scale"]))
        mixed = attend(query, *kept, bias=bias, causal=causal)
        if dials:
            mixed = (mixed * (1 + dials["v_scale"]) + dials["v_shift"]) * dials["log_gate"].exp()
        out: Tensor = self.out(mixed.transpose(1, 2).flatten(-2))
        return out

    def fold(self, dials: Mapping[str, Tensor]) -> None:
        """The dials into the weights of query, keys and values."""
        beta, gate = dials["log_beta"].exp(), dials["log_gate"].exp()
        still = torch.zeros_like(dials["k_scale"])
        gains = torch.cat([1 + dials["k_scale"], gate * (1 + dials["v_scale"])])
        moved = torch.cat([still, gate * dials["v_shift"]])
        for layer, gain, shift in (
            (self.query, beta * (1 + dials["q_scale"]), beta * dials["q_shift"]),
            (self.key_value, gains, moved),
        ):
            weight, bias = scaled(layer.weight, layer.bias, gain, shift)
            layer.weight.copy_(weight)
            layer.bias.copy_(bias)


class StepNorm(ElasticNorm):
    """An elastic layer norm inside what answers step by step.

    To `watched_norms` it is none: who watches expects each norm once for all rows, and here each step passes it.
    """

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Norm, then the dials."""
        return self.dialled(x, mask)
