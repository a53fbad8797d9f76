"""CutMix (Yun et al. 2019, 1905.04899) on tokens: columns, patches or words of a row are taken from its partner.

    x̃_t = x_t for t in a random set of a share λ of the tokens, else x'_t,    l̃ = λ_i · l(y) + (1 - λ_i) · l(y')

with λ ~ Beta(α, α), one set a batch, and λ_i the share of row i's real tokens that are its own. Tokens stay whole and
in their places; they are drawn one by one, since columns have no neighbours (TokenMix, Liu et al. 2022, 2207.08409,
draws patches in groups). Partners, and the order of switches, as in `mixup`.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from aet.batch import Batch
from aet.training.switch import SWITCHES, Pass, Run, Switch
from aet.training.switches.mixup import drawn_share, partner_losses, partners


@SWITCHES.register("cutmix")
class CutMix(Switch):
    """Settings: `alpha`, 0 exchanges nothing, 1 draws λ uniformly."""

    name = "cutmix"
    defaults: ClassVar[dict[str, Any]] = {"alpha": 1.0}
    excludes = ("mixup",)
    reads: ClassVar[tuple[str, ...]] = ("summary",)

    def tokens(self, run: Run, tokens: Tensor, batch: Batch) -> Tensor:
        """Each row with some tokens of its partner's."""
        count = tokens.shape[1]
        taken = round((1 - drawn_share(float(self.settings["alpha"]))) * count)
        self.share = None
        if taken == 0:
            return tokens
        self.partner = partners(batch)
        foreign = (torch.randperm(count) < taken).to(tokens.device).expand(tokens.shape[:2])  # (B, T)
        self.share = tokens.new_full((len(tokens),), 1 - taken / count)
        if run.mask is not None:
            foreign, run.mask, self.share = exchanged(run.mask, self.partner, foreign)
        if run.concepts is not None:
            run.concepts = torch.where(foreign, run.concepts[self.partner], run.concepts)
        self.calls += 1
        return torch.where(foreign[..., None], tokens[self.partner], tokens)

    def losses(self, run: Run, seen: Pass) -> Tensor:
        """The losses of both labels, by the share of tokens."""
        if self.share is None:
            return seen.losses
        return torch.lerp(partner_losses(run, seen, self.partner), seen.losses, self.share.to(seen.losses))

    def acted(self) -> str:
        """Batches mixed."""
        return f"exchanged tokens in {self.calls:,} batches" if self.calls else ""


def exchanged(mask: Tensor, partner: Tensor, foreign: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What is taken (B, T), the mask (B, T) after it, and which share (B,) of a row's real tokens is its own.

    A row that would be left without any token keeps its own.

    >>> mask = torch.tensor([[True, True, True], [True, False, False]])
    >>> foreign = torch.tensor([False, False, True]).expand(2, 3)
    >>> exchanged(mask, torch.tensor([1, 0]), foreign)[1:]
    (tensor([[ True,  True, False],
            [ True, False,  True]]), tensor([1.0000, 0.5000]))
    """
    foreign = foreign & torch.where(foreign, mask[partner], mask).any(-1, keepdim=True)
    mixed = torch.where(foreign, mask[partner], mask)
    return foreign, mixed, 1 - (mixed & foreign).sum(-1) / mixed.sum(-1).clamp_min(1)
