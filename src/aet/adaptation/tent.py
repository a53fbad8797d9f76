"""TENT, the peer: mean entropy of the answers falls (Wang et al. 2021, 2006.10726).

    L = mean_x H(softmax(z(x)))

Moves the norms only. It is here to be compared with, not to be recommended: it does little or harms on small
transformers.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch.nn.functional as F
from torch import Tensor

from aet.adaptation.base import METHODS, Method, is_norm
from aet.batch import Batch
from aet.errors import ConfigError


def entropy(logits: Tensor) -> Tensor:
    """H(softmax(z)) of each row (B,)."""
    log_p = F.log_softmax(logits, dim=-1)
    return -(log_p.exp() * log_p).sum(-1)


@METHODS.register("tent")
class Tent(Method):
    """Settings: `lr` of Adam, `steps` a batch."""

    defaults: ClassVar[dict[str, Any]] = {"lr": 1e-3, "steps": 1}

    def reset(self) -> None:
        """Back to the source."""
        super().reset()
        if self.model.output.kind != "label":
            raise ConfigError(
                f"'tent' needs class probabilities, the output is {self.model.output.kind!r}. Use 'align' or "
                "'feedback'."
            )

    def learn(self, batch: Batch) -> None:
        """One descent on the batch."""
        if not len(batch):
            return
        batch = batch.to(self.model.device)
        lr, steps = self.settings["lr"], self.settings["steps"]
        self.state = self.descend(lambda _: entropy(self.model(batch)).mean(), self.state, is_norm, lr, steps)
        self.passes += 3.0 * steps * len(batch)
