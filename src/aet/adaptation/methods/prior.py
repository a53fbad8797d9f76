"""The label mix changed, the rows of each class did not: expectation-maximisation finds the new mix.

    π_c ← mean_i [ p(c|x_i) π_c/π^S_c / Σ_k p(k|x_i) π_k/π^S_k ],    bias_c = T · log(π_c / π^S_c)

Saerens, Latinne and Decaestecker 2002. With the bias on the logits the calibrated softmax is exactly the corrected
posterior. Reversible, moves only the head's bias; wrong where p(x|y) moved too.
"""

from __future__ import annotations

from torch import Tensor

from aet.adaptation.base import METHODS
from aet.adaptation.label_mix import LabelMix


def label_mix(probabilities: Tensor, source: Tensor, rounds: int = 100, prior_rows: float = 10.0) -> Tensor:
    """The mix (C,) that explains `probabilities` (N, C), given the source's mix (C,).

    `prior_rows` rows of the source's mix are counted in, so that few rows move little and no class vanishes.

    >>> import torch
    >>> p = torch.tensor([[0.9, 0.1]]).repeat(1000, 1)
    >>> label_mix(p, torch.tensor([0.5, 0.5]))[0] > 0.95
    tensor(True)
    """
    mix = source
    for _ in range(rounds):
        weighted = probabilities * (mix / source)
        posterior = weighted / weighted.sum(-1, keepdim=True).clamp_min(1e-12)
        new = (posterior.sum(0) + prior_rows * source) / (len(probabilities) + prior_rows)
        moved = float((new - mix).abs().max())
        mix = new
        if moved < 1e-6:
            break
    return mix


@METHODS.register("prior")
class Prior(LabelMix):
    """Settings: `window` rows that the mix is estimated over."""

    def weights(self) -> Tensor:
        """The formula above."""
        return label_mix(self.recent, self.mix) / self.mix
