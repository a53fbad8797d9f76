"""Series: cells are stretches of a series up to the row's time; patches of them are tokens (Nie et al. 2023, PatchTST).

Each window is brought to one size (`aet.inputs.normalise`) before it is cut into patches. Series side by side in one
cell, (T, C), share the projection and are told apart by what is added to each place. Beside the patches there may be
one token a series for the whole window (Liu et al. 2024, iTransformer), and one for the level and the size that the
window had, which the norm took away: attention can read them (de-stationary attention, Liu et al. 2022,
`model.attention: {destationary: {}}`). Missing values are 0 at the window's centre and shown as missing, patch by
patch; a series shorter than the look-back is missing at its front.

The dials `scale` and `shift` undo gain and offset of a worn sensor, one pair a series.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from aet.config import Section
from aet.errors import ConfigError
from aet.inputs.base import INPUTS
from aet.inputs.gains import GainedInput
from aet.inputs.normalise import NORMALISERS, drawn_in
from aet.inputs.scaling import robust_moments
from aet.schema import InputSpec

FARTHEST = 1e16
MEASURED = 4
"""Numbers behind each window: centre and centre + scale of the window as it is read, and as answers are measured."""


class SeriesSettings(Section):
    """`inputs.series`."""

    length: PositiveInt | None = Field(
        None, description="Newest values that are read; the longest cell's unless given."
    )
    patch: PositiveInt | None = Field(None, description="Values of a patch; a sixth of the length, at most 16.")
    stride: PositiveInt | None = Field(None, description="Values from patch to patch; half a patch unless given.")
    normalise: Literal["robust", "standard", "none"] = Field(
        "robust", description="How a window is brought to one size."
    )
    tokens: Literal["patch", "variate", "both"] = Field(
        "both", description="A token for each patch, one for each whole series, or both."
    )
    level: bool = Field(True, description="A token for the level and the size that the window had.")


@INPUTS.register("series")
class SeriesInput(GainedInput):
    """One column. Encoded: (B, C, L + 4), in units of the training windows, NaN where missing; then `MEASURED`."""

    kind = "series"
    center: Tensor
    spread: Tensor

    def __init__(self, specs: Sequence[InputSpec], dim: int) -> None:
        super().__init__(specs, dim)
        self.column = specs[0].columns[0]
        self.chosen = SeriesSettings()
        self.series = self.length = 1

    @classmethod
    def bundle(cls, specs: Sequence[InputSpec]) -> list[list[InputSpec]]:
        """Each column has its own length."""
        return [[spec] for spec in specs]

    def fit(self, frame: pd.DataFrame, settings: Mapping[str, Any], target: Tensor | None = None) -> None:
        """Length, patches, and centre and spread of all values."""
        chosen = SeriesSettings.checked("inputs.series", settings)
        cells = frame[self.column]
        known = [cell for cell in cells if cell is not None]
        self.series = 1 if not known or known[0].ndim == 1 else known[0].shape[1]
        self.length = chosen.length or max((len(cell) for cell in known), default=1)
        patch = min(chosen.patch or max(1, min(16, self.length // 6)), self.length)
        stride = chosen.stride or max(1, patch // 2)
        if stride > patch:
            raise ConfigError(
                f"inputs.series: a stride of {stride} leaves values out between patches of {patch}: expected a stride "
                f"of at most {patch}. Leave inputs.series.stride out, or make the patch longer."
            )
        self.chosen = chosen.model_copy(update={"length": self.length, "patch": patch, "stride": stride})
        self.reserve()
        center, spread = units(cells, self.length, self.series)
        self.center.copy_(torch.from_numpy(center)[:, None])
        self.spread.copy_(torch.from_numpy(spread)[:, None])

    def reserve(self) -> None:
        """Buffers."""
        for name, start in (("center", 0.0), ("spread", 1.0)):
            self.register_buffer(name, torch.full((self.series, 1), start, dtype=torch.float64))
        self.register_buffer("gain", torch.ones(self.series, 1))
        self.register_buffer("offset", torch.zeros(self.series, 1))

    @property
    def starts(self) -> list[int]:
        """Where patches begin; the last ends with the window, the first may reach before it."""
        patch, stride = self.chosen.patch or 1, self.chosen.stride or 1
        return list(range(self.length - patch, -stride, -stride))[::-1]

    def build(self) -> None:
        """Projections shared by all series, and what is added to each place."""
        patch, tokens = self.chosen.patch or 1, self.chosen.tokens

        def projection(size: int) -> nn.Parameter:
            return nn.Parameter(torch.randn(size, self.dim) / size**0.5)

        def places(*shape: int) -> nn.Parameter:
            return nn.Parameter(0.1 * torch.randn(*shape, self.dim))

        if tokens != "variate":
            self.patches, self.places = projection(patch), places(self.series, len(self.starts))
            self.no_patch = projection(patch)
        if tokens != "patch":
            self.whole, self.whole_place = projection(self.length), places(self.series, 1)
            self.no_value = projection(self.length)
        if self.chosen.level:
            self.levels, self.level_place = projection(2), places(self.series, 1)

    def settings(self) -> dict[str, Any]:
        """What was chosen, and how many series there are side by side."""
        return {**self.chosen.model_dump(), "series": self.series}

    def load_settings(self, settings: Mapping[str, Any]) -> None:
        """Take back what was chosen."""
        given = dict(settings)
        self.series = int(given.pop("series"))
        self.chosen = SeriesSettings.checked("inputs.series", given)
        self.length = self.chosen.length or 1
        self.reserve()

    def token_names(self) -> list[str]:
        """Series by series: its patches by their places before the row's time, the whole, the level."""
        name, found = self.specs[0].name, []
        patch = self.chosen.patch or 1
        for number in range(self.series):
            of = f"{number}:" if self.series > 1 else ""
            if self.chosen.tokens != "variate":
                ends = [start + patch - self.length for start in self.starts]
                found += [f"{name}[{of}{end - patch}..{end - 1}]" for end in ends]
            found += [f"{name}[{of}whole]"] * (self.chosen.tokens != "patch") + [
                f"{name}[{of}level]"
            ] * self.chosen.level
        return found

    def encode(self, frame: pd.DataFrame) -> Tensor:
        """Windows in units of the training windows, with their centres and scales."""
        x = torch.from_numpy(windows(frame[self.column], self.length, self.series))
        x = ((x - self.center.cpu()) / self.spread.cpu()).clamp(-FARTHEST, FARTHEST).float()
        measured = self.measured(x)
        return torch.cat([x, measured, measured], -1)

    def measured(self, x: Tensor) -> Tensor:
        """Centre and centre + scale of windows (B, C, L), (B, C, 2): so they go the way of the values under a gain."""
        centre, scale = NORMALISERS[self.chosen.normalise](x)
        return torch.stack([centre, centre + scale], -1)

    def seen(self, values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Windows z (B, C, L) at one size, 0 where missing; what is missing; asinh c and log s (B, C, 2)."""
        gain, offset = self.gains()
        x, ends = values[..., : self.length], values[..., self.length : self.length + 2].nan_to_num(0.0)
        absent = x.isnan()
        x = torch.addcmul(offset, x.masked_fill(absent, 0.0), gain)
        if self.chosen.normalise == "none":
            return drawn_in(x).masked_fill(absent, 0.0), absent, torch.zeros_like(ends)
        centre, end = torch.addcmul(offset, ends, gain).split(1, -1)
        scale = end - centre
        scale = torch.where(scale.abs() < 1e-6, 1e-6, scale)
        z = drawn_in((x - centre) / scale).masked_fill(absent, 0.0)
        return z, absent, torch.cat([centre.asinh(), scale.abs().log()], -1)

    def forward(self, values: Tensor) -> tuple[Tensor, Tensor | None]:
        """Values (B, C, L + 4) -> tokens (B, C · (P + 2), dim)."""
        z, absent, level = self.seen(values)
        missing = absent.to(z.dtype) if bool(absent.any()) else None
        tokens = []
        if self.chosen.tokens != "variate":
            found = self.cut(z) @ self.patches + self.places
            tokens.append(found if missing is None else found + self.cut(missing) @ self.no_patch)
        if self.chosen.tokens != "patch":
            found = (z @ self.whole)[:, :, None] + self.whole_place
            tokens.append(found if missing is None else found + (missing @ self.no_value)[:, :, None])
        if self.chosen.level:
            tokens.append((level @ self.levels)[:, :, None] + self.level_place)
        return torch.cat(tokens, 2).flatten(1, 2), None

    def cut(self, x: Tensor, before: float = 0.0) -> Tensor:
        """Patches (B, C, P, S) of windows (B, C, L); the first may reach before the window, where `before` stands."""
        patch, stride = self.chosen.patch or 1, self.chosen.stride or 1
        return nn.functional.pad(x, (-self.starts[0], 0), value=before).unfold(-1, patch, stride)

    def behind(self, values: Tensor) -> tuple[Tensor, int]:
        """The patches at one size, NaN where missing or where a token is none of a patch."""
        z, absent, _ = self.seen(values)
        size = self.chosen.patch or 1
        each = len(self.token_names()) // self.series
        out = z.new_full((len(z), self.series, each, size), torch.nan)
        if self.chosen.tokens != "variate":
            out[:, :, : len(self.starts)] = self.cut(z.masked_fill(absent, torch.nan), torch.nan)
        return out.flatten(1, 2), size

    def augment(self, values: Tensor, strength: float, generator: torch.Generator) -> Tensor:
        """Gain and offset common to the batch, noise, and in each row a stretch that is missing and some wild values.

        Answers stay measured by the window as it came: what wears a sensor wears what it will show too.
        """

        def draw(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator)

        def uniform(*shape: int) -> Tensor:
            return torch.rand(shape, generator=generator)

        amount = strength * uniform(1)
        x, rows = values[..., : self.length], len(values)
        size = values[..., -1:] - values[..., -2:-1]  # (B, C, 1)
        x = x + 0.1 * amount * size * draw(*x.shape)
        wild = (uniform(*x.shape) < 0.01 * amount) & (uniform(rows, 1, 1) < 0.5)
        x = torch.where(wild, x + 8 * size * draw(*x.shape), x)
        x = x * (0.2 * amount * draw(1, self.series, 1)).exp() + 0.2 * amount * draw(1, self.series, 1)
        length = (0.3 * min(strength, 2.0) * self.length * uniform(rows, self.series, 1)).floor()
        start = (uniform(rows, self.series, 1) * (self.length - length)).floor()
        place = torch.arange(self.length)
        lost = (place >= start) & (place < start + length) & (uniform(rows, 1, 1) < 0.2 * amount)
        x = torch.where(lost, torch.nan, x)
        return torch.cat([x, self.measured(x), values[..., -2:]], -1)

    def aged(self, values: Tensor, amount: float, generator: torch.Generator) -> Tensor:
        """Gain and offset, far beyond those of `augment`."""
        draws = torch.randn((2, 1, self.series, 1), generator=generator)
        x = values[..., : self.length] * (0.3 * amount * draws[0]).exp() + 0.5 * amount * draws[1]
        return torch.cat([x, self.measured(x), values[..., -2:]], -1)

    def channels(self, values: Tensor) -> Tensor | None:
        """The windows' values, series by series; None without dials."""
        return self.levelled(values) if self.dial_shapes() else None

    def levelled(self, values: Tensor) -> Tensor:
        """All values of each series, (B · L, C)."""
        return values[..., : self.length].transpose(1, 2).flatten(0, 1)

    def realigned(self, values: Tensor) -> dict[str, Tensor]:
        """All values of a series have centre 0 and spread 1 over the training windows."""
        if not self.dial_shapes():
            return {}
        center, spread = robust_moments(self.levelled(values).double().numpy())
        gain = 1 / np.clip(spread, 0.2, 5.0)
        dials = {"scale": gain - 1, "shift": -np.nan_to_num(center) * gain}
        return {dial: torch.from_numpy(t).float()[:, None] for dial, t in dials.items()}

    def dial_shapes(self) -> dict[str, tuple[int, ...]]:
        """(C, 1) each; none where tokens show neither level nor size."""
        if not self.chosen.level and self.chosen.normalise != "none":
            return {}
        return dict.fromkeys(("scale", "shift"), (self.series, 1))


def windows(cells: pd.Series, length: int, series: int) -> np.ndarray:
    """The newest `length` values of checked cells, (N, C, L), NaN before the first of a shorter one.

    >>> windows(pd.Series([np.array([1.0, 2.0, 3.0]), np.array([4.0]), None]), 2, 1).tolist()
    [[[2.0, 3.0]], [[nan, 4.0]], [[nan, nan]]]
    """
    out = np.full((len(cells), series, length), np.nan)
    for row, cell in enumerate(cells):
        if cell is not None:
            newest = np.asarray(cell, dtype=np.float64)[-length:].reshape(-1, series).T
            out[row, :, length - newest.shape[1] :] = newest
    return out


def units(cells: pd.Series, length: int, series: int) -> tuple[np.ndarray, np.ndarray]:
    """Centre and spread (C,) of all values of training windows, in which inputs and forecasts are both measured."""
    center, spread = robust_moments(windows(cells, length, series).swapaxes(1, 2).reshape(-1, series))
    return np.nan_to_num(center), spread
