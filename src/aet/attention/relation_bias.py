"""A bias between the concepts that tokens hold, known beforehand but for its strengths.

    score_ij += Σ_c s_hc A_c[concept_i, concept_j],    s_hc = start_c + 10 w_c p_hc,  p = 0 at the start

one learned strength for each head and class c of pairs: a shortest-path distance or the relation of an edge (the
spatial and edge terms of Graphormer, Ying et al. 2021, 2106.05234), or a rule. With A_c = U G_c Vᵀ the bias is of low
rank, U[concept_i] (Σ_c s_hc G_c) V[concept_j]ᵀ, and stays on the fused kernel.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from aet.attention.mechanisms import Dials, Mechanism

PACE = 10.0
"""Strength for each unit of the parameter: optimisers move that by some learning rate a step."""


class LowRank(NamedTuple):
    """U (B, T, r) and V (B, T, r) of the tokens, G (C, r, r)."""

    near: Tensor
    far: Tensor
    cores: Tensor


class Dense(NamedTuple):
    """A of the tokens, (B, T, T, C)."""

    pairs: Tensor


class RelationBias(Mechanism):
    """The formula above; without relations it adds nothing.

    Args:
        classes: names of the classes c.
        heads: H.
        starts: start_c, 0 unless given.
        paces: w_c, 1 unless given.
    """

    start: Tensor
    pace: Tensor

    def __init__(
        self,
        classes: Sequence[str],
        heads: int,
        starts: Sequence[float] | None = None,
        paces: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        self.classes = tuple(classes)
        self.register_buffer("start", torch.tensor(starts or [0.0] * len(classes))[:, None])  # (C, 1)
        self.register_buffer("pace", PACE * torch.tensor(paces or [1.0] * len(classes))[:, None])
        self.moved = nn.Parameter(torch.zeros(len(classes), heads))  # p

    def strengths(self) -> Tensor:
        """S (C, H)."""
        return self.start + self.pace * self.moved

    def learned(self) -> dict[str, tuple[Tensor, Tensor | float]]:
        """S of each class."""
        now = self.strengths()
        return {name: (row, float(start)) for name, row, start in zip(self.classes, now, self.start, strict=True)}

    def dials(self, related: LowRank | Dense | None) -> Dials:
        """Factors, or a dense bias."""
        if related is None:
            return Dials()
        if isinstance(related, Dense):
            return Dials(bias=torch.einsum("bijc,ch->bhij", related.pairs, self.strengths()))
        mixed = torch.einsum("ch,crs->hrs", self.strengths(), related.cores)
        return Dials(query_factor=related.near[:, None] @ mixed, key_factor=related.far[:, None])


class GraphBias(RelationBias):
    """Of a graph.

    >>> from aet.attention.attend import attend
    >>> bias = GraphBias(["distance 1"], heads=2)
    >>> one = torch.eye(3)[None]
    >>> q, k, v = torch.randn(3, 1, 2, 3, 4).unbind()
    >>> torch.allclose(attend(q, k, v, **bias(LowRank(one, one, torch.ones(1, 3, 3)))), attend(q, k, v), atol=1e-6)
    True
    """

    def forward(self, graph: LowRank | Dense | None = None) -> Dials:
        """Dials."""
        return self.dials(graph)


class RuleBias(RelationBias):
    """Of rules."""

    def forward(self, rules: LowRank | Dense | None = None) -> Dials:
        """Dials."""
        return self.dials(rules)
