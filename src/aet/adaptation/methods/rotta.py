"""RoTTA: a slow teacher, and a student that studies a memory balanced over classes, fresh rows the most.

    L = 1/M Σ_i E(a_i) · -Σ_c p_c(x_i; θ) log p_c(view(x_i); θ'),    E(a) = exp(-a) / (1 + exp(-a))
    θ' ← a step of Adam,    θ ← (1 - ν) θ + ν θ'

over the M rows of the memory (`aet.adaptation.class_memory`), a_i their age in memories' sizes. Yuan, Xie and Li 2023
(2303.13899): ν = 0.001, a memory of 64, a step each 64 rows. Moves the norms. The paper's robust batch norm keeps
running moments of batches, which layer norms do not have: it has no meaning there and is left out. Short correlated
streams are what it is made for; over long ones it decays.
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from aet.adaptation.base import METHODS
from aet.adaptation.teacher import RememberingTeacher, taught_entropy
from aet.batch import Batch


def timely(age: Tensor) -> Tensor:
    """E(a): 1/2 for a new row, falling to 0.

    >>> import torch
    >>> timely(torch.zeros(1))
    tensor([0.5000])
    """
    return (-age).sigmoid()


@METHODS.register("rotta")
class Rotta(RememberingTeacher):
    """Settings: `lr` of the student's Adam, `rate` ν of the teacher, `memory` rows, `every` rows a step, `strength` of
    the view's drift.
    """

    defaults: ClassVar[dict[str, Any]] = {**RememberingTeacher.defaults, "rate": 1e-3}

    def loss(self, rows: Batch, taught: Tensor) -> Tensor:
        """The formula above."""
        weight = timely(self.bank.age / self.bank.size).to(self.model.device)
        return (weight * taught_entropy(self.model(self.view(rows)), taught)).mean()

    def renew(self, rows: Batch) -> None:
        """A step of the student and one of the teacher."""
        if self.study(rows, self.logits(rows, self.state).softmax(-1)):
            self.follow(self.settings["rate"])
