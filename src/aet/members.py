"""Batch ensembles: one network that answers as k cheap members (TabM-mini, Gorishniy et al. 2024, 2410.24210).

    member j:  z_j = W_j · trunk(r_j ∘ tokens) + b_j,    r_j ∈ {-1, 1}^(T, dim) at the start, learned

The trunk is shared; a member has its own scales r_j on the tokens and its own head. In training each member has its own
loss, and the row's is their mean; in evaluation their answers are averaged. Scales on the input alone are enough to
make members differ, as in BatchEnsemble (Wen et al. 2020, 2002.06715) without the scales of later layers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from aet.attention.state import picked
from aet.errors import ConfigError
from aet.trunk import DYNAMIC, Trunk


class MemberTrunk(Trunk):
    """A trunk through which each row passes once a member.

    tokens (B, T, dim), mask (B, T) -> summary (B·k, dim), the members of a row side by side

    >>> MemberTrunk(4, tokens=5, dim=16, depth=1, heads=2)(torch.randn(3, 5, 16)).shape
    torch.Size([12, 16])
    """

    def __init__(
        self,
        members: int,
        tokens: int,
        dim: int,
        depth: int,
        heads: int,
        expansion: float = 2.0,
        dropout: float = 0.0,
        attention: Mapping[str, Mapping[str, Any]] | None = None,
        norm: str = "layer",
    ) -> None:
        if DYNAMIC in (attention or {}):
            raise ConfigError(
                f"The mechanism {DYNAMIC!r} reads what the rows of a batch have in common: expected model.members=1, "
                f"got {members}. Turn one of the two off."
            )
        super().__init__(dim, depth, heads, expansion, dropout, attention, norm)
        self.members = members
        self.scales = nn.Parameter(torch.randint(0, 2, (members, tokens, dim)) * 2.0 - 1.0)  # r

    def spread(self, tokens: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Tokens (B·k, T, dim) and mask (B·k, T)."""
        many = (tokens[:, None] * self.scales).flatten(0, 1)
        return many, None if mask is None else mask.repeat_interleave(self.members, 0)

    def repeated(self, rows: int) -> AbstractContextManager[None]:
        """Within the context a batched state of `rows` rows holds one for each member of each row."""
        return picked(self, rows, torch.arange(rows).repeat_interleave(self.members))

    def forward(
        self,
        tokens: Tensor,
        mask: Tensor | None = None,
        taps: list[Tensor] | None = None,
        parts: list[Tensor] | None = None,
        concepts: Tensor | None = None,
    ) -> Tensor:
        """Summary of each member; `taps` as in `Trunk.forward`, over all members."""
        with self.repeated(len(tokens)):
            return super().forward(*self.spread(tokens, mask), taps, parts, self.each(concepts))

    def each(self, concepts: Tensor | None) -> Tensor | None:
        """Concepts (B·k, T), the same for each member."""
        return None if concepts is None else concepts.repeat_interleave(self.members, 0)

    def focus(self, tokens: Tensor, mask: Tensor | None = None, concepts: Tensor | None = None) -> Tensor:
        """The members' mean of `Trunk.focus`, (B, T)."""
        with self.repeated(len(tokens)):
            each: Tensor = super().focus(*self.spread(tokens, mask), self.each(concepts))
            return each.view(len(tokens), self.members, -1).mean(1)


class MemberHeads(nn.Module):
    """A linear head a member: summary (B·k, dim) -> (B, k, width).

    >>> MemberHeads(4, 16, 3)(torch.randn(8, 16)).shape
    torch.Size([2, 4, 3])
    """

    def __init__(self, members: int, dim: int, width: int) -> None:
        super().__init__()
        heads = [nn.Linear(dim, width) for _ in range(members)]
        self.weight = nn.Parameter(torch.stack([head.weight.detach() for head in heads]))  # (k, width, dim)
        self.bias = nn.Parameter(torch.stack([head.bias.detach() for head in heads]))  # (k, width)

    def forward(self, summary: Tensor) -> Tensor:
        """Each member by its own head."""
        members = summary.unflatten(0, (-1, len(self.bias)))  # (B, k, dim)
        return torch.einsum("bkd,kwd->bkw", members, self.weight) + self.bias


def for_each_member(figure: Callable[[Tensor, Tensor], Tensor], logits: Tensor, other: Tensor) -> Tensor:
    """A figure of rows (B,) for logits (B, width) and others; of members' logits (B, k, width) the members' mean."""
    if logits.ndim == 2:
        return figure(logits, other)
    rows, members, _ = logits.shape
    return figure(logits.flatten(0, 1), other.repeat_interleave(members, 0)).view(rows, members).mean(1)


def over_members(figures: Tensor) -> Tensor:
    """Figures of rows (B,) as they are; of members (B, k) their mean, (B,)."""
    return figures if figures.ndim == 1 else figures.mean(1)
