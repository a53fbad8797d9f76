"""Mixup (Zhang et al. 2018, 1710.09412) of input tokens, as manifold mixup (Verma et al. 2019, 1806.05236) at layer 0.

    x̃ = λ · x + (1 - λ) · x',    l̃ = λ · l(y) + (1 - λ) · l(y'),    λ ~ Beta(α, α), one a batch

with the partner row (x', y') of the same batch. Padding counts as 0. Partners are a permutation of the rows; where rows
have weights they are drawn by them: a row of weight 0 is nobody's partner, and one of weight 2 is so as often as if it
were given twice. Name it before `label_smoothing`, so that the partner's label is smoothed too.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from aet.batch import Batch
from aet.training.switch import SWITCHES, Pass, Run, Switch


@SWITCHES.register("mixup")
class Mixup(Switch):
    """Settings: `alpha`, 0 mixes nothing, 1 draws λ uniformly."""

    name = "mixup"
    defaults: ClassVar[dict[str, Any]] = {"alpha": 0.2}
    reads = ("summary", "tokens")
    excludes = ("cutmix",)

    def tokens(self, run: Run, tokens: Tensor, batch: Batch) -> Tensor:
        """Each row with a part of its partner's."""
        self.share = drawn_share(float(self.settings["alpha"]))
        if self.share == 1:
            return tokens
        self.partner = partners(batch)
        self.calls += 1
        mask = run.mask
        if mask is not None:
            tokens = tokens.masked_fill(~mask[..., None], 0)  # padding may hold anything
            run.mask = mask | mask[self.partner]
        return torch.lerp(tokens[self.partner], tokens, self.share)

    def losses(self, run: Run, seen: Pass) -> Tensor:
        """The losses of both labels, in the same parts."""
        if self.share == 1:
            return seen.losses
        return torch.lerp(partner_losses(run, seen, self.partner), seen.losses, self.share)

    def acted(self) -> str:
        """Batches mixed."""
        return f"mixed the rows of {self.calls:,} batches" if self.calls else ""


def drawn_share(alpha: float) -> float:
    """λ ~ Beta(α, α); 1 for α = 0.

    >>> drawn_share(0.0)
    1.0
    """
    return float(torch.distributions.Beta(alpha, alpha).sample()) if alpha else 1.0


def partners(batch: Batch) -> Tensor:
    """For each row another's number (B,): a permutation, or drawn by weight.

    >>> batch = Batch({"x": torch.zeros(3, 1)}, weight=torch.tensor([0.0, 0.0, 2.0]))
    >>> partners(batch)
    tensor([2, 2, 2])
    """
    if batch.weight is None:
        return torch.randperm(len(batch)).to(next(iter(batch.values.values())).device)
    if not batch.weight.any():  # no row counts, so it does not matter whose partner one is
        return torch.arange(len(batch), device=batch.weight.device)
    return torch.multinomial(batch.weight, len(batch), replacement=True)


def partner_losses(run: Run, seen: Pass, partner: Tensor) -> Tensor:
    """l(y') of each row (B,)."""
    assert seen.batch.target is not None
    losses: Tensor = run.model.output.losses(seen.logits, seen.batch.target[partner])
    return losses
