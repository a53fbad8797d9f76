"""De-stationary attention: what a norm on the inputs took away of level and size comes back into the scores."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor, nn

from aet.attention.mechanisms import MECHANISMS, Dials, Mechanism


@MECHANISMS.register("destationary")
class DeStationary(Mechanism):
    """softmax(β q·kᵀ/√d + 1·Δᵀ), log β = W_τ gelu(A c) + b_τ, Δ_j = W_Δ gelu(B x_j + C c).

    c is the mean of the row's real tokens, among which the series input has one for level and size (Liu et al. 2022,
    2205.14415). β goes into the query, Δ is one more channel of the keys, so that no (T, S) matrix is made. W_τ, b_τ
    and W_Δ start at zero.

    Args:
        dim: channels of a token.
        heads: query heads H.
        hidden: channels inside.

    >>> dials = DeStationary(dim=8, heads=2)(torch.randn(3, 5, 8), torch.randn(3, 8))
    >>> dials["inverse_temperature"].shape, dials["key_factor"].shape
    (torch.Size([3, 2, 1, 1]), torch.Size([3, 2, 5, 1]))
    """

    def __init__(self, dim: int, heads: int, hidden: int = 16) -> None:
        super().__init__()
        self.row, self.token, self.around = (
            nn.Linear(dim, hidden, bias=bias) for bias in (True, True, False)
        )  # A, B, C
        self.temperature = nn.Linear(hidden, heads)  # W_τ, b_τ
        self.shift = nn.Linear(hidden, heads, bias=False)  # W_Δ
        for last in (self.temperature.weight, self.temperature.bias, self.shift.weight):
            nn.init.zeros_(last)

    @classmethod
    def at_zero(cls, dim: int, heads: int) -> Self:
        """As at its start."""
        return cls(dim, heads)

    def learned(self) -> dict[str, tuple[Tensor, Tensor | float]]:
        """W_τ, b_τ and W_Δ."""
        temperature, shift = self.temperature, self.shift
        return {"temperature": (temperature.weight, 0.0), "bias": (temperature.bias, 0.0), "shift": (shift.weight, 0.0)}

    def forward(self, tokens: Tensor, context: Tensor) -> Dials:
        """Dials for tokens (B, T, dim) and contexts (B, dim); β within e^±3."""
        log_beta = 3 * torch.tanh(self.temperature(nn.functional.gelu(self.row(context))) / 3)  # (B, H)
        inside = nn.functional.gelu(self.token(tokens) + self.around(context)[:, None])
        delta = self.shift(inside).transpose(1, 2)[..., None]  # (B, H, T, 1)
        return Dials(
            inverse_temperature=log_beta.exp()[..., None, None],
            query_factor=torch.ones_like(delta[..., :1, :]),
            key_factor=delta,
        )
