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


def all_ranks(logits: Tensor) -> Tensor:
    """`ranks` of every item, (B, I).

    >>> all_ranks(torch.tensor([[3.0, 1.0, 2.0], [0.0, 0.0, 0.0]])).tolist()
    [[1.0, 3.0, 2.0], [2.0, 2.0, 2.0]]
    """
    ordered, logits = logits.sort(-1).values, logits.contiguous()
    not_above = torch.searchsorted(ordered, logits, right=True)
    equal = not_above - torch.searchsorted(ordered, logits)
    return 1 + logits.shape[-1] - not_above + (equal - 1) / 2


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
