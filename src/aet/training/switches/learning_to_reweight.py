"""Learning to reweight examples (Ren et al. 2018, 1803.09050) in a first-order form.

    w_i ∝ max(0, ⟨g_i, ḡ_clean⟩)

A row weighs as much as a step along its gradient lowers the loss of rows known to be right, and nothing if it raises
it. The paper takes the gradients of all layers by a second backward pass; here they are the head's, in closed form
(`aet.training.clean`, which also says where the clean rows come from). Weights carry no gradient and have mean 1 in a
batch; they are all 0, as in the paper, in a batch of which no row helps.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from aet.training.clean import CLEAN, CleanSwitch
from aet.training.row_weights import mean_one
from aet.training.switch import SWITCHES, Pass, Run


@SWITCHES.register("learning_to_reweight")
class LearningToReweight(CleanSwitch):
    """Settings: `share` of the validation rows that is the clean set, or a `file` with its `column`; `rows` a batch."""

    name = "learning_to_reweight"
    monitors = "metric"
    defaults: ClassVar[dict[str, Any]] = dict(CLEAN)
    excludes = ("meta_weights",)

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.left_out = torch.zeros(2)  # rows left out, rows

    def weights(self, run: Run, seen: Pass) -> Tensor:
        """By agreement."""
        agreement = self.agreement(run, seen)
        self.left_out = (
            self.left_out + torch.stack([(agreement <= 0).sum(), agreement.new_tensor(len(agreement))]).cpu()
        )
        self.calls += 1
        return mean_one(agreement.clamp_min(0), seen.batch.weight).to(seen.losses)

    def acted(self) -> str:
        """Batches weighed, and the share of rows that were left out."""
        if not self.calls:
            return ""
        share = float(self.left_out[0] / self.left_out[1])
        return f"{self.calls:,} batches weighed by {len(self.clean)} clean rows, {share:.0%} of the rows left out"

    def memory(self) -> dict[str, Tensor]:
        """The rows counted."""
        return {"left_out": self.left_out}

    def load_memory(self, memory: Mapping[str, Tensor]) -> None:
        """Take them back."""
        self.left_out = memory["left_out"]
