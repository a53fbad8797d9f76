"""Decoder blocks: causal elastic self-attention, elastic attention to what was read, and a cache for single steps.

    x ← x + self(norm(x)),   x ← x + read(norm(x), memory),   x ← x + mlp(norm(x))

(Vaswani et al. 2017, 1706.03762, in the pre-norm form of Xiong et al. 2020, 2002.04745.)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from aet.attention.reading import ElasticReading, Kept, StepNorm


@dataclass
class Cache:
    """What the steps so far leave for the next, before the dials.

    memory: keys and values of what was read, a block each; own: those of the steps, none before the first; real:
    where the memory has a token (B, S).
    """

    memory: list[Kept]
    own: list[Kept | None]
    real: Tensor

    @property
    def steps(self) -> int:
        """How many there were."""
        return 0 if self.own[0] is None else self.own[0][0].shape[2]

    def rows(self, index: Tensor) -> Cache:
        """Those of the rows at these places (N,), in order."""
        own = [None if kept is None else (kept[0][index], kept[1][index]) for kept in self.own]
        return Cache([(key[index], value[index]) for key, value in self.memory], own, self.real[index])


class DecoderBlock(nn.Module):
    """One block.

    x (B, T, dim), memory (B, H, S, D) each -> (B, T, dim), keys and values of the steps so far
    """

    def __init__(self, dim: int, heads: int, expansion: float, dropout: float) -> None:
        super().__init__()
        hidden = max(1, int(dim * expansion))
        self.norm_own, self.own = StepNorm(dim), ElasticReading(dim, heads)
        self.norm_memory, self.memory = StepNorm(dim), ElasticReading(dim, heads)
        self.norm_mlp = StepNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, dim))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, memory: Kept, bias: Tensor, before: Kept | None) -> tuple[Tensor, Kept]:
        """All steps at once without any `before`, or the one that follows them."""
        own = self.norm_own(x)
        kept = self.own.kept(own)
        if before is not None:
            kept = (torch.cat([before[0], kept[0]], 2), torch.cat([before[1], kept[1]], 2))
        x = x + self.dropout(self.own(own, kept, causal=before is None))
        x = x + self.dropout(self.memory(self.norm_memory(x), memory, bias))
        return x + self.dropout(self.mlp(self.norm_mlp(x))), kept


class Decoder(nn.Module):
    """Blocks with learned positions and a last norm.

    steps (B, T, dim), cache -> (B, T, dim), the cache with these steps

    Args:
        dim: channels of a token.
        depth: blocks.
        heads: of each attention; they divide dim.
        length: steps at most.

    >>> decoder = Decoder(8, depth=2, heads=2, length=6).eval()
    >>> memory, real, steps = torch.randn(3, 5, 8), torch.ones(3, 5, dtype=torch.bool), torch.randn(3, 4, 8)
    >>> whole, _ = decoder(steps, decoder.start(memory, real))
    >>> cache = decoder.start(memory, real)
    >>> for place in range(4):
    ...     one, cache = decoder(steps[:, place : place + 1], cache)
    >>> torch.allclose(one, whole[:, -1:], atol=1e-5)
    True
    """

    def __init__(
        self, dim: int, depth: int, heads: int, length: int, expansion: float = 2.0, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(DecoderBlock(dim, heads, expansion, dropout) for _ in range(depth))
        self.positions = nn.Parameter(0.1 * torch.randn(length, dim))
        self.norm = StepNorm(dim)
        self.dropout = nn.Dropout(dropout)

    def start(self, memory: Tensor, real: Tensor) -> Cache:
        """The cache before the first step: memory (B, S, dim), and where it has a token (B, S)."""
        blocks = [block for block in self.blocks if isinstance(block, DecoderBlock)]
        return Cache([block.memory.kept(memory) for block in blocks], [None] * len(blocks), real)

    def forward(self, steps: Tensor, cache: Cache) -> tuple[Tensor, Cache]:
        """All steps at once from an empty cache, or one more."""
        first = cache.steps
        x = self.dropout(steps + self.positions[first : first + steps.shape[1]])
        bias, own = cache.real[:, None, None], list[Kept | None]()
        for block, memory, before in zip(self.blocks, cache.memory, cache.own, strict=True):
            x, kept = block(x, memory, bias, before)
            own.append(kept)
        out: Tensor = self.norm(x)
        return out, Cache(cache.memory, own, cache.real)
