"""Numbers: a single column is a token; a named group of columns (the features of one sensor) is one token.

    x̂ = (x - median) / spread,    u = squash(x̂(1 + scale) + shift),    token = Σ_f u_f W_f + Σ_missing m_f + b

spread is the interquartile range / 1.349 (the standard deviation, were the column normal), squash(x) = asinh(x), which
is x near zero and grows like log x in the tails, so that one wild value cannot rule a row. The dials `scale` and
`shift` undo gain and offset of an ageing sensor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from aet.config import Section
from aet.inputs.base import INPUTS, Input
from aet.schema import InputSpec


def robust_moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Median and spread of each column of x (N, F), missing values aside.

    Where the middle half of a column is constant the standard deviation stands in, and 1 where that is zero too. A
    column without any value has the center NaN: whatever it shows later counts as missing, for nothing was learned.

    >>> [part.tolist() for part in robust_moments(np.array([[1.0, 7.0], [2.0, 7.0], [3.0, np.nan]]))]
    [[2.0, 7.0], [0.741..., 1.0]]
    """
    center, spread = np.full(x.shape[1], np.nan), np.ones(x.shape[1])
    known = ~np.isnan(x).all(0)
    if known.any():
        low, center[known], high = np.nanpercentile(x[:, known], (25, 50, 75), axis=0)
        rounding = 1e-12 * np.abs(center[known])  # what is smaller is the error of the arithmetic
        for candidate in (np.nanstd(x[:, known], axis=0), (high - low) / 1.349):
            spread[known] = np.where(candidate > rounding, candidate, spread[known])
    return center, spread


@INPUTS.register("number")
class NumberInput(Input):
    """Number columns in groups of one size. Encoded: (B, G, S), NaN where missing."""

    kind = "number"
    center: Tensor
    spread: Tensor
    gain: Tensor
    offset: Tensor

    def __init__(self, specs: Sequence[InputSpec], dim: int) -> None:
        super().__init__(specs, dim)
        self.groups, self.size = len(specs), len(specs[0].columns)
        self.columns = [column for spec in specs for column in spec.columns]
        shape = (self.groups, self.size)
        self.register_buffer("center", torch.zeros(shape, dtype=torch.float64))
        self.register_buffer("spread", torch.ones(shape, dtype=torch.float64))
        # Where a folded state lives: rows stay encoded in the source's units, so they fit the merged model too.
        self.register_buffer("gain", torch.ones(shape))
        self.register_buffer("offset", torch.zeros(shape))

    @classmethod
    def bundle(cls, specs: Sequence[InputSpec]) -> list[list[InputSpec]]:
        """Groups of the same size share a module, so that nothing is padded."""
        sizes = dict.fromkeys(len(spec.columns) for spec in specs)
        return [[spec for spec in specs if len(spec.columns) == size] for size in sizes]

    def fit(self, frame: pd.DataFrame, settings: Mapping[str, Any]) -> None:
        """Median and spread of each column."""
        Section.checked("inputs.number", settings)
        center, spread = robust_moments(frame[self.columns].to_numpy(np.float64))
        self.center.copy_(torch.from_numpy(center).view_as(self.center))
        self.spread.copy_(torch.from_numpy(spread).view_as(self.spread))

    def build(self) -> None:
        """One weight (dim) a column, one bias and one missing mark."""
        shape = (self.groups, self.size, self.dim)
        self.weight = nn.Parameter(torch.randn(shape) / self.size**0.5)
        self.missing = nn.Parameter(torch.randn(shape) / self.size**0.5)
        # Small beside the values, so that a token's direction, which the norms keep, is the values' own.
        self.bias = nn.Parameter(0.1 * torch.randn(self.groups, self.dim))

    def token_names(self) -> list[str]:
        """The groups' names."""
        return [spec.name for spec in self.specs]

    def encode(self, frame: pd.DataFrame) -> Tensor:
        """Robustly standardised in float64, then float32, so that large offsets lose nothing; at most 1e18 in size."""
        cells = frame[self.columns].to_numpy(np.float64, copy=True)  # pandas may give a view that must not be written
        x = torch.from_numpy(cells).view(-1, self.groups, self.size)
        return ((x - self.center.cpu()) / self.spread.cpu()).clamp(-1e18, 1e18).float()

    def forward(self, values: Tensor) -> tuple[Tensor, Tensor | None]:
        """Values (B, G, S) -> tokens (B, G, dim)."""
        absent = values.isnan()  # (B, G, S)
        dials = self.dials()
        gain, offset = self.composed(dials) if dials else (self.gain, self.offset)
        x = torch.addcmul(offset, values.nan_to_num(0.0), gain)
        x = x.asinh().masked_fill(absent, 0.0)
        tokens = self.project(x, self.weight) + self.bias
        if absent.any():
            tokens = tokens + self.project(absent.to(x.dtype), self.missing)
        return tokens, None

    def behind(self, values: Tensor) -> tuple[Tensor, int]:
        """The squashed values, asinh x̂ (B, G, S)."""
        return values.asinh(), self.size

    @staticmethod
    def project(x: Tensor, weight: Tensor) -> Tensor:
        """(B, G, S), (G, S, dim) -> (B, G, dim)."""
        if weight.shape[1] == 1:
            return x * weight.squeeze(1)
        return torch.einsum("bgs,gsd->bgd", x, weight)

    def augment(self, values: Tensor, strength: float, generator: torch.Generator) -> Tensor:
        """Gain, offset and noise per column, common to the batch; some tokens of each row are missing."""

        def draw(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator)

        shape = (1, self.groups, self.size)
        amount = strength * torch.rand((), generator=generator)
        gain = (0.1 * amount * (draw(*shape) + draw(1, self.groups, 1))).exp()
        offset = 0.1 * amount * (draw(*shape) + draw(1, self.groups, 1))
        noise = 0.05 * amount * draw(*values.shape)
        # A row that lost most of its columns teaches the others to stand alone, as they must when one drifts away.
        rate = min(0.8 * strength, 0.95) * torch.rand((), generator=generator)
        lost = torch.rand((len(values), self.groups, 1), generator=generator) < rate
        return torch.where(lost, torch.nan, values * gain + offset + noise)

    def realigned(self, values: Tensor) -> dict[str, Tensor]:
        """x̂ has center 0 and spread 1 over the training rows; a column that is missing throughout stays."""
        flat = values.flatten(1).double().numpy()  # (B, G*S)
        center, spread = robust_moments(flat)
        center = np.nan_to_num(center)
        gain = 1 / np.clip(spread, 0.2, 5.0)
        dials = {"scale": gain - 1, "shift": -center * gain}
        return {dial: torch.from_numpy(t).float().view(self.groups, self.size) for dial, t in dials.items()}

    def dial_shapes(self) -> dict[str, tuple[int, ...]]:
        """(G, S) each."""
        return dict.fromkeys(("scale", "shift"), (self.groups, self.size))

    def composed(self, dials: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Gain and offset after the dials: (x·gain + offset)(1 + scale) + shift."""
        factor = 1 + dials["scale"]
        return self.gain * factor, self.offset * factor + dials["shift"]

    def fold(self, dials: Mapping[str, Tensor]) -> None:
        """Keep the composed gain and offset."""
        gain, offset = self.composed(dials)
        self.gain.copy_(gain)
        self.offset.copy_(offset)
