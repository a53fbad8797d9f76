"""What the switches that weigh rows share."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from aet.batch import Batch
from aet.training.switch import Pass, Run, Switch


class RowWeights(Switch):
    """A switch that multiplies each row's loss by a weight without a gradient.

    A row keeps its weight where another switch asks for the losses of the same pass again (`Pass.again`).
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.batch: Batch | None = None
        self.kept: Tensor | None = None

    def weights(self, run: Run, seen: Pass) -> Tensor | None:
        """Weights (B,) of mean 1 for a new batch, or None to leave it alone."""
        raise NotImplementedError

    def losses(self, run: Run, seen: Pass) -> Tensor:
        """Each row's loss times its weight."""
        if seen.batch is not self.batch:
            self.batch, self.kept = seen.batch, self.weights(run, seen)
        return seen.losses if self.kept is None else seen.losses * self.kept

    def stepped(self, run: Run) -> None:
        """The next step's rows are new."""
        self.batch = self.kept = None


def mean_one(values: Tensor, counts: Tensor | None) -> Tensor:
    """Row weights v_i · Σ c / Σ c·v: their mean, each row counted c_i times (once unless given), is 1.

    So two rows of one value weigh what a row of that value weighs that counts twice. Values that are all 0 stay so.

    >>> mean_one(torch.tensor([1.0, 3.0]), None), mean_one(torch.tensor([1.0, 3.0]), torch.tensor([2.0, 0.0]))
    (tensor([0.5000, 1.5000]), tensor([1., 3.]))
    """
    counts = torch.ones_like(values) if counts is None else counts.to(values)
    total = (counts * values).sum()
    return values * (counts.sum() / total.where(total > 0, 1))
