"""SHOT, online: sure answers, all classes used, and pseudo-labels from the rows' neighbourhood (Liang et al. 2020).

    L = mean_x H(p(x)) - H(mean_x p(x)) + β mean_x CE(p(x), ŷ(x))
    a_k ← γ a_k + Σ_x p_k(x) f(x),          y(x) = argmax_k cos(f(x), a_k)
    b_k ← γ b_k + Σ_x 1[y(x) = k] f(x),     ŷ(x) = argmax_k cos(f(x), b_k)

f is the model's summary of a row, γ = 2^(-rows / half-life). The first two terms are information maximisation: answers
that are each certain and together diverse. SHOT takes centroids over the whole target data, epoch by epoch; a stream is
seen once, so here they run along, without rows or statistics of the source. A class without a pseudo-label so far keeps
a_k in place of b_k, and until as many rows as classes were seen ŷ is the likeliest class: centroids of fewer rows are
those rows. Moves the norms; the head stays. Source: 2002.08546. Wrong where the stream's labels come sorted: a batch of
one class is then spread over all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from aet.adaptation.base import METHODS
from aet.adaptation.beliefs import entropy
from aet.adaptation.gradual import Gradual
from aet.batch import Batch


@METHODS.register("shot")
class Shot(Gradual):
    """Settings: `lr` of SGD with momentum 0.9, `pseudo` β, `half_life` of a row's say in the centroids, in rows.

    Rate and β are the authors' for digits.
    """

    defaults: ClassVar[dict[str, Any]] = {"lr": 1e-2, "pseudo": 0.1, "half_life": 256}
    rule: ClassVar[Literal["adam", "sgd"]] = "sgd"
    needs: ClassVar[tuple[str, ...]] = ("label",)

    def reset(self) -> None:
        """Back to the source, with no row seen."""
        super().reset()
        self.rows = 0
        shape = (self.model.output.width, self.model.dim)
        self.soft, self.hard = (torch.zeros(shape, device=self.model.device) for _ in range(2))

    def loss(self, batch: Batch) -> Tensor:
        """L."""
        taps: list[Tensor] = []
        logits = self.model(batch, taps)
        features = taps[-1].detach().view(len(batch), -1, taps[-1].shape[-1]).mean(1)  # over members, if any
        p = logits.softmax(-1)
        labels = self.pseudo_labels(features, p.detach())
        diversity = torch.special.entr(p.mean(0).clamp_min(1e-12)).sum()
        taught = F.cross_entropy(logits, labels)
        loss: Tensor = entropy(logits).mean() - diversity + self.settings["pseudo"] * taught
        return loss

    def pseudo_labels(self, features: Tensor, p: Tensor) -> Tensor:
        """ŷ (N,) of summaries (N, D) and probabilities (N, C), which the centroids take in first."""
        good = features.isfinite().all(-1) & p.isfinite().all(-1)
        seen = features[good]
        keep = 0.5 ** (len(seen) / self.settings["half_life"])
        self.rows += len(seen)
        self.soft = keep * self.soft + p[good].T @ seen
        if self.rows < len(self.soft):
            return p.argmax(-1)
        first = nearest(seen, self.soft)
        self.hard = keep * self.hard + F.one_hot(first, len(self.soft)).to(seen).T @ seen
        known = self.hard.any(-1, keepdim=True)
        return nearest(features, torch.where(known, self.hard, self.soft))

    def memory(self) -> dict[str, Tensor]:
        """The optimiser's, and the centroids."""
        return {**super().memory(), "soft": self.soft, "hard": self.hard, "rows": torch.tensor(self.rows)}

    def load_memory(self, memory: Mapping[str, Tensor]) -> None:
        """Take them back."""
        super().load_memory(memory)
        self.soft, self.hard = (memory[name].to(self.model.device) for name in ("soft", "hard"))
        self.rows = int(memory["rows"])


def nearest(features: Tensor, centroids: Tensor) -> Tensor:
    """Number of the centroid (C, D) in whose direction each row (N, D) points most.

    >>> nearest(torch.tensor([[9.0, 1.0], [0.1, 0.2]]), torch.eye(2))
    tensor([0, 1])
    """
    return (F.normalize(features, dim=-1) @ F.normalize(centroids, dim=-1).T).argmax(-1)
