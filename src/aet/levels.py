"""Quantile levels of what has a gain and an offset, and which gain and offset bring one set of levels to another.

    levels q_k(x), k = 1..K, at (k - ½) / K;   centre m and spread s: their mean and standard deviation over k
    gain = s / s',  x → (x - m') · gain + m     brings rows with m', s' to m, s

Mean and deviation over levels are those of a sample whose tails are cut: few wild values move them little, and columns
that are mostly one value still have them.
"""

from __future__ import annotations

import torch
from torch import Tensor

LEVELS = 20
ROWS = 2**16
"""Values of a dimension that levels are taken over at most, evenly spread."""
LARGEST_LOG_GAIN = 1.6


def levels(values: Tensor) -> Tensor:
    """Levels (K, D) of each dimension of values (N, D), NaN aside; NaN for a dimension without a value.

    >>> levels(torch.arange(100.0)[:, None])[[0, 9, 19], 0]
    tensor([ 2.4750, 47.0250, 96.5250])
    """
    at = (torch.arange(LEVELS, device=values.device) + 0.5) / LEVELS
    thinned = values[:: max(1, len(values) // ROWS)]
    if not len(thinned):
        return values.new_full((LEVELS, values.shape[1]), torch.nan)
    found: Tensor = torch.nanquantile(thinned, at.to(values.dtype), dim=0)
    return found


def mixed_levels(each: Tensor, shares: Tensor) -> Tensor:
    """Levels (K, D) of a mixture of classes, given those of each class (C, K, D) and their shares (C,).

    >>> low, high = levels(torch.zeros(9, 1)), levels(torch.ones(9, 1))
    >>> mixed_levels(torch.stack([low, high]), torch.tensor([0.25, 0.75])).mean()
    tensor(0.7500)
    """
    classes, count, size = each.shape
    values, order = each.reshape(classes * count, size).sort(0)  # (C·K, D)
    weight = (shares / count).repeat_interleave(count)[order]
    reached = (weight.cumsum(0) - weight / 2).T.contiguous()  # (D, C·K), the level of each value
    at = ((torch.arange(count, device=each.device) + 0.5) / count).to(each.dtype).expand(size, -1).contiguous()
    right = torch.searchsorted(reached, at).clamp(1, classes * count - 1)  # (D, K)
    before, after = reached.gather(1, right - 1), reached.gather(1, right)
    share = ((at - before) / (after - before).clamp_min(1e-9)).clamp(0, 1)
    low, high = values.T.gather(1, right - 1), values.T.gather(1, right)
    return torch.lerp(low, high, share).T


def matching(now: Tensor, wanted: Tensor, rows: int, doubt: float) -> tuple[Tensor, Tensor]:
    """Scale and shift (D,) of x(1 + scale) + shift that bring levels `now` of so many rows to `wanted`, (K, D) each.

    Log gain and offset, in spreads of what is wanted, are 0 below doubt / √rows and drawn in just above it: what
    the draw of the rows may have done moves nothing.
    """
    m, s = wanted.mean(0), wanted.std(0).clamp_min(1e-2)
    m_now, s_now = now.mean(0), now.std(0).clamp_min(1e-3)
    least = doubt / max(rows, 1) ** 0.5
    log_gain = drawn_in((s / s_now).log().clamp(-LARGEST_LOG_GAIN, LARGEST_LOG_GAIN), least)
    offset = drawn_in((m_now - m) / s, least)
    gain = log_gain.exp()
    return (gain - 1).nan_to_num(), (m - (m + offset * s) * gain).nan_to_num()


def drawn_in(x: Tensor, least: float) -> Tensor:
    """X · max(1 - (least / x)², 0), the non-negative garrote (Breiman 1995): 0 below `least`, far above it hardly less.

    >>> drawn_in(torch.tensor([0.5, 2.0, 10.0]), 1.0)
    tensor([0.0000, 1.5000, 9.9000])
    """
    return x * (1 - (least / x).square()).clamp_min(0).nan_to_num()
