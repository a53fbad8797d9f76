"""Distance: how far a head looks from the token that asks, learned, on the fused kernel."""

from __future__ import annotations

import torch
from torch import Tensor

from aet.attention.mechanisms import MECHANISMS, Dials, RatedHeads

UNIT = 8.0
"""Tokens that are one unit of distance."""


def distance(tokens: int, rate: Tensor) -> Dials:
    """Dials that multiply the softmax's terms by exp(-λ d²), d = (i - j) / 8.

    A soft span: adaptive span (Sukhbaatar et al. 2019, arXiv:1905.07799) with a Gaussian edge instead of a ramp. Since
    d² = i² - 2ij + j² and i² is one constant for a query, it is a factor of rank 2, and unlike the ramp it has a slope
    where everything is in sight.

    Args:
        tokens: T, in their own order.
        rate: λ, (H,); 0 is no distance, below 0 far tokens count more.

    >>> from aet.attention.attend import attend
    >>> flat = torch.zeros(1, 1, 3, 4)
    >>> attend(flat, flat, torch.eye(3, 4)[None, None], **distance(3, torch.tensor([64.0])))[0, 0, 0, :3]
    tensor([0.7214, 0.2654, 0.0132])
    """
    place = torch.arange(tokens, dtype=rate.dtype, device=rate.device) - (tokens - 1) / 2
    place = place / UNIT
    slope = rate[:, None, None]  # (H, 1, 1)
    query_factor = torch.cat([2 * slope * place[:, None], -slope.expand(-1, tokens, 1)], -1)  # (H, T, 2)
    return Dials(query_factor=query_factor, key_factor=torch.stack([place, place.square()], -1))


@MECHANISMS.register("distance")
class Distance(RatedHeads):
    """A soft span for each head: the further apart two tokens, the less they attend, at a learned rate.

    The rate 0 is its zero setting.

    It reads the order of the tokens: words of a text, patches of an image row by row. Columns of a table have none
    that means anything.

    >>> Distance(heads=2)(torch.zeros(1, 5, 8))["query_factor"].shape
    torch.Size([2, 5, 2])
    """

    def forward(self, tokens: Tensor) -> Dials:
        """Dials of `distance`."""
        return distance(tokens.shape[1], self.rate)
