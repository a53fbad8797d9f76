"""Luong's general score: a learned matrix between query and key, folded into the query."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

import torch
from torch import Tensor, nn

from aet.attention.mechanisms import MECHANISMS, Mechanism
from aet.errors import ConfigError


@MECHANISMS.register("multiplicative")
class Multiplicative(Mechanism):
    """score(q, k) = qᵀ W k for each head (Luong et al. 2015, "general"); q ← qᵀ W costs one small product.

    W starts at the identity, which is the dot score. Query and key may differ in width.

    Args:
        heads: query heads H.
        query_width: channels of one query head.
        key_width: channels of one key head, by default the same.

    >>> from aet.attention.attend import attend
    >>> luong = Multiplicative(heads=2, query_width=4)
    >>> q, k, v = torch.randn(3, 1, 2, 5, 4).unbind()
    >>> torch.equal(attend(luong(q), k, v), attend(q, k, v))
    True
    """

    gives: ClassVar[Literal["dials", "query", "output"]] = "query"

    def __init__(self, heads: int, query_width: int, key_width: int | None = None) -> None:
        super().__init__()
        start = torch.eye(query_width, query_width if key_width is None else key_width)
        self.weight = nn.Parameter(start.repeat(heads, 1, 1))  # W: (H, Dq, Dk)

    @classmethod
    def at_zero(cls, dim: int, heads: int) -> Self:
        """W = I."""
        return cls(heads, dim // heads)

    def learned(self) -> dict[str, tuple[Tensor, Tensor | float]]:
        """W."""
        return {"W": (self.weight, torch.eye(*self.weight.shape[1:]).to(self.weight))}

    def forward(self, query: Tensor) -> Tensor:  # (B, H, T, Dk)
        """The query to give to `attend`, from a query (B, H, T, Dq)."""
        if query.shape[-1] != self.weight.shape[1] or query.shape[1] != self.weight.shape[0]:
            raise ConfigError(
                f"The query does not fit. Expected (B, {self.weight.shape[0]}, T, {self.weight.shape[1]}), "
                f"got {tuple(query.shape)}. Build Multiplicative with the query's heads and width."
            )
        return query @ self.weight
