"""Parts that a trained trunk may grow and keep, identities at first: adapters and prefixes.

The settings `model.adapter` and `model.prefix` say how large they are; 0 builds none. Both stay
in the model, since no plain weights can do what they do; they are saved and loaded with it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aet.attention.attend import attend
from aet.trunk import Block, Trunk


class Adapted(nn.Linear):
    """A linear layer with a bottleneck adapter behind it (Houlsby et al. 2019, 1902.00751).

        y = W x + b,    y + U·gelu(D y + d) + u

    x (..., in) -> (..., out). U and u start at zero, which makes it the layer it was made from; weights are shared.

    >>> plain = nn.Linear(4, 6)
    >>> torch.equal(Adapted(plain, 2)(torch.ones(3, 4)), plain(torch.ones(3, 4)))
    True
    """

    def __init__(self, plain: nn.Linear, width: int) -> None:
        super().__init__(plain.in_features, plain.out_features, device="meta")
        self.weight, self.bias = plain.weight, plain.bias
        self.down = nn.Linear(plain.out_features, width).to(plain.weight)
        self.up = nn.Linear(width, plain.out_features).to(plain.weight)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x: Tensor) -> Tensor:
        """The layer, then the adapter."""
        y = super().forward(x)
        out: Tensor = y + self.up(F.gelu(self.down(y)))
        return out


class Prefix(nn.Module):
    """Attention to M learned keys and values of each head, gated beside that to the tokens.

        out + tanh(g) · softmax(q·Kᵀ / √D) · V

    q (B, H, T, D) -> (B, H, T, D), what to add. Prefixes of Li and Liang 2021 (2101.00190) with the gate of each head
    that LLaMA-Adapter (Zhang et al. 2023, 2303.16199) starts at zero, which makes it the attention it was.

    >>> Prefix(heads=2, head_dim=3, length=4)(torch.randn(1, 2, 5, 3)).abs().sum().item()
    0.0
    """

    def __init__(self, heads: int, head_dim: int, length: int) -> None:
        super().__init__()
        self.key = nn.Parameter(torch.randn(heads, length, head_dim))
        self.value = nn.Parameter(torch.randn(heads, length, head_dim))
        self.gate = nn.Parameter(torch.zeros(heads))

    def forward(self, query: Tensor) -> Tensor:
        """What the prefix adds."""
        key, value = (t.expand(len(query), *t.shape) for t in (self.key, self.value))  # (B, H, M, D)
        return self.gate.tanh()[:, None, None] * attend(query, key, value)


def grow(trunk: Trunk, adapter: int = 0, prefix: int = 0) -> None:
    """Give each block that has none adapters of a hidden width, a prefix of a length, or both; 0 gives none."""
    for block in trunk.blocks:
        assert isinstance(block, Block)
        for owner, name in ((block.attention, "out"), (block.mlp, str(len(block.mlp) - 1))) if adapter else ():
            if not isinstance(getattr(owner, name), Adapted):
                setattr(owner, name, Adapted(getattr(owner, name), adapter))
        if prefix and block.attention.prefix is None:
            weight = block.attention.out.weight
            block.attention.prefix = Prefix(block.attention.heads, block.attention.head_dim, prefix).to(weight)
