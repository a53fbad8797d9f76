"""CoTTA: a slow teacher, answers averaged over views where the source is unsure, and dials that fall back by chance.

    q(x) = p(x; θ)                    where max_c p_c(x; 0) >= t     (0: the source)
           1/N Σ_i p(view_i(x); θ)    elsewhere
    L = mean_x -Σ_c q_c(x) log p_c(x; θ')
    θ' ← a step of Adam,    θ ← (1 - a) θ + a θ',    θ'_j ← 0 with probability r, for each element j of the dials

Wang et al. 2022 (2203.13591); settings of their CIFAR-10-C: t = 0.92, N = 32, a = 0.001, r = 0.01.
Every dial moves, as every weight does there, and zero is the source's value. Whether the source is sure is asked of
each row. N passes of unsure rows make it costly; it harms on transformers in the comparisons that were published.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from aet.adaptation.base import METHODS
from aet.adaptation.beliefs import beliefs
from aet.adaptation.teacher import Teacher, taught_entropy
from aet.attention.state import ElasticState
from aet.batch import Batch


@METHODS.register("cotta")
class Cotta(Teacher):
    """Settings: `lr` of the student's Adam, `rate` a of the teacher, `restore` r, `sure` t, `views` N, `strength` of
    their drift.
    """

    defaults: ClassVar[dict[str, Any]] = {**Teacher.defaults, "rate": 1e-3, "restore": 0.01, "sure": 0.92, "views": 32}

    def moves(self, name: str) -> bool:
        """All."""
        return True

    def believed(self, rows: Batch, state: ElasticState | None) -> Tensor:
        """Probabilities (N, C) of rows under a state."""
        return beliefs(self.model.output, self.logits(rows, state)).softmax(-1)

    def taught(self, rows: Batch) -> Tensor:
        """The taught answers q (N, C) of rows on the model's device."""
        unsure = self.believed(rows, None).max(-1).values < self.settings["sure"]
        taught = self.believed(rows, self.state)
        heard = unsure.view(len(rows), -1).any(-1)
        if heard.any():
            some, views = rows[heard], self.settings["views"]
            mean = torch.stack([self.believed(self.view(some), self.state) for _ in range(views)]).mean(0)
            averaged = taught.clone()
            averaged[heard.repeat_interleave(len(unsure) // len(rows))] = mean
            taught = torch.where(unsure[:, None], averaged, taught)
        return taught

    def loss(self, rows: Batch, taught: Tensor) -> Tensor:
        """The formula above."""
        return taught_entropy(beliefs(self.model.output, self.model(rows)), taught).mean()

    def learn(self, batch: Batch) -> None:
        """A step of the student, one of the teacher, and the restore."""
        if not len(batch):
            return
        rows = batch.to(self.model.device)
        if self.study(rows, self.taught(rows)):
            self.follow(self.settings["rate"])
            self.student = self.student.map(self.restored)

    def restored(self, name: str, dial: Tensor) -> Tensor:
        """A dial with some of its elements back at the source."""
        back = torch.rand(dial.shape, generator=self.draws) < self.settings["restore"]
        return dial.masked_fill(back.to(dial.device), 0.0)
