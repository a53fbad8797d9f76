"""Elastic temperature: how sharp a query looks, by the number of keys, by the query, or by its entropy."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor, nn

from aet.attention.mechanisms import MECHANISMS, Dials, Mechanism

FITTED = (-0.037, 0.481, -2.3, 4.917, -1.791)
"""Coefficients of `adaptive_temperature`, highest power first, fitted by its authors on max-retrieval."""


def ssmax(lengths: Tensor | int, s: Tensor, offset: Tensor | float = 0.0) -> Dials:
    """Scalable softmax: β = s·log(n) + offset (Nakanishi 2025, arXiv:2501.19399; offset 0 in the paper).

    Softmax flattens as keys are added; this holds its sharpness. It multiplies the scores; subtracting the
    same term from all of them, as one published port does, changes nothing.

    Args:
        lengths: n, the keys that a query sees: a number, (T,), (B, T), or (B, 1) for one number a row.
            Causal: `torch.arange(1, T + 1)`.
        s: slope, (H,) or a scalar.
        offset: (H,) or a scalar.

    >>> ssmax(7, torch.tensor([0.0, 1.0]), 1.0)["inverse_temperature"].flatten()
    tensor([1.0000, 2.9459])
    """
    lift = offset[..., None, None] if isinstance(offset, Tensor) else offset
    return Dials(inverse_temperature=s[..., None, None] * _log(lengths, s) + lift)


def _log(lengths: Tensor | int, like: Tensor) -> Tensor:  # (B, 1, T, 1)
    n = torch.as_tensor(lengths, dtype=like.dtype, device=like.device)
    if n.dim() < 2:
        n = n.reshape(1, -1)
    return n[:, None, :, None].clamp(min=1).log()


@MECHANISMS.register("ssmax")
class SSMax(Mechanism):
    """A temperature that knows the number of keys: `ssmax`, slope and offset learned for each head.

    Slope 0 and offset 1 are its zero setting.

    >>> SSMax(heads=2)(torch.tensor([[3.0, 4.0]]))["inverse_temperature"].shape
    torch.Size([1, 2, 2, 1])
    """

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.zeros(heads))
        self.offset = nn.Parameter(torch.ones(heads))

    @classmethod
    def at_zero(cls, dim: int, heads: int) -> Self:
        """As at its start: β = 1 at every length."""
        return cls(heads)

    def learned(self) -> dict[str, tuple[Tensor, Tensor | float]]:
        """Slope and offset."""
        return {"slope": (self.slope, 0.0), "offset": (self.offset, 1.0)}

    def forward(self, lengths: Tensor) -> Dials:
        """Dials of `ssmax`."""
        return ssmax(lengths, self.slope, self.offset)


@MECHANISMS.register("qassmax")
class QASSMax(Mechanism):
    """Query-aware scalable softmax (TabICLv2, arXiv:2602.11139), a temperature for each head and channel.

        q̃ = q · MLP_base(log n) · (1 + tanh(MLP_gate(q)))

    The last layers start at zero (and a bias of 1 in the base), so that q̃ = q at first. All heads share the
    gate.

    Args:
        heads: query heads H.
        width: channels D of one head.
        hidden: hidden channels of both MLPs.

    >>> q = torch.randn(3, 2, 5, 4)
    >>> QASSMax(heads=2, width=4)(q, torch.full((3, 5), 5))["inverse_temperature"].shape
    torch.Size([3, 2, 5, 4])
    """

    def __init__(self, heads: int, width: int, hidden: int = 64) -> None:
        super().__init__()
        self.heads, self.width = heads, width
        self.base = nn.Sequential(nn.Linear(1, hidden), nn.GELU(), _constant(hidden, heads * width, 1.0))
        self.gate = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), _constant(hidden, width, 0.0))

    @classmethod
    def at_zero(cls, dim: int, heads: int) -> Self:
        """As at its start."""
        return cls(heads, dim // heads)

    def learned(self) -> dict[str, tuple[Tensor, Tensor | float]]:
        """What lies on the last layers, which give 1 and 0 at first whatever they read."""
        base, gate = self.base[-1], self.gate[-1]
        assert isinstance(base, nn.Linear)
        assert isinstance(gate, nn.Linear)
        return {"base": (base.bias, 1.0), "slope of the base": (base.weight, 0.0), "gate": (gate.weight, 0.0)}

    def forward(self, query: Tensor, lengths: Tensor | int) -> Dials:
        """β (B, H, T, D) for a query (B, H, T, D) and the keys it sees (see `ssmax`)."""
        log_n = _log(lengths, query).transpose(1, 2)[:, :, 0]  # (B, T, 1)
        base = self.base(log_n).view(*log_n.shape[:2], self.heads, self.width).transpose(1, 2)  # (B, H, T, D)
        return Dials(inverse_temperature=base * (1 + torch.tanh(self.gate(query))))


def _constant(width: int, out: int, start: float) -> nn.Linear:
    """A layer that gives `start` whatever it reads, until it learns."""
    layer = nn.Linear(width, out)
    nn.init.zeros_(layer.weight)
    nn.init.constant_(layer.bias, start)
    return layer


def adaptive_temperature(entropy: Tensor, coefficients: Tensor | tuple[float, ...] = FITTED) -> Dials:
    """Sharpen where attention is spread out (Veličković et al. 2024, arXiv:2410.01104).

        β = 1 if H <= 0.5, else max(c₀H⁴ + c₁H³ + c₂H² + c₃H + c₄, 1)

    It never softens. The coefficients, highest power first, come from one task: refit them on yours.

    Args:
        entropy: H in nats, (B, H, T), of the attention at β = 1; `attention_entropy` gives it.
        coefficients: of a polynomial of any degree.

    >>> adaptive_temperature(torch.tensor([[[0.3, 1.0, 3.0]]]))["inverse_temperature"].flatten()
    tensor([1.0000, 1.2700, 2.2500])
    """
    beta = torch.zeros_like(entropy)
    for coefficient in coefficients:
        beta = beta * entropy + coefficient
    beta = torch.where(entropy > 0.5, beta.clamp(min=1), 1)
    return Dials(inverse_temperature=beta[..., None])


@MECHANISMS.register("adaptive_temperature")
class AdaptiveTemperature(Mechanism):
    """Sharper where attention is spread out: `adaptive_temperature`, its polynomial learned.

    The polynomial 1 is its zero setting.

    >>> AdaptiveTemperature()(torch.full((1, 2, 3), 1.0))["inverse_temperature"].shape
    torch.Size([1, 2, 3, 1])
    """

    def __init__(self, coefficients: tuple[float, ...] = FITTED) -> None:
        super().__init__()
        self.coefficients = nn.Parameter(torch.tensor(coefficients))

    @classmethod
    def at_zero(cls, dim: int, heads: int) -> Self:
        """The constant polynomial 1."""
        return cls((0.0, 0.0, 0.0, 0.0, 1.0))

    def learned(self) -> dict[str, tuple[Tensor, Tensor | float]]:
        """The coefficients."""
        return {"coefficient": (self.coefficients, self.at_zero(0, 0).coefficients.detach().to(self.coefficients))}

    def forward(self, entropy: Tensor) -> Dials:
        """Dials of `adaptive_temperature`."""
        return adaptive_temperature(entropy, self.coefficients)
