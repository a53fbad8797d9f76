"""POEM: answers become as sure as the source's were, no surer (Bar, Shaer and Romano 2024, 2408.07511).

    L = mean_x∈A ½ (H(x) - H̃(x))² exp(-2 (H(x) - λ)),    A = {x: H(x) < λ},    λ = 0.4 ln C
    H̃ = F⁻¹(Q_ε(F(H)))

F: the source's distribution of entropies on held-out rows; ε and Q_ε: a bet that rows are no longer from it, which
moves row by row (`aet.adaptation.entropy_bets`). While nothing changed ε stays near 0, H̃ near H and the state near the
source. H is of the calibrated answers, as F is; of several yes-or-no answers their mean. H̃ and the weight are
constants. Moves the norms. A label mix other than the source's counts as change.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from aet.adaptation.base import METHODS
from aet.adaptation.beliefs import beliefs, entropy
from aet.adaptation.entropy_bets import EntropyBets
from aet.adaptation.gradual import Gradual
from aet.batch import Batch


@METHODS.register("poem")
class Poem(Gradual):
    """Settings: `lr` of SGD with momentum 0.9, `margin` λ in shares of ln C, `rate` γ of the bets."""

    defaults: ClassVar[dict[str, Any]] = {"lr": 1e-3, "margin": 0.4, "rate": 1 / (8 * math.sqrt(3))}
    rule: ClassVar[Literal["adam", "sgd"]] = "sgd"

    def reset(self) -> None:
        """Back to the source, with nothing bet."""
        super().reset()
        self.bets = EntropyBets(self.model.known_statistics().entropy.tolist(), self.settings["rate"])

    def loss(self, batch: Batch) -> Tensor | None:
        """The formula above."""
        logits = beliefs(self.model.output, self.model(batch)) / self.model.output.get_buffer("temperature")
        whole = math.log(logits.shape[-1])
        unsure = entropy(logits).view(len(batch), -1).mean(1)
        unsure = unsure[unsure.isfinite()]
        matched = self.bets.match((unsure.detach() / whole).double().cpu().numpy())
        target = whole * torch.from_numpy(matched).to(unsure)
        limit = self.settings["margin"] * whole
        passes = unsure < limit
        if not passes.any():
            return None
        weight = (-2 * (unsure.detach() - limit)).exp()
        loss: Tensor = (0.5 * weight * (unsure - target).square())[passes].mean()
        return loss

    def memory(self) -> dict[str, Tensor]:
        """The optimiser's, and how the bets stand."""
        bets = (self.bets.bet, self.bets.squares, self.bets.log_wealth)
        return {**super().memory(), "bets": torch.tensor(bets, dtype=torch.float64)}

    def load_memory(self, memory: Mapping[str, Tensor]) -> None:
        """Take them back."""
        super().load_memory(memory)
        self.bets.bet, self.bets.squares, self.bets.log_wealth = memory["bets"].tolist()
