"""What a number shows to its token beside itself: features k(u), so that the token may be any curve of the number.

    token += Σ_f k(u_f) V_f,    V starts at zero, so that each embedding starts as the linear one

    linear      none
    piecewise   k_t(u) = clamp((u - b_t) / (b_{t+1} - b_t), 0, 1), edges b the quantiles of the training rows
                Gorishniy et al. 2022, 2203.05556; beside the linear term as in "TabM", 2410.24210
    periodic    k(u) = [sin 2πc u, cos 2πc u], frequencies c learned, drawn from N(0, σ)     2203.05556

u is what `scaling` made of the number.
"""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from aet.registry import Registry

EMBEDDINGS: Registry[type[Features]] = Registry("number embedding")


class Features(nn.Module):
    """k: u (B, G, S) -> (B, G, S, `count`).

    Args:
        groups: G. size: S.
        bins: how fine; what that means is the embedding's own.
    """

    count: int

    def __init__(self, groups: int, size: int, bins: int) -> None:
        super().__init__()
        self.groups, self.size, self.count = groups, size, 0

    def fit(self, u: np.ndarray) -> None:
        """Learn from training rows u (N, G, S), NaN where missing."""

    def build(self) -> None:
        """Make the weights."""

    def forward(self, u: Tensor) -> Tensor:
        """None: the number itself is all there is."""
        return u.new_zeros(*u.shape, 0)


@EMBEDDINGS.register("linear")
class NoFeatures(Features):
    """The number itself is all there is."""


@EMBEDDINGS.register("piecewise")
class Piecewise(Features):
    """Which of `bins` stretches between quantiles the number has passed, and how far it is in its own.

    >>> made = Piecewise(1, 1, bins=2)
    >>> made.fit(np.arange(5.0).reshape(5, 1, 1))
    >>> made(torch.tensor([[[3.0]]])).tolist()
    [[[[1.0, 0.5]]]]
    """

    left: Tensor
    width: Tensor
    # Left edge of a stretch that a column with few values does not have: nothing reaches it.
    NEVER: ClassVar[float] = 1e6

    def __init__(self, groups: int, size: int, bins: int) -> None:
        super().__init__(groups, size, bins)
        self.count = bins
        self.register_buffer("left", torch.full((groups, size, bins), self.NEVER))
        self.register_buffer("width", torch.ones(groups, size, bins))

    def fit(self, u: np.ndarray) -> None:
        """Edges at equal shares of the rows; equal edges are one."""
        for place in np.ndindex(*u.shape[1:]):
            column = u[(slice(None), *place)]
            column = column[~np.isnan(column)]
            edges = np.unique(np.quantile(column, np.linspace(0, 1, self.count + 1))) if len(column) else column
            if len(edges) > 1:
                self.left[place][: len(edges) - 1] = torch.from_numpy(edges[:-1])
                self.width[place][: len(edges) - 1] = torch.from_numpy(np.diff(edges))

    def forward(self, u: Tensor) -> Tensor:
        """Shares of the stretches passed."""
        return ((u[..., None] - self.left) / self.width).clamp(0, 1)


@EMBEDDINGS.register("periodic")
class Periodic(Features):
    """`bins` waves, each with its sine and cosine. σ = 0.3: slow against the spread of a column, which is about 1."""

    SIGMA: ClassVar[float] = 0.3

    def __init__(self, groups: int, size: int, bins: int) -> None:
        super().__init__(groups, size, bins)
        self.bins, self.count = bins, 2 * bins

    def build(self) -> None:
        """Draw the frequencies."""
        self.frequency = nn.Parameter(self.SIGMA * torch.randn(self.groups, self.size, self.bins))

    def forward(self, u: Tensor) -> Tensor:
        """Sines, then cosines."""
        angle = 2 * math.pi * u[..., None] * self.frequency
        return torch.cat([angle.sin(), angle.cos()], -1)
