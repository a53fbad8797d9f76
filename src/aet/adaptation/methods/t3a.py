"""T3A: the head's class vectors become means of sure summaries; no weights move (Iwasawa and Matsuo 2021).

    S_c ← {ω_c / ‖ω_c‖},  then S_ŷ ← S_ŷ ∪ {e(x) / ‖e(x)‖} for each row x with the source's class ŷ,
    of which the M of least entropy of the source's answer are kept in each class
    z_c(x) = e(x) · mean of S_c

ω_c the head's weights, whose own entropy is that of the head's answer to them. Source: Test-time classifier adjustment
module, NeurIPS 2021; M = 20 as in the comparison of Niu et al. 2024 (2404.01650), since the authors
choose it on validation rows. It helps a little where classes stay apart, and its probabilities are badly calibrated;
where the source confuses classes, the wrong rows move the class vectors.

A row supports before it is answered, as in the paper.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from aet.adaptation.base import METHODS, Method
from aet.adaptation.beliefs import entropy
from aet.attention.state import ElasticState, applied
from aet.batch import Batch
from aet.summaries import head_weight, summaries


@METHODS.register("t3a")
class T3a(Method):
    """Setting: `supports` M of a class."""

    defaults: ClassVar[dict[str, Any]] = {"supports": 20}
    needs: ClassVar[tuple[str, ...]] = ("label",)
    corrects: ClassVar[bool] = True

    def reset(self) -> None:
        """Back to the source: each class is supported by its own weights."""
        super().reset()
        weight = head_weight(self.model).cpu()  # (C, dim)
        bias = self.model.output.head.bias.detach().cpu().view(-1, len(weight)).mean(0)
        own = weight @ weight.T + bias
        self.supports = F.normalize(weight, dim=-1)
        self.classes, self.unsure = torch.arange(len(weight)), entropy(own)

    def propose(self, batch: Batch) -> ElasticState:
        """Take the rows as supports; the state stays the source's."""
        if len(batch):
            with applied(self.state):
                summary, logits = summaries(self.model, batch)
            self.passes += len(batch)
            good = summary.isfinite().all(-1) & logits.isfinite().all(-1)
            self.supports = torch.cat([self.supports, F.normalize(summary[good], dim=-1)])
            self.classes = torch.cat([self.classes, logits[good].argmax(-1)])
            self.unsure = torch.cat([self.unsure, entropy(logits[good])])
            self.keep_the_sure()
        return self.state

    def keep_the_sure(self) -> None:
        """The M of least entropy of each class."""
        kept = []
        for number in range(self.model.output.width):
            own = (self.classes == number).nonzero().flatten()
            kept.append(own[self.unsure[own].argsort(stable=True)[: self.settings["supports"]]])
        index = torch.cat(kept)
        self.supports, self.classes, self.unsure = self.supports[index], self.classes[index], self.unsure[index]

    def vectors(self) -> Tensor:
        """Mean of each class's supports (C, dim)."""
        width = self.model.output.width
        total = torch.zeros(width, self.supports.shape[-1]).index_add_(0, self.classes, self.supports)
        return total / torch.bincount(self.classes, minlength=width)[:, None]

    def answer(self, batch: Batch) -> Tensor:
        """The formula above, (B, C)."""
        with applied(self.state):
            summary, _ = summaries(self.model, batch)
        return summary @ self.vectors().T

    def memory(self) -> dict[str, Tensor]:
        """The supports."""
        return {"supports": self.supports, "classes": self.classes, "unsure": self.unsure}

    def load_memory(self, memory: Mapping[str, Tensor]) -> None:
        """Take them back."""
        self.supports, self.classes, self.unsure = (memory[n] for n in ("supports", "classes", "unsure"))
