"""Numbers: a single column is a token; a named group of columns (the features of one sensor) is one token.

    x̂ = (x - center) / spread,    u = squash(x̂(1 + scale) + shift)                     `scaling`
    c = (u - m) P                                                                      `reduce`; else c = u
    token = Σ_f (c_f W_f + k(c_f) V_f) + Σ_missing m_f + b                             `embedding` names k

The dials `scale` and `shift` undo gain and offset of an ageing sensor; they act on what is a straight line of the raw
value, before anything bends it. See `scaling`, `components` and `embedding` for what can be chosen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from pydantic import Field, PositiveInt, field_validator
from torch import Tensor, nn

from aet.config import Section
from aet.errors import ConfigError
from aet.inputs.base import INPUTS
from aet.inputs.components import Reduction, components
from aet.inputs.embedding import EMBEDDINGS
from aet.inputs.gains import GainedInput
from aet.inputs.scaling import SCALINGS, Ranks, robust_moments, squashing
from aet.plain_rows import picked
from aet.schema import InputSpec

AUTO = "auto"
SINGLE = 0.2
"""Share of the simulated drift that a single column gets: sensors are declared as groups."""

__all__ = ["NumberInput", "NumberSettings", "robust_moments"]


class NumberSettings(Section):
    """`inputs.number`."""

    scaling: str = Field("robust", description="robust, standard or quantile.")
    embedding: str = Field(
        AUTO,
        description="linear, piecewise or periodic; auto: piecewise for single columns, linear for declared groups.",
    )
    bins: PositiveInt = Field(16, le=256, description="Stretches of piecewise, waves of periodic.")
    reduce: Reduction | None = Field(None, description="pca or lda: fewer numbers for each declared group.")
    components: PositiveInt = Field(4, description="Numbers that `reduce` leaves of a group.")

    @field_validator("scaling")
    @classmethod
    def known_scaling(cls, name: str) -> str:
        """A registered name."""
        SCALINGS[name]
        return name

    @field_validator("embedding")
    @classmethod
    def known_embedding(cls, name: str) -> str:
        """A registered name, or auto."""
        if name != AUTO:
            EMBEDDINGS[name]
        return name


@INPUTS.register("number")
class NumberInput(GainedInput):
    """Number columns in groups of one size. Encoded: (B, G, S), NaN where missing."""

    kind = "number"
    center: Tensor
    spread: Tensor
    mean: Tensor
    directions: Tensor

    def __init__(self, specs: Sequence[InputSpec], dim: int) -> None:
        super().__init__(specs, dim)
        self.groups, self.size = len(specs), len(specs[0].columns)
        self.columns = [column for spec in specs for column in spec.columns]
        shape = (self.groups, self.size)
        self.register_buffer("center", torch.zeros(shape, dtype=torch.float64))
        self.register_buffer("spread", torch.ones(shape, dtype=torch.float64))
        self.register_buffer("gain", torch.ones(shape))
        self.register_buffer("offset", torch.zeros(shape))
        self.prepare(NumberSettings(), 0)

    @classmethod
    def bundle(cls, specs: Sequence[InputSpec]) -> list[list[InputSpec]]:
        """Groups of the same size share a module, so that nothing is padded."""
        sizes = dict.fromkeys(len(spec.columns) for spec in specs)
        return [[spec for spec in specs if len(spec.columns) == size] for size in sizes]

    @classmethod
    def check(cls, specs: Sequence[InputSpec], settings: Mapping[str, Any]) -> None:
        """ConfigError where `reduce` would find no group to reduce."""
        chosen = NumberSettings.checked("inputs.number", settings)
        if chosen.reduce and all(len(spec.columns) == 1 for spec in specs):
            raise ConfigError(
                f"inputs.number.reduce={chosen.reduce!r} makes fewer numbers of a group of columns: expected a "
                'declared group, got single columns only. Declare one: groups={"sensor": ["a", "b", "c"]}.'
            )

    def prepare(self, chosen: NumberSettings, reduced: int) -> None:
        """Room for what `fit` learns; `reduced` components a group, 0 for the columns themselves."""
        self.chosen, self.reduced = chosen, reduced
        embedding = chosen.embedding
        if embedding == AUTO:
            embedding = "linear" if self.size > 1 else "piecewise"
        self.squash = squashing(chosen.scaling, self.groups, self.size)
        self.features = EMBEDDINGS[embedding](self.groups, reduced or self.size, chosen.bins)
        if reduced:
            self.register_buffer("mean", torch.zeros(self.groups, self.size))
            self.register_buffer("directions", torch.zeros(self.groups, self.size, reduced))

    def fit(self, frame: pd.DataFrame, settings: Mapping[str, Any], target: Tensor | None = None) -> None:
        """Center and spread of each column, then what the settings ask for."""
        chosen = NumberSettings.checked("inputs.number", settings)
        self.prepare(chosen, 0)
        center, spread = SCALINGS[chosen.scaling](frame[self.columns].to_numpy(np.float64))
        self.center.copy_(torch.from_numpy(center).view_as(self.center))
        self.spread.copy_(torch.from_numpy(spread).view_as(self.spread))
        values = self.encode(frame)
        absent = values.isnan()
        if isinstance(self.squash, Ranks):
            self.squash.fit(values.double().numpy())
        u = self.squash(values.nan_to_num(0.0)).masked_fill(absent, 0.0)  # (N, G, S)
        if chosen.reduce and self.size > 1:
            u = self.reduce(u, chosen, target)
            absent = torch.zeros_like(u, dtype=torch.bool)
        self.features.fit(u.masked_fill(absent, torch.nan).double().numpy())

    def reduce(self, u: Tensor, chosen: NumberSettings, target: Tensor | None) -> Tensor:
        """Learn the components of u (N, G, S); gives them, (N, G, C)."""
        assert chosen.reduce is not None
        known = None if target is None else target.numpy()
        found = [
            components(u[:, group].double().numpy(), chosen.reduce, chosen.components, known)
            for group in range(self.groups)
        ]
        squash = self.squash
        self.prepare(chosen, max(directions.shape[1] for _, directions in found))
        self.squash = squash
        for group, (mean, directions) in enumerate(found):
            self.mean[group] = torch.from_numpy(mean)
            self.directions[group, :, : directions.shape[1]] = torch.from_numpy(directions)
        return self.drawn_together(u)

    def build(self) -> None:
        """One weight (dim) a number and one a feature of it, one missing mark a column, one bias a group."""
        inner = self.reduced or self.size
        self.weight = nn.Parameter(torch.randn(self.groups, inner, self.dim) / inner**0.5)
        self.missing = nn.Parameter(torch.randn(self.groups, self.size, self.dim) / self.size**0.5)
        # Small beside the values, so that a token's direction, which the norms keep, is the values' own.
        self.bias = nn.Parameter(0.1 * torch.randn(self.groups, self.dim))
        self.features.build()
        if self.features.count:
            self.curve = nn.Parameter(torch.zeros(self.groups, inner, self.features.count, self.dim))  # V

    def settings(self) -> dict[str, Any]:
        """What was chosen, and how many components were found."""
        return {**self.chosen.model_dump(), "reduced": self.reduced}

    def load_settings(self, settings: Mapping[str, Any]) -> None:
        """Take back what was chosen."""
        chosen = {"embedding": "linear", **settings}  # runs that name none are from before there were others
        reduced = int(chosen.pop("reduced", 0))
        self.prepare(NumberSettings.checked("inputs.number", chosen), reduced)

    def token_names(self) -> list[str]:
        """The groups' names."""
        return [spec.name for spec in self.specs]

    def encode(self, frame: pd.DataFrame) -> Tensor:
        """Standardised in float64, then float32, so that large offsets lose nothing; at most 1e18 in size."""
        # pandas may give a view that must not be written
        cells = picked(frame, self.columns).to_numpy(np.float64, copy=True)
        x = torch.from_numpy(cells).view(-1, self.groups, self.size)
        return ((x - self.center.cpu()) / self.spread.cpu()).clamp(-1e18, 1e18).float()

    def forward(self, values: Tensor) -> tuple[Tensor, Tensor | None]:
        """Values (B, G, S) -> tokens (B, G, dim)."""
        absent = values.isnan()  # (B, G, S)
        gain, offset = self.gains()
        x = torch.addcmul(offset, values.nan_to_num(0.0), gain)
        x = self.squash(x).masked_fill(absent, 0.0)
        x = self.drawn_together(x)
        tokens = self.project(x, self.weight) + self.bias
        if self.features.count:
            curves = self.features(x)  # (B, G, S, K)
            if not self.reduced:
                curves = curves.masked_fill(absent[..., None], 0.0)
            tokens = tokens + torch.einsum("bgsk,gskd->bgd", curves, self.curve)
        if absent.any():
            tokens = tokens + self.project(absent.to(x.dtype), self.missing)
        return tokens, None

    def drawn_together(self, u: Tensor) -> Tensor:
        """(B, G, S) -> (B, G, C): the components, or the columns themselves."""
        return torch.einsum("bgs,gsc->bgc", u - self.mean, self.directions) if self.reduced else u

    def behind(self, values: Tensor) -> tuple[Tensor, int]:
        """The squashed values u (B, G, S), NaN where missing."""
        return self.squash(values.nan_to_num(0.0)).masked_fill(values.isnan(), torch.nan), self.size

    @staticmethod
    def project(x: Tensor, weight: Tensor) -> Tensor:
        """(B, G, S), (G, S, dim) -> (B, G, dim)."""
        if weight.shape[1] == 1:
            return x * weight.squeeze(1)
        return torch.einsum("bgs,gsd->bgd", x, weight)

    def augment(self, values: Tensor, strength: float, generator: torch.Generator) -> Tensor:
        """Gain, offset and noise per column, common to the batch; some tokens of each row are missing.

        Single columns drift by a fifth of the strength: most are no sensors, and what helps against drift costs
        accuracy where there is none (docs/lab/tables.md).
        """
        strength = strength if self.size > 1 else SINGLE * strength

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

    def aged(self, values: Tensor, amount: float, generator: torch.Generator) -> Tensor:
        """Gain and offset of each column and of each group, far beyond those of `augment`."""

        def draw() -> Tensor:
            own = torch.randn((1, self.groups, self.size), generator=generator)
            return own + torch.randn((1, self.groups, 1), generator=generator)

        return values * (0.3 * amount * draw()).exp() + 0.5 * amount * draw()

    def channels(self, values: Tensor) -> Tensor:
        """The columns."""
        return values.flatten(1)

    def realigned(self, values: Tensor) -> dict[str, Tensor]:
        """x̂ has center 0 and spread 1 over the training rows; a column that is missing throughout stays."""
        flat = values.flatten(1).double().numpy()  # (B, G*S)
        center, spread = SCALINGS[self.chosen.scaling](flat)
        center = np.nan_to_num(center)
        gain = 1 / np.clip(spread, 0.2, 5.0)
        dials = {"scale": gain - 1, "shift": -center * gain}
        return {dial: torch.from_numpy(t).float().view(self.groups, self.size) for dial, t in dials.items()}

    def dial_shapes(self) -> dict[str, tuple[int, ...]]:
        """(G, S) each."""
        return dict.fromkeys(("scale", "shift"), (self.groups, self.size))
