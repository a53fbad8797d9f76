"""TENT, the peer: mean entropy of the answers falls (Wang et al. 2021, 2006.10726).

    L = mean_x H(softmax(z(x)))

Moves the norms only. It is here to be compared with, not to be recommended: it does little or harms on small
transformers.
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from aet.adaptation.base import METHODS
from aet.adaptation.beliefs import beliefs, entropy
from aet.adaptation.gradual import Gradual
from aet.batch import Batch


@METHODS.register("tent")
class Tent(Gradual):
    """Settings: `lr` of Adam, `steps` a batch."""

    defaults: ClassVar[dict[str, Any]] = {"lr": 1e-3, "steps": 1}
    falls = staticmethod(entropy)

    def loss(self, batch: Batch) -> Tensor:
        """The formula above."""
        return self.falls(beliefs(self.model.output, self.model(batch))).mean()
