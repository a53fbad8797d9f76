"""The label mix changed, the rows of each class did not: what methods share that weigh classes anew.

    p_t(y|x) ∝ w_y p_S(y|x),    w_y = π_y / π^S_y,    bias_y = T · log w_y

With that bias on the logits the calibrated softmax, of temperature T, is exactly the corrected posterior. All assume
that p(x|y) stayed; where it moved too, they may harm.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from aet.adaptation.base import RADIUS, Method
from aet.attention.state import ElasticState, applied
from aet.batch import Batch, newest
from aet.errors import ConfigError
from aet.outputs.label import LabelOutput

LEAST = 1e-6
"""Weight of a class that a rule finds to be gone."""


def label_mix(probabilities: Tensor, source: Tensor, rounds: int = 100, prior_rows: float = 10.0) -> Tensor:
    """The mix (C,) that explains `probabilities` (N, C), given the source's mix (C,).

    `prior_rows` rows of the source's mix are counted in, so that few rows move little and no class vanishes.

    >>> import torch
    >>> p = torch.tensor([[0.9, 0.1]]).repeat(1000, 1)
    >>> label_mix(p, torch.tensor([0.5, 0.5]))[0] > 0.95
    tensor(True)
    """
    p, usual = probabilities.detach().cpu().numpy(), source.detach().cpu().numpy()
    mix, counted = usual, prior_rows * usual
    for _ in range(rounds):  # in NumPy: of so few numbers PyTorch takes three times as long
        weighted = p * (mix / usual)
        posterior = weighted / weighted.sum(-1, keepdims=True).clip(1e-12)
        new = (posterior.sum(0) + counted) / (len(p) + prior_rows)
        moved = float(np.abs(new - mix).max())
        mix = new
        if moved < 1e-6:
            break
    return torch.as_tensor(mix, dtype=probabilities.dtype, device=probabilities.device)


class LabelMix(Method):
    """Class weights from the last rows of the stream. Settings that it reads: `window` rows."""

    defaults: ClassVar[dict[str, Any]] = {"window": 512}
    needs: ClassVar[tuple[str, ...]] = ("label",)

    def reset(self) -> None:
        """Back to the source, with no rows seen."""
        super().reset()
        output, mix = self.model.output, self.model.known_statistics().label_mix
        assert isinstance(output, LabelOutput)
        assert mix is not None
        self.output, self.mix = output, mix
        self.recent = torch.empty(0, self.width())

    def width(self) -> int:
        """How many figures are kept of each row."""
        return self.output.width

    def look(self, batch: Batch) -> Tensor:
        """What is kept of each row (B, width): the source's calibrated probabilities."""
        return self.output.probabilities(self.model.logits(batch)).cpu()

    @abstractmethod
    def weights(self) -> Tensor:
        """Class weights w (C,) from the rows in `recent` (N, width)."""

    def propose(self, batch: Batch) -> ElasticState:
        """The bias from the window that ends with this batch."""
        if len(batch):
            with applied(None):
                seen = self.look(batch)
            self.passes += len(batch)
            seen = seen[seen.isfinite().all(-1)]
            self.recent = newest(self.recent, seen, self.settings["window"])
            if len(self.recent):
                bias = self.output.temperature * self.weights().log().to(self.model.device)
                self.state = self.state.updated({"output.bias": bias}).clipped(RADIUS)
        return self.state

    def memory(self) -> dict[str, Tensor]:
        """The window."""
        return {"recent": self.recent}

    def load_memory(self, memory: Mapping[str, Tensor]) -> None:
        """Take back the window."""
        self.recent = memory["recent"]


class ConfusedMix(LabelMix):
    """Class weights from what is predicted now and how the source confused its classes: A w = q̂.

    A_ij = P_S(ŷ = i, y = j) on validation rows, q̂ the shares of the predicted classes in the window. Setting that it
    reads: `shrink`, rows that weigh as much as the source's mix: w is drawn to 1 by n / (n + shrink).
    """

    defaults: ClassVar[dict[str, Any]] = {**LabelMix.defaults, "shrink": 10.0}

    def reset(self) -> None:
        """Back to the source; the model must know its confusion."""
        super().reset()
        confusion = self.model.known_statistics().confusion
        if confusion is None or confusion.sum() <= 0:
            raise ConfigError(
                f"{self.name!r} reads how the source confused its classes on validation rows, and this model does not "
                "know: it has none. Train it again with validation rows, or use 'prior'."
            )
        self.confused = confusion.double().T  # A: predicted, true

    def counts(self) -> Tensor:
        """How many rows of the window are predicted to be of each class (C,)."""
        return torch.bincount(self.recent.argmax(-1), minlength=self.output.width).double()

    def solved(self, rest: Tensor) -> Tensor:
        """θ = w - 1 (C,) from q̂ - A 1 (C,)."""
        return inverse(self.confused, rest)

    def weights(self) -> Tensor:
        """Class weights w = 1 + n / (n + shrink) · θ, none below zero, such that the new mix sums to one."""
        counts = self.counts()
        n = counts.sum()
        if not n:
            return torch.ones_like(self.mix)
        theta = self.solved(counts / n - self.confused.sum(1))
        found = (1 + n / (n + self.settings["shrink"]) * theta).clamp_min(LEAST)
        weights: Tensor = (found / (found * self.mix).sum()).float()
        return weights


def inverse(confused: Tensor, rest: Tensor, least: float = 1e-3) -> Tensor:
    """A⁻¹ r (C,); what A (C, C) does not tell apart (singular values below `least` of the largest) counts as no news.

    >>> inverse(torch.tensor([[0.4, 0.1], [0.1, 0.4]]), torch.tensor([0.15, -0.15]))
    tensor([ 0.5000, -0.5000])
    """
    found: Tensor = torch.linalg.pinv(confused, rtol=least) @ rest
    return found
