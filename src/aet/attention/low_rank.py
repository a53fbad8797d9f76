"""A learned bias between concepts, of low rank, so that it never becomes a (T, S) matrix."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor, nn

from aet.attention.mechanisms import MECHANISMS, Dials, Mechanism
from aet.errors import ConfigError


@MECHANISMS.register("concept_bias")
class ConceptBias(Mechanism):
    """Adds U[c_i]·W[c_j] to the score of query i and key j, for each head.

    c is a number per token: a skill, a product class, a node of a knowledge graph. With the full rank it is
    any table of concept pairs (Graphormer's b_{φ(i,j)}, Ying et al. 2021, where φ depends on the pair's
    concepts). W starts at zero and U does not, so the bias is zero at first and still has a gradient.

    Args:
        concepts: how many concepts there are.
        heads: query heads H.
        rank: r, the channels it adds to queries and keys.
        key_heads: Hkv where keys are grouped, H by default.

    >>> from aet.attention.attend import attend
    >>> bias = ConceptBias(concepts=10, heads=2, rank=3)
    >>> q, k, v = torch.randn(3, 1, 2, 5, 4).unbind()
    >>> c = torch.randint(10, (1, 5))
    >>> torch.allclose(attend(q, k, v, **bias(c)), attend(q, k, v), atol=1e-6)
    True
    """

    def __init__(self, concepts: int, heads: int, rank: int = 8, key_heads: int | None = None) -> None:
        super().__init__()
        self.query_table = nn.Parameter(torch.randn(concepts, heads, rank) * rank**-0.5)  # U
        self.key_table = nn.Parameter(torch.zeros(concepts, heads if key_heads is None else key_heads, rank))  # W

    @classmethod
    def at_zero(cls, dim: int, heads: int) -> Self:
        """As at its start, with `dim` concepts."""
        return cls(dim, heads)

    def learned(self) -> dict[str, tuple[Tensor, Tensor | float]]:
        """W."""
        return {"key table": (self.key_table, 0.0)}

    def forward(self, concepts: Tensor, key_concepts: Tensor | None = None) -> Dials:
        """Factors for query concepts (B, T) and key concepts (B, S), by default the same."""
        return Dials(
            query_factor=self._look_up(self.query_table, concepts),  # (B, H, T, r)
            key_factor=self._look_up(self.key_table, concepts if key_concepts is None else key_concepts),
        )

    def _look_up(self, table: Tensor, concepts: Tensor) -> Tensor:
        known = len(table)
        if concepts.numel() and (int(concepts.min()) < 0 or int(concepts.max()) >= known):
            raise ConfigError(
                f"Unknown concept. Expected numbers from 0 to {known - 1}, got {int(concepts.min())} to "
                f"{int(concepts.max())}. Map new concepts to one kept for the unknown."
            )
        return table[concepts].transpose(1, 2)
