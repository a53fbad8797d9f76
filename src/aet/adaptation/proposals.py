"""What may be served without labels: the changes that `auto` knows, each rehearsed and judged by itself."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from aet.adaptation.methods.local_mix import locally_mixed


@dataclass(frozen=True)
class Proposal:
    """A change of the source's answers, in words; whether inputs are moved, and answers corrected."""

    name: str
    moved: bool
    corrected: bool


PROPOSALS = (
    Proposal("the inputs' moments", moved=True, corrected=False),
    Proposal("the mix of labels around each row", moved=False, corrected=True),
    Proposal("the inputs' moments and the mix of labels around each row", moved=True, corrected=True),
)
"""Runs of an earlier version rehearsed the first alone."""


def changed(proposal: Proposal, source: Tensor, moved: Tensor, mix: Tensor, apart: float = 1.0) -> Tensor:
    """Probabilities (N, C) under a proposal, from those of source and `mixture` on rows that came `apart` rows from
    each other; mix (C,): the source's.
    """
    p = moved if proposal.moved else source
    return locally_mixed(p, mix, apart) if proposal.corrected else p


def proposed(source: Tensor, moved: Tensor, mix: Tensor, apart: float = 1.0) -> list[Tensor]:
    """`changed` by each proposal."""
    return [changed(proposal, source, moved, mix, apart) for proposal in PROPOSALS]
