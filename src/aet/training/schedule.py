"""The learning rate over the steps."""

from __future__ import annotations

import math


def warmup_cosine(step: int, steps: int, warmup: float) -> float:
    """Factor on the learning rate: rises over the share `warmup` of the steps, then falls as ½(1 + cos πt).

    Loshchilov and Hutter 2017, 1608.03983, without restarts.

    >>> [round(warmup_cosine(s, 100, 0.1), 2) for s in (0, 9, 55, 99)]
    [0.1, 1.0, 0.5, 0.0]
    """
    rise = max(1, round(steps * warmup))
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rise) / max(1, steps - rise))))
