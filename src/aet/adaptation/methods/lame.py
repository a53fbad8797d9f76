"""LAME: the answers of a batch are brought to agree between neighbours; no weights move (Boudiaf et al. 2022).

    Y_i ∝ p_i · exp(Σ_j k_ij Y_j),  starting at Y = p, until the energy
    E(Y) = Σ_i Y_i · (log Y_i - log p_i) - Σ_ij k_ij Y_i · Y_j  no longer falls

k_ij = 1 where j is one of the 5 nearest other rows of i by their normalised summaries, else 0; p are the source's
calibrated probabilities. Source: 2201.05718. It wins where the labels of a batch are alike (a sorted
stream) and harms much where they are not, as the paper and all who compared it found.

The answers come from the rows beside them, `batch` at most at a time: a row alone has the source's.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from aet.adaptation.base import METHODS, Method
from aet.attention.state import applied
from aet.batch import Batch
from aet.outputs.label import LabelOutput
from aet.summaries import summaries


@METHODS.register("lame")
class Lame(Method):
    """Settings: `neighbours` of a row, `rounds` at most, `batch` rows that are corrected together."""

    defaults: ClassVar[dict[str, Any]] = {"neighbours": 5, "rounds": 100, "batch": 64}
    needs: ClassVar[tuple[str, ...]] = ("label",)
    corrects: ClassVar[bool] = True
    reads_calls: ClassVar[bool] = True

    def answer(self, batch: Batch) -> Tensor:
        """Logits whose calibrated softmax is Y, (B, C)."""
        output = self.model.output
        assert isinstance(output, LabelOutput)
        with applied(self.state):
            summary, logits = summaries(self.model, batch)
        answers, good = logits.clone(), logits.isfinite().all(-1) & summary.isfinite().all(-1)
        for index in good.nonzero().flatten().split(self.settings["batch"]):
            affinity = neighbours(summary[index], self.settings["neighbours"])
            y = agreed(output.probabilities(logits[index]).cpu(), affinity, self.settings["rounds"])
            answers[index] = output.temperature.cpu() * y.log()
        return answers


def neighbours(summary: Tensor, count: int) -> Tensor:
    """Affinities k (N, N): 1 where j is among the `count` nearest other rows of i by cosine, else 0.

    >>> neighbours(torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]]), 1)
    tensor([[0., 1., 0.],
            [1., 0., 0.],
            [0., 1., 0.]])
    """
    unit = F.normalize(summary, dim=-1)
    likeness = (unit @ unit.T).fill_diagonal_(-torch.inf)
    nearest = likeness.topk(max(0, min(count, len(unit) - 1)), -1).indices
    return torch.zeros_like(likeness).scatter_(-1, nearest, 1.0)


def agreed(p: Tensor, affinity: Tensor, rounds: int, least: float = 1e-8) -> Tensor:
    """Y (N, C), none quite zero, from probabilities (N, C) and affinities (N, N).

    Stops where the energy changes by less than `least` of itself.
    """
    p = p.clamp_min(1e-12)
    y, unary, energy = p / p.sum(-1, keepdim=True), p.log(), 0.0
    for turn in range(rounds):
        y = (unary + affinity @ y).softmax(-1).clamp_min(1e-12)
        new = float((y * (y.log() - unary - affinity @ y)).sum())
        if turn and abs(new - energy) <= least * abs(energy):
            break
        energy = new
    return y
