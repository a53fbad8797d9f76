"""The label mix changed, the rows of each class did not: expectation-maximisation finds the new mix.

    π_c ← mean_i [ p(c|x_i) π_c/π^S_c / Σ_k p(k|x_i) π_k/π^S_k ],    bias_c = T · log(π_c / π^S_c)

Saerens, Latinne and Decaestecker 2002. With the bias on the logits the calibrated softmax is exactly the corrected
posterior. Reversible, moves only the head's bias; wrong where p(x|y) moved too.
"""

from __future__ import annotations

from torch import Tensor

from aet.adaptation.base import METHODS
from aet.adaptation.label_mix import LabelMix, label_mix


@METHODS.register("prior")
class Prior(LabelMix):
    """Settings: `window` rows that the mix is estimated over."""

    def weights(self) -> Tensor:
        """The formula above."""
        return label_mix(self.recent, self.mix) / self.mix
