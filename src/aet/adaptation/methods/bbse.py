"""The label mix changed, the rows of each class did not: black-box shift estimation finds the new mix.

    w = A⁻¹ q̂ = 1 + A⁻¹ (q̂ - A 1),    A_ij = P_S(ŷ = i, y = j),    bias_c = T · log max(w_c, 0)

Lipton, Wang and Smola 2018 (1802.03916). A is the source's confusion on validation rows, q̂ the shares of the predicted
classes in the window. It needs no calibrated probabilities, where `prior` does; but what A does not tell apart it
cannot tell either: there w stays 1. `shrink` rows of the source's mix are counted in; 0 is the paper's estimate.
Moves only the head's bias; wrong where p(x|y) moved too.
"""

from __future__ import annotations

from aet.adaptation.base import METHODS
from aet.adaptation.label_mix import ConfusedMix


@METHODS.register("bbse")
class Bbse(ConfusedMix):
    """Settings: `window` rows that the mix is estimated over, `shrink` rows that weigh as much as the source's."""
