"""How much each dial matters to the source's own answers: the diagonal of their Fisher information.

    F_j = mean_i ( ∂/∂s_j  -log p(ŷ_i | x_i; s) )²   at s = 0,   ŷ_i = argmax_c p(c | x_i)

Anchors that hold what the source knows weigh dials by it (EATA: Niu et al. 2022, 2204.02610; EWC: Kirkpatrick et al.
2017, 1612.00796). Labels are not needed.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from aet.attention.state import ElasticState, applied
from aet.batch import Batch
from aet.model import Model

ROWS, PIECE = 512, 64
"""Rows that it is taken over at most, and at a time."""


def dial_fisher(model: Model, batch: Batch) -> dict[str, Tensor] | None:
    """F by dial, of the first 512 rows; None for outputs other than classes."""
    if model.output.kind not in ("label", "multilabel") or not len(batch):
        return None
    batch = batch[torch.arange(min(ROWS, len(batch)))]
    zero, training = ElasticState.zeros(model), model.training
    total = {name: torch.zeros_like(t) for name, t in zero.items()}
    model.eval()
    for index in torch.arange(len(batch)).split(PIECE):
        for name, slope in row_slopes(model, batch[index].to(model.device), zero).items():
            total[name] += slope.square().sum(0)
    model.train(training)
    return {name: (t / len(batch)).cpu() for name, t in total.items()}


def row_slopes(model: Model, rows: Batch, state: ElasticState) -> dict[str, Tensor]:
    """The slope of each row's own loss by each dial (B, ...): every row has a state of its own, so one pass does."""
    each = state.each(len(rows))
    with torch.enable_grad(), applied(each):
        logits = model(rows)
        loss = own_loss(model.output.kind, logits).sum()
    return each.slopes(loss)


def own_loss(kind: str, logits: Tensor) -> Tensor:
    """-log p of each row's likeliest answer (B,); of yes-or-no answers the sum over them."""
    if kind == "label":
        return F.cross_entropy(logits, logits.argmax(-1), reduction="none")
    return F.softplus(-logits.abs()).sum(-1)
