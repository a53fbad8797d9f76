"""The next H values of a series, with intervals, measured by the window that they continue.

    ŷ_h = c + s · ((1 + g_h) (z_h + w_h·x) + b_h)

z are the head's logits, c and s the window's centre and scale, x = (past - c) / s.

The linear map w of the window (Zeng et al. 2023: DLinear) starts as the ridge regression of the training rows, so that
the network has to learn only what a line does not say, and trains on with it.

`c` and `s` come with the encoded window (`aet.inputs.series`), so that a series far from the training rows is forecast
as one near them, and go with the logits: those of a row are H numbers for each of the point forecast and the
quantiles, H of the seasonal naive forecast beside, then c, log s, the last value and the mean seasonal step. So guards,
metrics and correctors find in the logits all that they need. Without a series among the inputs c is 0 and s is 1, the
target's own centre and spread, and the naive forecasts are the centre.

Point forecasts minimise `loss`, quantiles the pinball loss. The outermost quantiles are conformalised horizon by
horizon (Romano et al. 2019, 1905.03222) on the rows held out, in units of the window; rows that overlap count as if
they did not, and coverage is what `metrics` measures.

The dials `gain` and `bias` (H,) are linear in z: a corrector has them in closed form (`rls`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aet.attention.flat import FlatPooling
from aet.cells.base import object_cells
from aet.cells.series import numbers
from aet.config import ModelConfig
from aet.errors import ConfigError, DataError, FeedbackError
from aet.inputs.normalise import drawn_in
from aet.inputs.scaling import robust_moments
from aet.inputs.series import MEASURED, units, windows
from aet.outputs.base import OUTPUTS, Output
from aet.outputs.forecast_figures import forecast_figures
from aet.outputs.forecast_settings import LOSSES, ForecastSettings
from aet.outputs.number import pinball
from aet.schema import Schema
from aet.seasons import ridge, season_of, seasonal_naive

TAIL = 4
"""c, log s, last value, mean seasonal step."""


@OUTPUTS.register("forecast")
class ForecastOutput(Output):
    """Targets: (B, H) in units of the training windows, NaN where missing. Logits: as above."""

    kind = "forecast"
    metric = "skill"
    score_name = "closeness"
    probable = False
    rival = "the seasonal naive forecast"
    center: Tensor
    spread: Tensor
    unit: Tensor
    widening: Tensor

    def __init__(self, targets: Sequence[str], dim: int, inputs: Sequence[str] = ()) -> None:
        super().__init__(targets, dim)
        self.inputs = tuple(inputs)
        self.source: str | None = None
        self.chosen = ForecastSettings()
        self.horizon = self.season = self.length = 1

    @classmethod
    def of(cls, schema: Schema, dim: int, trunk: ModelConfig | None = None) -> ForecastOutput:
        """Beside the schema's series."""
        return cls(schema.targets, dim, [spec.columns[0] for spec in schema.inputs if spec.kind == "series"])

    @property
    def parts(self) -> int:
        """The point forecast and the quantiles."""
        return 1 + len(self.chosen.levels)

    @property
    def width(self) -> int:
        """H (1 + Q + 1) + `TAIL`."""
        return self.horizon * (self.parts + 1) + TAIL

    def fit(self, frame: pd.DataFrame, settings: Mapping[str, Any]) -> None:
        """Horizon, season, and the units of the series it continues (of the target, without one)."""
        self.choose(settings)
        cells = [cell for cell in frame[self.targets[0]] if cell is not None]
        targets = np.stack(cells) if cells else np.empty((0, 1))
        known = targets[np.isfinite(targets)]
        if not known.size or np.ptp(known) == 0:
            raise DataError(
                f"The target {self.targets[0]!r} is {known[0] if known.size else 'empty'} at every time: expected "
                "numbers that differ. Name another target, or add rows."
            )
        self.horizon = targets.shape[1]
        self.reserve()
        center, spread = robust_moments(known[:, None])
        if self.source is not None:
            pasts = frame[self.source]
            there = [cell for cell in pasts if cell is not None]
            series = 1 if not there or there[0].ndim == 1 else np.shape(there[0])[1]
            self.length = length = max((len(cell) for cell in there), default=1)
            center, spread = units(pasts, length, series)
            self.season = self.chosen.season or season_of(windows(pasts, length, series)[:, 0])
        self.center.fill_(center[0])
        self.spread.fill_(spread[0])
        self.unit.fill_(float(np.std(known)))

    def choose(self, settings: Mapping[str, Any]) -> None:
        """Check the settings."""
        self.chosen = ForecastSettings.checked("output", settings)
        levels = self.chosen.levels
        if len(levels) < 2 or sorted(set(levels)) != levels or not 0 < levels[0] < 0.5 < levels[-1] < 1:
            raise ConfigError(
                f"output.levels={levels} are the quantiles beside the forecast: expected two or more that rise, from "
                "below 0.5 to above it, between 0 and 1. Try [0.05, 0.95]."
            )
        if self.chosen.of is not None and self.chosen.of not in self.inputs:
            raise ConfigError(
                f"output.of={self.chosen.of!r} is no input of kind series: expected one of "
                f"{', '.join(map(repr, self.inputs)) or 'none here'}. Leave it out, or say which kind it is."
            )
        self.source = self.chosen.of or next(iter(self.inputs), None)
        self.season = self.chosen.season or 1

    def reserve(self) -> None:
        """Buffers."""
        self.register_buffer("center", torch.zeros((), dtype=torch.float64))
        self.register_buffer("spread", torch.ones((), dtype=torch.float64))
        self.register_buffer("unit", torch.ones((), dtype=torch.float64))
        self.register_buffer("widening", torch.zeros(self.horizon))

    def build(self, members: int = 1) -> None:
        """One head for all horizons and quantiles; ConfigError for several members."""
        if members > 1:
            raise ConfigError(
                f"A forecast has one head for all horizons: expected model.members=1, got {members}. For several "
                "models use aet.train_ensemble."
            )
        self.head = nn.Linear(self.dim, self.horizon * self.parts)
        if self.chosen.linear and self.source is not None:
            self.line = nn.Parameter(torch.zeros(self.horizon, self.length))  # w

    @torch.no_grad()
    def begin(self, values: Mapping[str, Tensor], target: Tensor) -> None:
        """The line of least squares on training rows, and intervals as wide as its errors; the network starts at 0."""
        if not hasattr(self, "line"):
            return
        encoded = self.encoded(values)
        z, known = self.truth(target, self.measures(encoded))
        x = self.window(encoded)
        self.line = nn.Parameter(ridge(x, z, known))
        self.length = self.line.shape[1]
        errors = (z - x @ self.line.T).masked_fill(~known, torch.nan)
        ends = torch.nanquantile(errors, errors.new_tensor(self.chosen.levels), dim=0).nan_to_num(0.0)  # (Q, H)
        self.head.weight.zero_()
        self.head.bias.copy_(torch.cat([torch.zeros(self.horizon), ends.flatten()]))

    def encoded(self, values: Mapping[str, Tensor]) -> Tensor:
        """The windows that are continued, (B, L + `MEASURED`)."""
        assert self.source is not None
        encoded = values[f"series{self.inputs.index(self.source)}"][:, 0]
        return torch.cat([encoded[:, :-MEASURED], encoded[:, -MEASURED:].nan_to_num(0.0)], -1)

    @staticmethod
    def window(encoded: Tensor) -> Tensor:
        """X (B, L), 0 where missing; under simulated drift at the size that it has then."""
        x, centre, end = encoded[:, :-MEASURED], encoded[:, -4:-3], encoded[:, -3:-2]
        return drawn_in((x - centre) / (end - centre).abs().clamp_min(1e-6)).nan_to_num(0.0)

    @staticmethod
    def measures(encoded: Tensor) -> Tensor:
        """C and log s (B, 2)."""
        scale = (encoded[:, -1] - encoded[:, -2]).abs().clamp_min(1e-6)
        return torch.stack([encoded[:, -2], scale.log()], -1)

    def pooling(self, tokens: int) -> nn.Module:
        """Every token has a map of its own into the summary: what came when matters."""
        return FlatPooling(self.dim, tokens)

    def settings(self) -> dict[str, Any]:
        """What was chosen, horizon and season."""
        found = {"horizon": self.horizon, "season": self.season, "length": self.length}
        return {**self.chosen.model_dump(), **found, "inputs": list(self.inputs)}

    def load_settings(self, settings: Mapping[str, Any]) -> None:
        """Take them back."""
        given = dict(settings)
        self.horizon, self.length = given.pop("horizon"), given.pop("length")
        season, self.inputs = given["season"], tuple(given.pop("inputs"))
        self.choose(given)
        self.season = season
        self.reserve()

    def dial_shapes(self) -> dict[str, tuple[int, ...]]:
        """A gain and a bias for each horizon, (H,) each."""
        return {"gain": (self.horizon,), "bias": (self.horizon,)}

    def fold(self, dials: Mapping[str, Tensor]) -> None:
        """W ← (1 + g) W, b ← (1 + g) b + bias, horizon by horizon, for the point forecast and each quantile."""
        gain, bias = (dials[name].repeat(self.parts) for name in ("gain", "bias"))
        self.head.weight.mul_(1 + gain[:, None])
        self.head.bias.mul_(1 + gain).add_(bias)
        if hasattr(self, "line"):
            self.line.mul_(1 + dials["gain"][:, None])

    def forward(self, summary: Tensor) -> Tensor:
        """Summary (B, dim) -> logits (B, width) of windows whose centre is 0 and whose scale is 1."""
        z: Tensor = self.head(summary)
        dials = self.dials()
        if dials:
            each = z.unflatten(-1, (self.parts, self.horizon))
            each = each * (1 + dials["gain"][..., None, :]) + dials["bias"][..., None, :]
            z = each.flatten(-2)
        return F.pad(z, (0, self.horizon + TAIL))

    def beside(self, logits: Tensor, values: Mapping[str, Tensor]) -> Tensor:
        """The same with the naive forecast and the measures of the windows they continue."""
        if self.source is None:
            return logits
        encoded = self.encoded(values).to(logits.dtype)
        x, measures = encoded[:, :-MEASURED], self.measures(encoded)
        centre, scale = measures[:, :1], self.scale(measures)
        naive = (seasonal_naive(x, self.season, self.horizon) - centre) / scale
        last = (seasonal_naive(x, 1, 1) - centre) / scale
        step = (x[:, self.season :] - x[:, : -self.season]).abs().nanmean(-1, keepdim=True).nan_to_num(0.0) / scale
        forecasts = logits[..., : self.horizon * self.parts]
        if hasattr(self, "line"):
            straight = self.window(encoded) @ self.line.T.to(logits.dtype)
            dials = self.dials()
            straight = straight * (1 + dials["gain"]) if dials else straight
            forecasts = forecasts + straight.repeat(1, self.parts)
        return torch.cat([forecasts, naive, measures, last, step], -1)

    def split(self, logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Point forecast and quantiles (B, 1 + Q, H), the seasonal naive (B, H), the tail (B, `TAIL`)."""
        forecasts, naive, tail = logits.split([self.horizon * self.parts, self.horizon, TAIL], -1)
        return forecasts.unflatten(-1, (self.parts, self.horizon)), naive, tail

    def unlearned(self, logits: Tensor) -> Tensor:
        """The last season again, in the place of every forecast."""
        _, naive, _ = self.split(logits)
        return torch.cat([naive.repeat(1, self.parts), logits[:, self.horizon * self.parts :]], -1)

    @staticmethod
    def scale(tail: Tensor) -> Tensor:
        """S (B, 1)."""
        return tail[..., 1:2].clamp(-14.0, 38.0).exp()

    def truth(self, target: Tensor, tail: Tensor) -> tuple[Tensor, Tensor]:
        """Targets at the windows' size (B, H), 0 where missing, and which are known (B, H)."""
        known = target.isfinite()
        z = (target.nan_to_num(0.0) - tail[..., :1]) / self.scale(tail)
        return z.masked_fill(~known, 0.0), known

    def encode(self, frame: pd.DataFrame) -> Tensor:
        """(y - center) / spread (B, H)."""
        name, out = self.targets[0], np.empty((len(frame), self.horizon))
        for row, given in enumerate(frame[name]):
            cell = numbers(given)
            if cell is None or cell.shape != (self.horizon,) or np.isinf(cell).any() or np.isnan(cell).all():
                raise FeedbackError(
                    f"Answers for {name!r} are lists of {self.horizon} finite numbers, the values that followed the "
                    f"row (None where one is missing), got {' '.join(repr(given).split()):.60}. Wait until all are "
                    "there."
                )
            out[row] = cell
        return ((torch.from_numpy(out) - self.center.cpu()) / self.spread.cpu()).float()

    def row_losses(self, logits: Tensor, target: Tensor) -> Tensor:
        """Mean over the horizons of the point's loss and the quantiles' pinball losses."""
        forecasts, _, tail = self.split(logits)
        z, known = self.truth(target, tail)
        error = (z[:, None] - forecasts) * known[:, None]  # (B, 1 + Q, H)
        if self.chosen.weigh == "table":
            error = error * self.scale(tail)[:, None]
        losses: Tensor = LOSSES[self.chosen.loss](error[:, 0])
        for number, level in enumerate(self.chosen.levels, 1):
            losses = losses + pinball(error[:, number], level) / len(self.chosen.levels)
        return losses.sum(-1) / known.sum(-1).clamp_min(1)

    def interval(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Ends (B, H) at the windows' size; never on the wrong side of the forecast."""
        forecasts, _, _ = self.split(logits)
        widening = self.widening.to(logits)
        lower, upper = forecasts[:, 1] - widening, forecasts[:, -1] + widening
        return torch.minimum(lower, forecasts[:, 0]), torch.maximum(upper, forecasts[:, 0])

    def calibrate(self, logits: Tensor, target: Tensor) -> None:
        """The conformal widening of each horizon."""
        forecasts, _, tail = self.split(logits)
        z, known = self.truth(target, tail)
        misses = torch.maximum(forecasts[:, 1] - z, z - forecasts[:, -1])
        covered = self.chosen.levels[-1] - self.chosen.levels[0]
        for h in range(self.horizon):
            own = misses[known[:, h], h].sort().values
            if len(own):
                self.widening[h] = float(own[min(math.ceil(covered * (len(own) + 1)), len(own)) - 1])

    def natural(self, z: Tensor, tail: Tensor) -> Tensor:
        """Forecasts (B, H) at the windows' size in the series' unit, float64 on the CPU."""
        table = tail[..., :1].double() + self.scale(tail.double()) * z.double()
        return (table * self.spread.to(table.device) + self.center.to(table.device)).cpu()

    def answers(self, logits: Tensor, proba: bool = False) -> pd.DataFrame:
        """Lists of H numbers: `prediction`, `lower`, `upper`; with `proba` also `q_{level}` of the quantiles between
        and `naive`, the last season again; `confidence`: 1 / (1 + half the interval's mean width in scales of the
        window).
        """
        forecasts, naive, tail = self.split(logits)
        lower, upper = self.interval(logits)
        lists = {"prediction": forecasts[:, 0], "lower": lower, "upper": upper}
        if proba:
            inner = enumerate(self.chosen.levels[1:-1], 2)
            lists |= {f"q_{level:g}": forecasts[:, n] for n, level in inner}
            lists["naive"] = naive
        columns = {name: object_cells(self.natural(z, tail).tolist()) for name, z in lists.items()}
        out = pd.DataFrame({name: pd.Series(cells, dtype=object) for name, cells in columns.items()})
        out.insert(1, "confidence", 1 - self.uncertainty(logits).cpu().numpy())
        return out

    def scores(self, logits: Tensor, target: Tensor) -> Tensor:
        """1 / (1 + mean |error| in scales of the window)."""
        forecasts, _, tail = self.split(logits)
        z, known = self.truth(target, tail)
        error = ((z - forecasts[:, 0]).abs() * known).sum(-1) / known.sum(-1).clamp_min(1)
        return 1 / (1 + error)

    def apart(self, one: Tensor, other: Tensor) -> Tensor:
        """D / (1 + D), D their largest distance at any step in scales of the window; 1 where it is not finite."""
        distance = (self.split(one)[0][:, 0] - self.split(other)[0][:, 0]).abs().amax(-1)
        return (1 - 1 / (1 + distance)).nan_to_num(1.0)

    def uncertainty(self, logits: Tensor) -> Tensor:
        """`w / (1 + w)`, w half the interval's mean width in scales of the window."""
        lower, upper = self.interval(logits)
        half = ((upper - lower) / 2).mean(-1)
        return half / (1 + half)

    def metrics(self, logits: Tensor, target: Tensor) -> dict[str, float]:
        """Figures of the forecast, of the naive ones, and of the first horizons: `aet.outputs.forecast_figures`."""
        forecasts, naive, tail = self.split(logits)
        z, known = self.truth(target, tail)
        lower, upper = self.interval(logits)
        guesses = {"": forecasts[:, 0], "_naive": tail[:, 2:3].expand_as(naive), "_seasonal": naive}
        scale = self.scale(tail) * float(self.spread / self.unit)
        found = forecast_figures(guesses, z, known, scale, (lower, upper), tail[:, 3:4])
        closeness = float(self.scores(logits, target).mean())
        natural = found["mae"] * float(self.unit)
        return {**found, self.score_name: closeness, "mae_natural": natural, "season": float(self.season)}

    def translated(self, other: Output, logits: Tensor) -> Tensor:
        """The other's forecast and ends of its interval at the sizes of its windows, in the own units."""
        self.of_my_kind(other)
        assert isinstance(other, ForecastOutput)
        if (other.horizon, other.chosen.levels) != (self.horizon, self.chosen.levels):
            raise ConfigError(
                f"The other model forecasts {other.horizon} values with the quantiles {other.chosen.levels}, this one "
                f"{self.horizon} with {self.chosen.levels}: expected the same. Train it on the same target, with the "
                "same settings."
            )
        forecasts, naive, tail = other.split(logits)
        lower, upper = other.interval(logits)
        forecasts = torch.cat([forecasts[:, :1], lower[:, None], forecasts[:, 2:-1], upper[:, None]], 1)
        ratio = float(other.spread / self.spread)
        centre = tail[:, :1] * ratio + float((other.center - self.center) / self.spread)
        tail = torch.cat([centre, tail[:, 1:2] + math.log(ratio), tail[:, 2:]], -1)
        return torch.cat([forecasts.flatten(1), naive, tail], -1)

    def pooled(self, logits: Tensor) -> Tensor:
        """Means of the forecasts; ends moved apart by how far the members' forecasts are from their mean."""
        parts = [self.split(member) for member in logits]
        forecasts = torch.stack([part[0] for part in parts])  # (M, B, 1 + Q, H)
        mean = forecasts.mean(0)
        apart = (forecasts[:, :, 0] - mean[:, 0]).square().mean(0).sqrt()  # (B, H)
        mean = torch.cat([mean[:, :1], mean[:, 1:2] - apart[:, None], mean[:, 2:-1], mean[:, -1:] + apart[:, None]], 1)
        return torch.cat([mean.flatten(1), logits[0][:, self.horizon * self.parts :]], -1)

    def distance(self, logits: Tensor, taught: Tensor, temperature: float = 1.0) -> Tensor:
        """Mean squared distance of all that is forecast, in scales of the window; forecasts have no temperature."""
        own = self.horizon * self.parts
        return (logits[:, :own] - taught[:, :own]).square().mean(-1)
