"""FTAT's label part, for tables: the mix of sure and locally consistent rows, corrected for how the source confuses.

    v_i = 1/k Σ_{j ∈ kNN(i)} 1[ŷ_j = ŷ_i]                       consistency with the k nearest rows of the window
    q̂ ∝ Σ_i v_i · 1[H(x_i) < E₀] · onehot(ŷ_i),   w = A⁻¹ q̂,   bias_c = T · log max(w_c, 0)

After Zhou et al. 2025 (AAAI, 2412.10871), who track the label distribution of confident rows, correct it by the
confusion matrix, weigh rows by their neighbourhood, and besides adapt several models at several rates. Only what acts
on the outputs is here, and in this form it is ours: the weights count in the mix, E₀ = 0.4 ln C is from Niu et al.
(2204.02610), k = 5, neighbours are by the cosine of the summaries. `bbse` is the same with every row of the window
counted once. On tables label shift is the larger half of the loss under shift; where p(x|y) moved, sure rows may be
surely wrong. Moves only the head's bias.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from aet.adaptation.base import METHODS
from aet.adaptation.beliefs import margin
from aet.adaptation.label_mix import ConfusedMix
from aet.adaptation.methods.lame import neighbours
from aet.batch import Batch
from aet.summaries import summaries


@METHODS.register("ftat")
class Ftat(ConfusedMix):
    """Settings: those of `bbse`, `margin` E₀ in shares of ln C, `neighbours` k."""

    defaults: ClassVar[dict[str, Any]] = {**ConfusedMix.defaults, "margin": 0.4, "neighbours": 5}

    def width(self) -> int:
        """Probabilities, then the summary."""
        return self.output.width + self.model.dim * self.model.config.model.members

    def look(self, batch: Batch) -> Tensor:
        """Both, side by side."""
        summary, logits = summaries(self.model, batch)
        return torch.cat([self.output.probabilities(logits).cpu(), summary], -1)

    def counts(self) -> Tensor:
        """Σ_i v_i · 1[H(x_i) < E₀] · onehot(ŷ_i), (C,)."""
        p, summary = self.recent.tensor_split([self.output.width], -1)
        predicted, unsure = p.argmax(-1), torch.special.entr(p).sum(-1)
        near = neighbours(summary, self.settings["neighbours"])
        alike = (near * (predicted == predicted[:, None])).sum(-1) / near.sum(-1).clamp_min(1)
        heard = (alike * (unsure < margin(self.output.width, self.settings["margin"]))).double()
        return torch.zeros(self.output.width, dtype=torch.float64).index_add_(0, predicted, heard)
