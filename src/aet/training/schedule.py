"""The learning rate over the steps: factors on `train.lr`, by name.

All but `one_cycle` rise linearly over r, the share `warmup` of the steps, first (Goyal et al. 2017, 1706.02677).
Then, with t steps since and u = t / (steps left) from 0 to 1:

    constant       1
    linear         1 - u
    cosine         ½(1 + cos πu)                                    Loshchilov and Hutter 2017, 1608.03983
    restarts       ½(1 + cos πv), v the place in cycles of length 1, 2, 4 ... sevenths     the same
    cyclic         triangles between 1/10 and 1, four of them       Smith 2017, 1506.01186
    inverse_sqrt   √(r / (r + t))                                   Vaswani et al. 2017, 1706.03762
    one_cycle      cosine up from 1/25 over `warmup`, cosine down to 0     Smith and Topin 2018, 1708.07120
"""

from __future__ import annotations

import math
from collections.abc import Callable

from aet.registry import Registry

Schedule = Callable[[int, int, float], float]
"""Step, steps of the run, share of warm-up -> factor on the learning rate."""

SCHEDULES: Registry[Schedule] = Registry("learning-rate schedule")


def warmed(name: str) -> Callable[[Callable[[float, int, int], float]], Schedule]:
    """Register a schedule of u, t and r, with the warm-up before it."""

    def enter(after: Callable[[float, int, int], float]) -> Schedule:
        def schedule(step: int, steps: int, warmup: float) -> float:
            rise = max(1, round(steps * warmup))
            if step < rise:
                return (step + 1) / rise
            return after(min(1.0, (step - rise) / max(1, steps - rise)), step - rise, rise)

        return SCHEDULES.register(name)(schedule)

    return enter


@warmed("constant")
def constant(u: float, t: int, r: int) -> float:
    """Stays."""
    return 1.0


@warmed("linear")
def linear(u: float, t: int, r: int) -> float:
    """Falls in a line."""
    return 1 - u


@warmed("cosine")
def cosine(u: float, t: int, r: int) -> float:
    """Falls as a cosine.

    >>> [round(SCHEDULES["cosine"](step, 100, 0.1), 2) for step in (0, 9, 55, 99)]
    [0.1, 1.0, 0.5, 0.0]
    """
    return 0.5 * (1 + math.cos(math.pi * u))


@warmed("restarts")
def restarts(u: float, t: int, r: int) -> float:
    """Three cosines, each twice as long as the one before."""
    cycle = min(2, int(math.log2(7 * min(u, 1 - 1e-12) + 1)))
    return 0.5 * (1 + math.cos(math.pi * (7 * u + 1 - 2**cycle) / 2**cycle))


@warmed("cyclic")
def cyclic(u: float, t: int, r: int) -> float:
    """Four triangles."""
    return 0.1 + 0.9 * abs(2 * ((4 * u) % 1) - 1)


@warmed("inverse_sqrt")
def inverse_sqrt(u: float, t: int, r: int) -> float:
    """Falls as one over the root of the step."""
    return math.sqrt(r / (r + t))


@SCHEDULES.register("one_cycle")
def one_cycle(step: int, steps: int, warmup: float) -> float:
    """Up and down once."""
    rise = max(1, round(steps * warmup))
    if step < rise:
        return 1 - (1 - 1 / 25) * 0.5 * (1 + math.cos(math.pi * (step + 1) / rise))
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rise) / max(1, steps - rise))))
