"""ROID: weighted self-training that stays near the source, and a prior for what a batch shows (Marsden et al. 2024).

    L = 1/N Σ_i w_i (slr(x_i) + ½ (CE(p_i, p'_i) + CE(p'_i, p_i)))
    w_i = exp(d_i c_i / τ) · 1[d_i >= mean_j d_j],   d = scaled(1 - cos(p, p̄)),   c = scaled(-H(p)),   τ = 1/3
    s ← (1 - α) (s - η ∇L),   α = 0.01                                              weight ensembling: the source is 0
    answers: p_c π_c / Σ_k p_k π_k,   π = (m + ς) / (1 + C ς),   m = mean_i p_i,   ς = max(1/N, 1/C) / max_c m_c

slr is the soft likelihood ratio (`aet.adaptation.beliefs`), p' the answer to an augmented view (`aet.drift`), p̄ the
running mean (0.9 old) of the batches' mean answers from 1/C on. `scaled` brings the least of a batch to 0 and the
largest to 1: d and c each before the mean over d is taken; where all are equal, to 0. N counts all rows, not only those
with a weight. Weights are constants. Moves the norms and, by the prior, the head's bias: bias_c = T · log π_c, centred,
makes the calibrated softmax of the answers exactly the corrected posterior. It is of one batch, acts on that batch and
takes no part in the loss. Source: 2306.00650.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from aet.adaptation.base import METHODS, RADIUS
from aet.adaptation.beliefs import entropy, likelihood_ratio
from aet.adaptation.gradual import Gradual
from aet.attention.state import ElasticState, applied
from aet.batch import Batch
from aet.drift import drifted
from aet.outputs.label import LabelOutput

BIAS = "output.bias"


@METHODS.register("roid")
class Roid(Gradual):
    """Settings: `lr` of Adam, `heat` τ, `pull` α towards the source a step, `strength` of the view's drift."""

    defaults: ClassVar[dict[str, Any]] = {"lr": 1e-3, "heat": 1 / 3, "pull": 0.01, "strength": 1.0}
    needs: ClassVar[tuple[str, ...]] = ("label",)

    def reset(self) -> None:
        """Back to the source, with even probabilities seen and the draws from their start."""
        super().reset()
        output = self.model.output
        assert isinstance(output, LabelOutput)
        self.output = output
        self.seen = torch.full((output.width,), 1 / output.width, device=self.model.device)
        self.draws = torch.Generator().manual_seed(0)

    @property
    def plain(self) -> ElasticState:
        """The state without the prior of the batch answered last."""
        return self.state.updated({BIAS: torch.zeros_like(self.state[BIAS])})

    def propose(self, batch: Batch) -> ElasticState:
        """The state, with the prior of this batch."""
        if len(batch):
            with applied(self.plain):
                p = self.output.probabilities(self.model.logits(batch))
            self.passes += len(batch)
            p = p[p.isfinite().all(-1)]
            log_prior = smoothed_mean(p).log().to(self.model.device)
            bias = self.output.temperature * (log_prior - log_prior.mean())
            self.state = self.state.updated({BIAS: bias}).clipped(RADIUS)
        return self.state

    def loss(self, batch: Batch) -> Tensor | None:
        """L."""
        logits = self.model(batch)
        p = logits.detach().softmax(-1)
        if not bool(p.isfinite().all()):
            return None
        weight = row_weights(p, self.seen, self.settings["heat"])
        self.seen = 0.9 * self.seen + 0.1 * p.mean(0)
        kept = weight > 0
        view = drifted(self.model, batch[kept].to("cpu"), self.settings["strength"], self.draws).to(self.model.device)
        self.passes += 3.0 * len(view)
        found = likelihood_ratio(logits[kept]) + agreement(logits[kept], self.model(view))
        return (weight[kept] * found).sum() / len(batch)

    def learn(self, batch: Batch) -> None:
        """One step, then a little of the way back to the source."""
        if not len(batch):
            return
        batch = batch.to(self.model.device)
        slopes = self.slopes(lambda _: self.loss(batch), self.plain, self.moves)
        self.passes += (3.0 if slopes else 1.0) * len(batch)
        if slopes:
            moved = self.descent(self.state, slopes)
            near = {name: (1 - min(1.0, self.settings["pull"])) * moved[name] for name in slopes}
            self.state = moved.updated(near).clipped(RADIUS)

    def memory(self) -> dict[str, Tensor]:
        """The optimiser's, p̄, and where the draws stand."""
        return {**super().memory(), "seen": self.seen, "draws": self.draws.get_state()}

    def load_memory(self, memory: Mapping[str, Tensor]) -> None:
        """Take them back."""
        super().load_memory(memory)
        self.seen = memory["seen"].to(self.model.device)
        self.draws = torch.Generator()
        self.draws.set_state(memory["draws"])


def scaled(x: Tensor) -> Tensor:
    """Least 0, largest 1; all 0 where they are equal.

    >>> scaled(torch.tensor([3.0, 1.0, 2.0])), scaled(torch.ones(2))
    (tensor([1.0000, 0.0000, 0.5000]), tensor([0., 0.]))
    """
    least = x.min()
    return (x - least) / (x.max() - least).clamp_min(1e-12)


def row_weights(p: Tensor, seen: Tensor, heat: float) -> Tensor:
    """Weights w (N,) of probabilities (N, C), given p̄ (C,); 0 for rows that are more like p̄ than the mean row is.

    >>> row_weights(torch.tensor([[0.9, 0.1], [0.1, 0.9], [0.5, 0.5]]), torch.tensor([0.9, 0.1]), 1 / 3).log()
    tensor([-inf, 3., -inf])
    """
    new = scaled(1 - F.cosine_similarity(p, seen[None], dim=-1))
    sure = scaled(-entropy(p.clamp_min(1e-30).log()))
    return (new * sure / max(heat, 1e-6)).exp() * (new >= new.mean())


def agreement(logits: Tensor, view: Tensor) -> Tensor:
    """½ (CE(p, p') + CE(p', p)), (N,)."""
    log_p, log_q = F.log_softmax(logits, -1), F.log_softmax(view, -1)
    return -0.5 * (log_p.exp() * log_q + log_q.exp() * log_p).sum(-1)


def smoothed_mean(p: Tensor) -> Tensor:
    """π (C,) of probabilities (N, C); even for no rows.

    >>> smoothed_mean(torch.tensor([[1.0, 0.0], [0.5, 0.5]]))  # m = (3/4, 1/4), ς = 2/3
    tensor([0.6071, 0.3929])
    """
    rows, classes = p.shape
    if not rows:
        return torch.full((classes,), 1 / classes)
    mean = p.mean(0)
    smooth = max(1 / rows, 1 / classes) / mean.max()
    return (mean + smooth) / (1 + classes * smooth)
