"""MEMO: each row answered by a state of its own that agrees with itself over augmented views (Zhang et al. 2022).

    L(x; s) = H(1/V Σ_v p(x_v; s)),    s(x) = -η ∇_s L(x; 0),    answer: z(x; s(x))

x_v: V drifted views of the row (`aet.drift`), a drift of its own for each view, the same V drifts for every batch. All
dials move, for one row, and are forgotten: the state that a stream sees stays the source's, batch size and order of the
rows mean nothing, nothing can collapse. Every row has its own state, so one backward serves many. A batch costs V
forwards and V backwards a row before it is answered: 3 V passes. Source: 2110.09506 (V = 64 there).
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from aet.adaptation.base import METHODS, RADIUS, Method
from aet.adaptation.beliefs import CLASSES, beliefs
from aet.attention.state import ElasticState, applied
from aet.batch import Batch
from aet.drift import drifted

PIECE = 512
"""Views that pass at once: bounds the memory."""


@METHODS.register("memo")
class Memo(Method):
    """Settings: `lr` of the one step, `views` V, `strength` of their drifts."""

    defaults: ClassVar[dict[str, Any]] = {"lr": 5e-3, "views": 8, "strength": 1.0}
    needs: ClassVar[tuple[str, ...]] = CLASSES
    corrects: ClassVar[bool] = True

    def answer(self, batch: Batch) -> Tensor:
        """Logits under each row's own state."""
        if not len(batch):
            return self.model.logits(batch)
        answered = []
        for index in torch.arange(len(batch)).split(max(1, PIECE // self.settings["views"])):
            rows = batch[index]
            with applied(self.states(rows)):
                answered.append(self.model.logits(rows))
        return torch.cat(answered)

    def states(self, rows: Batch) -> ElasticState:
        """s(x) of each row, in the batched form; a row without a finite slope keeps the source's."""
        slopes = self.row_slopes(rows)
        found = {}
        for name, slope in slopes.items():
            finite = slope.flatten(1).isfinite().all(1).view(-1, *[1] * (slope.ndim - 1))
            found[name] = torch.where(finite, -self.settings["lr"] * slope, 0.0)
        return ElasticState(found).clipped(RADIUS)

    def row_slopes(self, rows: Batch) -> dict[str, Tensor]:
        """∇_s L(x; 0) of each row (B, ...)."""
        views, draws, rows = self.settings["views"], torch.Generator().manual_seed(0), rows.to("cpu")
        every = Batch.concat([drifted(self.model, rows, self.settings["strength"], draws) for _ in range(views)])
        source = ElasticState.zeros(self.model)
        own = source.each(len(rows))
        place = torch.arange(len(rows), device=self.model.device).repeat(views)
        with torch.enable_grad(), applied(own.rows(place)):
            logits = self.model(every.to(self.model.device))
            loss = marginal_entropy(beliefs(self.model.output, logits).unflatten(0, (views, -1))).sum()
        self.passes += 3.0 * len(every)
        return own.slopes(loss)


def marginal_entropy(logits: Tensor) -> Tensor:
    """H of the mean answer over views: logits (V, N, C) -> (N,).

    >>> marginal_entropy(torch.tensor([[[9.0, -9.0]], [[-9.0, 9.0]]])).exp()  # sure, and of two opinions
    tensor([2.])
    """
    log_p = logits.log_softmax(-1).logsumexp(0) - torch.tensor(float(len(logits))).log()
    return -(log_p.exp() * log_p).sum(-1)
