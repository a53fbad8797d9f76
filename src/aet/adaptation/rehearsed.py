"""Whether a proposal that no label has tried is to be trusted: by what came of it where the answers were known.

Before a model is deployed, adaptation is rehearsed on its validation rows: some dozens of worlds, each with a drift of
its own (`Input.aged`, from none to far beyond training's) and a mix of classes of its own (as it was, tilted, sorted by
class). Of each stretch of each world are kept the label-free `evidence.figures` and what the proposal gained. In
service the K rehearsed stretches most like the present one are looked up, figures in units of their deviations:

    trusted  <=>  mean gain of the K - z · their standard error > m

z and m are those that gain most where, each world judged by all the others, at most one rehearsed world in forty lost
more than a point; a model for which there are none trusts no proposal without labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from aet.adaptation.proposals import PROPOSALS

K = 16
HARM, RARE = 0.01, 0.025
"""Loss of accuracy in a world that is still taken for none, and the share of worlds that may lose more."""
LEAST = 20
"""Worlds from which they can speak for a proposal."""
STRICTER = tuple((z, m) for m in (0.0, 0.01, 0.02, 0.04, 0.08) for z in (1.0, 2.0, 3.0))


@dataclass(frozen=True)
class Verdict:
    """Of one stretch: whether the proposal is trusted, and why."""

    trusted: bool
    gain: float
    """Mean gain of the rehearsed stretches most like it, in points."""
    won: int
    of: int
    proposal: int = 0
    """Number of the proposal among `PROPOSALS`."""
    bound: float = 0.0
    """Mean gain - z standard errors, in points."""

    def __str__(self) -> str:
        verb = "trusted" if self.trusted else "not trusted"
        return (
            f"{verb} without labels, {PROPOSALS[self.proposal].name}: of the {self.of} rehearsed stretches most like "
            f"this one it won {self.won}, {self.gain:+.1f} points on average"
        )


class Rehearsals:
    """What was rehearsed of a proposal: figures (N, F), gain (N,) and world (N,) of each stretch.

    >>> x = torch.linspace(-1, 1, 80)[:, None]
    >>> known = Rehearsals({"figures": x, "gain": 0.2 * x[:, 0], "world": torch.arange(80) // 4})
    >>> verdict = known.verdict(torch.tensor([0.9]))
    >>> verdict.trusted, verdict.won, round(verdict.gain, 1)
    (True, 16, 16.2)
    >>> known.verdict(torch.tensor([-0.9])).trusted
    False
    """

    def __init__(self, tensors: Mapping[str, Tensor], proposal: int = 0) -> None:
        self.proposal = proposal
        self.figures, self.gain, self.world = (tensors[name].double() for name in ("figures", "gain", "world"))
        self.unit = self.figures.std(0).clamp_min(1e-6)
        self.limit = self.calibrated()

    def calibrated(self) -> tuple[float, float] | None:
        """Find z and m; None if no choice keeps every rehearsed world from harm, or none would ever gain."""
        foreign = len(self.world) - torch.bincount(self.world.long()).max()
        if len(self.world.unique()) < LEAST or foreign < K:
            return None
        apart = torch.cdist(self.figures / self.unit, self.figures / self.unit)
        apart = apart.masked_fill(self.world[:, None] == self.world[None], torch.inf)
        near = apart.argsort(1)[:, :K]
        best, found = 0.0, None
        for z, m in STRICTER:
            served = self.gain * (lower(self.gain[near], z) > m)
            worlds = torch.stack([served[self.world == world].mean() for world in self.world.unique()])
            gained = float(worlds.mean())
            if gained > best and float((worlds < -HARM).double().mean()) <= RARE:
                best, found = gained, (z, m)
        return found

    def verdict(self, figures: Tensor) -> Verdict:
        """Of one stretch, by its figures (F,)."""
        apart = ((self.figures - figures.double()) / self.unit).square().sum(1)
        gains = self.gain[apart.argsort()[:K]]
        bound = float(lower(gains, self.limit[0] if self.limit else 1.0))
        trusted = self.limit is not None and bound > self.limit[1]
        won = int((gains > 0).sum())
        return Verdict(trusted, 100 * float(gains.mean()), won, len(gains), self.proposal, 100 * bound)


def lower(gains: Tensor, z: float) -> Tensor:
    """Mean - z standard errors of gains (..., K)."""
    bound: Tensor = gains.mean(-1) - z * gains.std(-1) / gains.shape[-1] ** 0.5
    return bound
