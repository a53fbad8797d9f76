"""Adaptive dynamic attention: a small network reads what rows have in common and emits the elastic state.

    s(X) = (mean x, log std x, mean φ(x))        over all real tokens x of the rows X, φ = gelu(W_φ x)
    z = (n - 1)/(n - 1 + κ) · soft((s(X) - s_S)/σ_S)    n = rows, s_S and σ_S mean and spread of s over training batches
    dials = bound · tanh(W₂ gelu(W₁ z))           soft(z) = z / (1 + |z| / reach)

There is no bias: z = 0 is the zero state, and so is one row alone, which says nothing of its world. W₂ = 0 at first.
Trained across worlds it needs no gradient when it meets another one; `soft` keeps it from guessing beyond them, and
tanh bounds what it may do. The inputs' part of the state is in closed form (`Input.realigned`), so that a gain or an
offset is undone however large it is.

A hypernetwork (Ha et al. 2017, 1609.09106) that gives what feature-wise modulation takes (Perez et al. 2018,
1709.07871); a context read from an unlabelled batch is what adaptive risk minimisation trains (Zhang et al. 2021,
2007.02931).
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aet.config import checked_settings
from aet.errors import ConfigError

FAR = 10.0
"""Spreads from the mean at which a single row's say ends."""


class StateNetwork(nn.Module):
    """The network of the formula above, for `dim` channels and `dials` numbers of an elastic state.

    Settings: `hidden` width of W₁, `features` of φ, `kappa` κ in rows, `bound`, `reach`, `share` of the training
    batches that are answered under the emitted state (the others: the source's), `memory` of s_S and σ_S in batches.

    >>> network = StateNetwork(dim=8, dials=20)
    >>> x = torch.randn(6, 5, 8)
    >>> network(network.statistics(network.rows(x).mean(0)), rows=6)
    tensor([0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0.], ...)
    """

    defaults: ClassVar[dict[str, Any]] = {
        "hidden": 64,
        "features": 32,
        "kappa": 8.0,
        "bound": 0.5,
        "reach": 2.0,
        "share": 0.5,
        "memory": 100,
    }
    center: Tensor
    spread: Tensor
    row_center: Tensor
    row_spread: Tensor
    batches: Tensor

    def __init__(self, dim: int, dials: int, **settings: Any) -> None:
        super().__init__()
        self.settings = checked_settings("mechanism 'dynamic'", self.defaults, settings)
        if self.settings["share"] > 1:
            raise ConfigError(
                f"The setting share of the mechanism 'dynamic' is a share of the batches, from 0 to 1; got "
                f"{self.settings['share']}. The default is {self.defaults['share']}."
            )
        if not self.settings["reach"]:
            raise ConfigError(
                "The setting reach of the mechanism 'dynamic' is 0: nothing would be read. Expected more than 0; the "
                f"default is {self.defaults['reach']}."
            )
        self.dim, features, hidden = dim, self.settings["features"], self.settings["hidden"]
        self.phi = nn.Linear(dim, features)
        self.read = nn.Linear(2 * dim + features, hidden, bias=False)  # W₁
        self.emit = nn.Linear(hidden, dials, bias=False)  # W₂
        nn.init.zeros_(self.emit.weight)
        for kind in ("", "row_"):
            self.register_buffer(f"{kind}center", torch.zeros(2 * dim + features))
            self.register_buffer(f"{kind}spread", torch.ones(2 * dim + features))
        self.register_buffer("batches", torch.zeros(()))

    def rows(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, T, dim) and mask (B, T) -> each row's means of x, x² and φ(x), (B, 2·dim + features)."""
        # Variances are differences of large numbers: never in a narrow type.
        tokens = tokens if tokens.dtype == torch.float64 else tokens.float()
        parts = [tokens, tokens.square(), F.gelu(self.phi(tokens)).to(tokens.dtype)]
        if mask is None:
            return torch.cat([part.mean(1) for part in parts], -1)
        real = mask[..., None].to(tokens.dtype)
        count = real.sum(1).clamp(min=1)
        return torch.cat([(part * real).sum(1) / count for part in parts], -1)

    def trust(self, rows: float) -> float:
        """(n - 1)/(n - 1 + κ): 0 for one row, which says nothing of its world."""
        others = max(rows - 1, 0)
        return float(others / (others + self.settings["kappa"])) if others else 0.0

    def tamed(self, rows: Tensor) -> Tensor:
        """Rows (B, S) within FAR spreads of those of training, and finite."""
        low, high = self.row_center - FAR * self.row_spread, self.row_center + FAR * self.row_spread
        return torch.nan_to_num(rows).clamp(low, high) if self.batches > 0 else rows

    def statistics(self, mean: Tensor) -> Tensor:
        """s(X) from the mean of its rows, both (S,)."""
        mean, square, phi = mean.split([self.dim, self.dim, self.settings["features"]], -1)
        return torch.cat([mean, 0.5 * (square - mean.square()).clamp(min=1e-6).log(), phi], -1)

    def forward(self, statistics: Tensor, rows: float) -> Tensor:
        """Dials (dials,) from s(X) (S,) of `rows` rows."""
        away = (statistics - self.center) / self.spread
        z = self.trust(rows) * away / (1 + away.abs() / self.settings["reach"])
        dials: Tensor = self.settings["bound"] * torch.tanh(self.emit(F.gelu(self.read(z))))
        return dials

    @torch.no_grad()
    def note(self, rows: Tensor, statistics: Tensor) -> None:
        """Move s_S and σ_S, and those of single rows, towards one more batch; the first batches count alike."""
        # New tensors each time: a backward pass to come may still hold the old ones.
        self.batches = self.batches + 1
        pace = torch.clamp(1 / self.batches, min=1 / self.settings["memory"])
        within = rows.var(0, correction=0)
        self.center, self.spread = self.moved(self.center, self.spread, pace, statistics, torch.zeros_like(within))
        self.row_center, self.row_spread = self.moved(self.row_center, self.row_spread, pace, rows.mean(0), within)

    def moved(
        self, center: Tensor, spread: Tensor, pace: Tensor, mean: Tensor, within: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Running mean and spread after one more batch of this mean and variance."""
        away = mean - center
        variance = (1 - pace) * (spread.square() * (self.batches > 1) + pace * away.square()) + pace * within
        return center + pace * away, variance.sqrt().clamp(min=1e-3)

    def acted(self) -> str:
        """How far the network was trained from the source, in words; empty if it emits the source whatever it reads."""
        weight = self.emit.weight.detach()
        if not bool(weight.any()):
            return ""
        return f"reads {len(self.center)} statistics, emits {len(weight):,} dials, {int(self.batches):,} batches seen"
