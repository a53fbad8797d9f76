"""Steps down a slope that remember the steps before, as values: nothing is written in place.

    sgd:   v ← μ v + g,                         s ← s - η v
    adam:  m ← 0.9 m + 0.1 g,  v ← 0.999 v + 0.001 g²,
           s ← s - η · m / (1 - 0.9ᵗ) / (√(v / (1 - 0.999ᵗ)) + 1e-8)      (Kingma and Ba 2015, 1412.6980)

The same numbers as `torch.optim.SGD` and `torch.optim.Adam`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from aet.attention.state import ElasticState, under

BETAS, EPSILON = (0.9, 0.999), 1e-8


class Descent:
    """Rate η, rule, and for sgd the momentum μ.

    >>> state = ElasticState({"norm.shift": torch.zeros(2)})
    >>> Descent(0.1, "sgd")(state, {"norm.shift": torch.tensor([1.0, -2.0])})["norm.shift"]
    tensor([-0.1000,  0.2000])
    """

    def __init__(self, lr: float, rule: Literal["adam", "sgd"] = "adam", momentum: float = 0.9) -> None:
        self.lr, self.rule, self.momentum = lr, rule, momentum
        self.count = 0
        self.first: dict[str, Tensor] = {}
        self.second: dict[str, Tensor] = {}

    def __call__(self, state: ElasticState, slopes: Mapping[str, Tensor]) -> ElasticState:
        """The state one step on; dials without a slope stay."""
        self.count += 1
        step = self.heavy if self.rule == "sgd" else self.adaptive
        return state.updated({name: state[name] - self.lr * step(name, slope) for name, slope in slopes.items()})

    def heavy(self, name: str, slope: Tensor) -> Tensor:
        """Sgd."""
        self.first[name] = slope + self.momentum * self.first[name] if name in self.first else slope
        return self.first[name]

    def adaptive(self, name: str, slope: Tensor) -> Tensor:
        """Adam."""
        one, two = BETAS
        mean, square = (kept.get(name, torch.zeros_like(slope)) for kept in (self.first, self.second))
        self.first[name] = mean = one * mean + (1 - one) * slope
        self.second[name] = square = two * square + (1 - two) * slope.square()
        return mean / (1 - one**self.count) / ((square / (1 - two**self.count)).sqrt() + EPSILON)

    def memory(self) -> dict[str, Tensor]:
        """The moments, to be saved."""
        moments = (("first", self.first), ("second", self.second))
        named = {f"descent.{sort}.{name}": t for sort, kept in moments for name, t in kept.items()}
        return {**named, "descent.count": torch.tensor(self.count)}

    def load_memory(self, memory: Mapping[str, Tensor]) -> None:
        """Take back what `memory` gave, among other things."""
        self.count = int(memory["descent.count"])
        for sort in ("first", "second"):
            setattr(self, sort, under(f"descent.{sort}.", memory))


def length(slopes: Mapping[str, Tensor]) -> Tensor:
    """Their Euclidean length together, ()."""
    return torch.stack([slope.square().sum() for slope in slopes.values()]).sum().sqrt()


def clipped_slopes(slopes: Mapping[str, Tensor], longest: float) -> dict[str, Tensor]:
    """Slopes shortened together to a Euclidean length of at most `longest`.

    >>> clipped_slopes({"a": torch.tensor([3.0]), "b": torch.tensor([4.0])}, 1.0)["a"]
    tensor([0.6000])
    """
    factor = (longest / length(slopes).clamp_min(1e-12)).clamp_max(1.0)
    return {name: slope * factor for name, slope in slopes.items()}
