"""Modality dropout (Neverova et al. 2016, "ModDrop", 1501.00102): some rows lose a whole modality while training.

For each row and each modality m that the row has, one is left out with probability `share`, never all:

    z_m ~ Bernoulli(share),   at least one m with z_m = 0,   the tokens of m with z_m = 1 are masked

so that the model learns to answer from what is there, and leans on no modality alone. An image, a text and the like are
modalities by themselves, numbers and categories are one together.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from aet.batch import Batch
from aet.errors import ConfigError
from aet.training.switch import SWITCHES, Run, Switch


@SWITCHES.register("modality_dropout")
class ModalityDropout(Switch):
    """Settings: `share` in [0, 1), how often a modality is left out."""

    name = "modality_dropout"
    defaults: ClassVar[dict[str, Any]] = {"share": 0.15}
    fractions = ("share",)
    reads = ("summary",)
    searched = False

    def begin(self, run: Run) -> None:
        """ConfigError for a model of one modality."""
        self.places = several(run, f"The switch {self.name!r} leaves out one of several modalities")

    def tokens(self, run: Run, tokens: Tensor, batch: Batch) -> Tensor:
        """The same tokens; `run.mask` without those of the modalities left out."""
        mask = tokens.new_ones(tokens.shape[:2], dtype=torch.bool) if run.mask is None else run.mask
        there = torch.stack([mask[:, places].any(1) for places in self.places.values()], 1)  # (B, M)
        left = kept(there, float(self.settings["share"]))
        self.calls += int((there & ~left).sum())
        out = mask.clone()
        for number, places in enumerate(self.places.values()):
            out[:, places] &= left[:, number, None]
        run.mask = out
        return tokens

    def acted(self) -> str:
        """Modalities left out."""
        return f"left out {self.calls:,} modalities of rows" if self.calls else ""


def kept(there: Tensor, share: float) -> Tensor:
    """Which modalities (B, M) of those that rows have stay: each with probability 1 - share, at least one a row.

    >>> kept(torch.tensor([[True, False], [False, True]]), 0.99)  # the only one that a row has stays
    tensor([[ True, False],
            [False,  True]])
    """
    chance = torch.rand(there.shape).to(there.device).masked_fill(~there, -1.0)
    best = torch.zeros_like(there).scatter_(1, chance.argmax(1, keepdim=True), True)
    return there & ((chance >= share) | best)


def several(run: Run, does: str) -> dict[str, Tensor]:
    """Tokens of each modality; ConfigError, which begins with what the switch `does`, where there is but one."""
    places = {name: torch.tensor(places) for name, places in run.model.modalities().items()}
    if len(places) < 2:
        raise ConfigError(
            f"{does}: expected two or more, got {', '.join(places)}. Turn it off, or give columns of images, texts or "
            "the like beside the table."
        )
    return places
