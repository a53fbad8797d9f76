"""What two sets of answers to the same rows say of each other, without labels: the source's and a proposal's.

Of calibrated probabilities p (source) and q (proposal), (n, C) each, p̄ and q̄ their means, ŷ the likeliest classes:

    how alike neighbouring answers are, above chance   entropy of p̄ and of q̄      spread of the confidences
    mean confidence q - p     mutual information I(q) - I(p), I(p) = H(p̄) - mean H(p)     share of rows where ŷ differs
    mean of ½ [(q_ŷq - q_ŷp) - (p_ŷp - p_ŷq)]: who is surer of what the two disagree about
    how far each confidence lies below the one on validation rows     distances of p̄ and q̄ from the source's mix

None of them alone tells help from harm; which of them do for a model is learned in rehearsals
(`aet.adaptation.rehearsed`).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

FIGURES = (
    "repeats of the source",
    "repeats of the proposal",
    "classes of the source",
    "classes of the proposal",
    "spread of the source",
    "spread of the proposal",
    "confidence gained",
    "information gained",
    "disagreement",
    "surer where they disagree",
    "confidence lost by the source",
    "confidence lost by the proposal",
    "mix regained",
    "mix lost",
)


class Side:
    """What the figures need of one side's probabilities (n, C) alone; `of` gives it for some that are kept so."""

    def __init__(self, p: Tensor) -> None:
        self.p = p = p.double()
        self.sure, self.y = p.max(-1)
        self.mean = p.mean(0)
        self.repeats = repeats(self.y, p.shape[1])
        self.classes = entropy(self.mean)
        self.spread = self.sure.std() if len(self.sure) > 1 else self.sure.new_zeros(())
        self.sureness = self.sure.mean()
        self.information = information(p)

    @staticmethod
    def of(p: Tensor | Side) -> Side:
        """Computed where it is not yet."""
        return p if isinstance(p, Side) else Side(p)


def figures(source: Tensor | Side, proposal: Tensor | Side, usual: float, mix: Tensor) -> Tensor:
    """The figures (F,), in the order of `FIGURES`; usual: mean confidence on validation rows, mix (C,): the source's.

    >>> import torch
    >>> p = torch.tensor([[0.9, 0.1], [0.2, 0.8]])
    >>> figures(p, p, usual=0.85, mix=torch.tensor([0.5, 0.5]))[6:10].abs().max() < 1e-6
    tensor(True)
    """
    p, q, mix = Side.of(source), Side.of(proposal), mix.double()
    rows = torch.arange(len(p.p))
    turned = ((q.p[rows, q.y] - q.p[rows, p.y]) - (p.p[rows, p.y] - p.p[rows, q.y])) / 2
    apart_p, apart_q = (0.5 * (x.mean - mix).abs().sum() for x in (p, q))
    found = (
        p.repeats,
        q.repeats,
        p.classes,
        q.classes,
        p.spread,
        q.spread,
        (q.sure - p.sure).mean(),
        q.information - p.information,
        (p.y != q.y).double().mean(),
        turned.mean(),
        usual - p.sureness,
        usual - q.sureness,
        apart_p - apart_q,
        apart_p,
    )
    return torch.stack(found)


def entropy(p: Tensor) -> Tensor:
    """H(p) over log C, (...)."""
    total: Tensor = torch.special.entr(p).sum(-1)
    return total / math.log(p.shape[-1])


def information(p: Tensor) -> Tensor:
    """H(mean p) - mean H(p), over log C."""
    return entropy(p.mean(0)) - entropy(p).mean()


def alike_in_time(predicted: Tensor, classes: int, lags: int = 3) -> float:
    """How far answers (n,) repeat those up to `lags` before them more often than their mix alone explains.

    (agreements - expected) over the deviation that independent pairs would have: above 3 hardly ever by chance.

    >>> import torch
    >>> alike_in_time(torch.arange(60) // 15, 4) > 3, alike_in_time(torch.arange(60) % 4, 4) > 3
    (True, False)
    """
    chance = float((torch.bincount(predicted, minlength=classes).double() / max(1, len(predicted))).square().sum())
    same = [(predicted[lag:] == predicted[:-lag]).double() for lag in range(1, lags + 1)]
    pairs, agreed = sum(map(len, same)), sum(float(s.sum()) for s in same)
    spread = (pairs * chance * (1 - chance)) ** 0.5
    return (agreed - pairs * chance) / spread if spread > 1e-6 else 0.0


def repeats(predicted: Tensor, classes: int) -> Tensor:
    """Share of rows answered as the row before, less what the mix of the answers alone would give."""
    if len(predicted) < 2:
        return torch.zeros((), dtype=torch.float64)
    shares = torch.bincount(predicted, minlength=classes).double() / len(predicted)
    return (predicted[1:] == predicted[:-1]).double().mean() - shares.square().sum()
