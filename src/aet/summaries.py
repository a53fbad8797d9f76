"""Summaries of rows beside their logits, and the head that reads them: for rules that correct answers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from aet.batch import Batch
from aet.members import MemberHeads
from aet.model import Model


@torch.no_grad()
def summaries(model: Model, batch: Batch, rows: int = 1024) -> tuple[Tensor, Tensor]:
    """Summaries (N, dim) and logits (N, width) under the active state, `rows` at a time; on the CPU.

    Of an ensemble of k the members' summaries lie side by side, (N, k·dim).
    """
    width = model.dim * model.config.model.members
    found, logits = [], []
    for index in torch.arange(len(batch)).split(rows):
        taps: list[Tensor] = []
        logits.append(model(batch[index].to(model.device), taps).cpu())
        found.append(taps[-1].reshape(len(index), width).cpu())
    return torch.cat(found), torch.cat(logits)


def head_weight(model: Model) -> Tensor:
    """W (width, dim) of the linear head; of an ensemble (width, k·dim), so that W e is the members' mean."""
    head = model.output.head
    if isinstance(head, nn.Linear):
        return head.weight.detach()
    assert isinstance(head, MemberHeads)
    return head.weight.detach().transpose(0, 1).flatten(1) / len(head.weight)  # (k, C, dim) -> (C, k·dim)
