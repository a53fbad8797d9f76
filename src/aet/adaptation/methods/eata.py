"""ETA and EATA: only rows that are sure and new are learned from, and what the source knows is held (Niu et al. 2022).

    L = 1/N Σ_x 1[H(x) < E₀] · 1[|cos(p(x), p̄)| < d] · exp(E₀ - H(x)) · H(x) + β Σ_j F_j s_j²

E₀ = 0.4 ln C, p̄ the running mean (0.9 old, 0.1 new) of the probabilities of the rows that passed both filters, F the
Fisher information of the source's own answers for each dial (`aet.training.dial_fisher`), s the dials: their distance
from the source. N counts the rows that passed. ETA is EATA without the last term. Source: 2204.02610, equations 2 to 8.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from aet.adaptation.base import METHODS
from aet.adaptation.beliefs import beliefs, entropy, margin
from aet.adaptation.gradual import Gradual
from aet.attention.state import active
from aet.batch import Batch
from aet.errors import ConfigError


@METHODS.register("eta")
class Eta(Gradual):
    """Settings: `lr` of SGD with momentum 0.9, `margin` E₀ in shares of ln C, `redundancy` d.

    The defaults are the authors' for ten classes.
    """

    defaults: ClassVar[dict[str, Any]] = {"lr": 5e-3, "margin": 0.4, "redundancy": 0.4}
    rule: ClassVar[Literal["adam", "sgd"]] = "sgd"
    falls = staticmethod(entropy)

    def reset(self) -> None:
        """Back to the source, with no probabilities seen."""
        super().reset()
        self.seen: Tensor | None = None
        """p̄ (C,)."""

    def loss(self, batch: Batch) -> Tensor | None:
        """The formula above without the anchor."""
        logits = beliefs(self.model.output, self.model(batch))
        unsure, p = entropy(logits).detach(), logits.softmax(-1)
        limit = margin(logits.shape[-1], self.settings["margin"])
        passes = unsure < limit
        if self.seen is not None:
            passes = passes & (F.cosine_similarity(p, self.seen[None], dim=-1).abs() < self.settings["redundancy"])
        if not passes.any():
            return None
        mean = p[passes].detach().mean(0)
        self.seen = mean if self.seen is None else 0.9 * self.seen + 0.1 * mean
        return ((limit - unsure[passes]).exp() * self.falls(logits)[passes]).mean()

    def memory(self) -> dict[str, Tensor]:
        """The optimiser's, and p̄."""
        return super().memory() | ({} if self.seen is None else {"seen": self.seen})

    def load_memory(self, memory: Mapping[str, Tensor]) -> None:
        """Take them back."""
        super().load_memory(memory)
        self.seen = memory["seen"].to(self.model.device) if "seen" in memory else None


@METHODS.register("eata")
class Eata(Eta):
    """Settings: those of `eta`, and `anchor` β."""

    defaults: ClassVar[dict[str, Any]] = {**Eta.defaults, "anchor": 1.0}

    def reset(self) -> None:
        """Back to the source; the model must know F."""
        super().reset()
        fisher = self.model.known_statistics().fisher
        if fisher is None:
            raise ConfigError(
                f"{self.name!r} holds what mattered to the source, and this model does not know what did: it was "
                "trained by an older version. Train it again, or use 'eta'."
            )
        self.fisher = {name: t.to(self.model.device) for name, t in fisher.items()}

    def loss(self, batch: Batch) -> Tensor | None:
        """The formula above."""
        fit, state = super().loss(batch), active()
        if fit is None or state is None:
            return None
        held = [(self.fisher[name] * t.square()).sum() for name, t in state.items() if self.moves(name)]
        return fit + float(self.settings["anchor"]) * torch.stack(held).sum()
