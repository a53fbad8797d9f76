"""Where the right item stands among all items, and the figures that follow: hit rate, NDCG, reciprocal rank.

    HR@k = [rank ≤ k],    NDCG@k = [rank ≤ k] / log2(1 + rank),    MRR = 1 / rank         for the one right item

Over the whole catalogue: figures over sampled items may order methods otherwise (Krichene and Rendle 2020).
"""

from __future__ import annotations

import torch
from torch import Tensor

AT = (1, 5, 10, 20)
"""k of the figures."""


def ranks(logits: Tensor, target: Tensor) -> Tensor:
    """Places (B,) of the targets (B,) among logits (B, I), from 1; among equal ones the middle.

    >>> ranks(torch.tensor([[3.0, 1.0, 2.0], [0.0, 0.0, 0.0]]), torch.tensor([2, 0])).tolist()
    [2.0, 2.0]
    """
    own = logits.gather(-1, target[:, None])
    above, equal = (logits > own).sum(-1), (logits == own).sum(-1)
    return 1 + above + (equal - 1) / 2


def reciprocals_apart(one: Tensor, other: Tensor, first: int = 100) -> Tensor:
    """A bound (B,) of |1 / rank - 1 / rank'| over all items, from the `first` items of both logits (B, I): to sort a
    catalogue takes seconds.

    >>> reciprocals_apart(torch.tensor([[3.0, 1.0, 2.0]]), torch.tensor([[1.0, 3.0, 2.0]]))
    tensor([0.6667])
    """
    (low, high), (least, most) = reciprocals(one, first), reciprocals(other, first)
    bound = torch.maximum(high - least, most - low).amax(-1)
    return torch.where((one == other).all(-1), 0.0, bound)


def reciprocals(logits: Tensor, first: int) -> tuple[Tensor, Tensor]:
    """Between what 1 / rank of each item lies, (B, I) each: exact for the first ones, and 0 to 1 / (1 + their number)
    for the others. Items that are equal to the next after the first belong to the others.
    """
    top, items = logits.topk(min(first + 1, logits.shape[-1]))
    sure = top > top[:, -1:] if logits.shape[-1] > first else torch.ones_like(top, dtype=torch.bool)
    above, equal = (top[:, None] > top[..., None]).sum(-1), (top[:, None] == top[..., None]).sum(-1)
    exact = 1 / (1 + above + (equal - 1) / 2)
    high = (1 / (1.0 + sure.sum(-1, keepdim=True))).expand(logits.shape).clone()
    low = torch.zeros_like(high)
    high.scatter_(-1, items, torch.where(sure, exact, high[:, :1]))
    low.scatter_(-1, items, torch.where(sure, exact, 0.0))
    return low, high


def ranking_figures(rank: Tensor) -> dict[str, float]:
    """Means over the rows of the figures of these ranks (B,).

    >>> figures = ranking_figures(torch.tensor([1.0, 3.0, 40.0]))
    >>> round(figures["hit_at_10"], 3), round(figures["ndcg_at_10"], 3), round(figures["mrr"], 3)
    (0.667, 0.5, 0.453)
    """
    rank = rank.double()
    gain = 1 / (1 + rank).log2()
    figures: dict[str, float] = {}
    for k in AT:
        within = (rank <= k).double()
        figures |= {f"hit_at_{k}": float(within.mean()), f"ndcg_at_{k}": float((gain * within).mean())}
    return {**figures, "mrr": float((1 / rank).mean())}
