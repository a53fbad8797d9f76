"""DeYO: learned from are rows whose answer needs the object's shape (Lee et al. 2024, 2403.07366).

    PLPD(x) = p(ŷ | x) - p(ŷ | x'),   ŷ = argmax_c p(c | x)
    L = mean_x∈S (exp(E₀ - H(x)) + exp(PLPD(x))) · H(x),   S = {x: H(x) < τ_H and PLPD(x) > τ_P}

x' shows the same small parts without the object (`aet.adaptation.destroyed`): an answer that stays was no answer to the
object. Both weights are constants. E₀ = 0.4 ln C, τ_H = 0.5 ln C, τ_P = 0.2. Moves the norms but those of the top, as
SAR. A table's row that comes alone has no other to take columns from: nothing is learned from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from aet.adaptation.base import METHODS
from aet.adaptation.beliefs import beliefs, entropy, margin
from aet.adaptation.destroyed import destroyed
from aet.adaptation.low_norms import LowNorms
from aet.batch import Batch


@METHODS.register("deyo")
class Deyo(LowNorms):
    """Settings: `lr` of SGD with momentum 0.9, `margin` E₀ and `limit` τ_H in shares of ln C, `drop` τ_P."""

    defaults: ClassVar[dict[str, Any]] = {"lr": 1e-3, "margin": 0.4, "limit": 0.5, "drop": 0.2}

    def reset(self) -> None:
        """Back to the source, with the draws from their start."""
        super().reset()
        self.draws = torch.Generator().manual_seed(0)

    def loss(self, batch: Batch) -> Tensor | None:
        """The formula above."""
        logits = beliefs(self.model.output, self.model(batch))
        unsure, classes = entropy(logits), logits.shape[-1]
        passes = unsure.detach() < margin(classes, self.settings["limit"])
        if not passes.any():
            return None
        drop = self.drop(batch, logits.detach())
        passes = passes & (drop > self.settings["drop"])
        if not passes.any():
            return None
        weight = (margin(classes, self.settings["margin"]) - unsure.detach()).exp() + drop.exp()
        return (weight * unsure)[passes].mean()

    @torch.no_grad()
    def drop(self, batch: Batch, logits: Tensor) -> Tensor:
        """PLPD (N,)."""
        other = beliefs(self.model.output, self.model(destroyed(self.model, batch, self.draws)))
        self.passes += len(batch)
        p, answer = logits.softmax(-1), logits.argmax(-1, keepdim=True)
        return (p.gather(-1, answer) - other.softmax(-1).gather(-1, answer))[..., 0]

    def memory(self) -> dict[str, Tensor]:
        """The optimiser's, and where the draws stand."""
        return {**super().memory(), "draws": self.draws.get_state()}

    def load_memory(self, memory: Mapping[str, Tensor]) -> None:
        """Take them back."""
        super().load_memory(memory)
        self.draws = torch.Generator()
        self.draws.set_state(memory["draws"])
