"""SAR: sure rows alone, and a minimum that is flat, with a way back to the source (Niu et al. 2023, 2302.12400).

    g = ∇_s mean_x∈R H(x; s),                   R = {x: H(x; s) < E₀},     E₀ = 0.4 ln C
    s ← s - η ∇ mean_x∈R' H(x; s + ε),          R' = {x ∈ R: H(x; s + ε) < E₀},   ε = ρ g / ‖g‖
    m ← 0.9 m + 0.1 mean_x∈R' H(x; s + ε);      m < e₀: back to the source

Moves the norms but those of the top (`aet.adaptation.low_norms`): there large noisy slopes come from. When the answers
collapse to one class their entropy vanishes, which m sees. The authors' e₀ = 0.2 is for 1,000 classes, whose largest
entropy is ln 1000: here e₀ = `recovery` · ln C with `recovery` = 0.2 / ln 1000 = 0.029. A reset forgets the optimiser
and m too. Algorithm 1 of the paper.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from aet.adaptation.base import METHODS, RADIUS
from aet.adaptation.beliefs import beliefs, entropy, margin
from aet.adaptation.descent import length
from aet.adaptation.low_norms import LowNorms
from aet.attention.state import ElasticState
from aet.batch import Batch


@METHODS.register("sar")
class Sar(LowNorms):
    """Settings: `lr` of SGD with momentum 0.9, `margin` E₀ and `recovery` e₀ in shares of ln C, `sharpness` ρ."""

    defaults: ClassVar[dict[str, Any]] = {"lr": 1e-3, "margin": 0.4, "sharpness": 0.05, "recovery": 0.029}
    falls = staticmethod(entropy)

    def reset(self) -> None:
        """Back to the source, with no loss seen."""
        super().reset()
        self.running: Tensor | None = None
        """m."""

    def loss(self, batch: Batch, among: Tensor | None = None) -> Tensor | None:
        """Mean over the sure rows `among` those given; which those are, and their mean entropy, stay known."""
        logits = beliefs(self.model.output, self.model(batch))
        unsure = entropy(logits).detach()
        self.limit = margin(logits.shape[-1], 1.0)
        self.sure = unsure < self.settings["margin"] * self.limit
        if among is not None:
            self.sure = self.sure & among
        if not self.sure.any():
            return None
        self.level = unsure[self.sure].mean()
        return self.falls(logits)[self.sure].mean()

    def learn(self, batch: Batch) -> None:
        """One step with the slope found at s + ε."""
        if not len(batch):
            return
        batch = batch.to(self.model.device)
        first = self.slopes(lambda _: self.loss(batch), self.state, self.moves)
        self.passes += (3.0 if first else 1.0) * len(batch)
        if not first:
            return
        among = self.sure
        second = self.slopes(lambda _: self.loss(batch, among), self.uphill(first), self.moves)
        self.passes += (3.0 if second else 1.0) * len(batch)
        if second:
            self.state = self.descent(self.state, second).clipped(RADIUS)
            self.recover()

    def uphill(self, slopes: Mapping[str, Tensor]) -> ElasticState:
        """The state at s + ρ g / ‖g‖."""
        step = self.settings["sharpness"] / length(slopes).clamp_min(1e-12)
        return self.state.updated({name: self.state[name] + step * slope for name, slope in slopes.items()})

    def recover(self) -> None:
        """Back to the source where the running mean of the second loss says that the answers collapsed."""
        self.running = self.level if self.running is None else 0.9 * self.running + 0.1 * self.level
        if float(self.running) < self.settings["recovery"] * self.limit:
            self.reset()

    def memory(self) -> dict[str, Tensor]:
        """The optimiser's, and m."""
        return super().memory() | ({} if self.running is None else {"running": self.running})

    def load_memory(self, memory: Mapping[str, Tensor]) -> None:
        """Take them back."""
        super().load_memory(memory)
        self.running = memory["running"].to(self.model.device) if "running" in memory else None
