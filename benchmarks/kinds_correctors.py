"""What late truths can correct in a forecast: candidates, and what the best line of each sort would do in hindsight.

    AET_DATA=... python benchmarks/kinds_correctors.py [--quick] [--seeds N] [--json FILE]

ETTh1 and ETTh2, validation months, a forecast every hour from 96 values: the source is the ridge regression of the
training months, so that nothing is trained and all is looked at within a minute. e_s(h) is the source's error h hours
after s, known at s + h and not before; a corrector of the forecast of t may use all that are known at t.

level     what a half-life says the known errors of the same h are by now, half of it taken
hour      the same of the known errors made at the same hour of the day, 0.3 of it taken
rls       gain and bias of each h, by ridge regression on the known errors
features  the source's forecast, the last day again, the last value, the last day's mean and a constant, likewise
line      all 96 values, likewise, the training months' errors of the series among them
hindsight the last three fitted to the very errors they are judged on: no corrector of that sort that stays the same
          can beat that by much

Of each the MSE, in percent of the source's, mean of the seven series. Lab page: docs/lab/series.md.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from common import Done, Record, arguments, partial, write
from kinds_series import LOOKBACK, TRAIN, VALID, table
from torch import Tensor

from aet.inputs.normalise import mean_and_deviation
from aet.seasons import ridge, seasonal_naive

DAY = 24
HALVES = (48.0, 168.0, 720.0)
DAYS = (7, 28)
ANCHOR = 300.0
"""Of the regressions, on hundreds to thousands of rows."""


class Windows:
    """Of one series, a window an hour: x (N, L) and z (N, H) at the size of the window, and that size (N, 1)."""

    def __init__(self, values: np.ndarray, start: int, stop: int, horizon: int) -> None:
        views = np.lib.stride_tricks.sliding_window_view
        past = torch.from_numpy(views(values, LOOKBACK)[start - LOOKBACK : stop - LOOKBACK - horizon].copy()).double()
        future = torch.from_numpy(views(values, horizon)[start : stop - horizon].copy()).double()
        centre, self.size = (figure[:, None] for figure in mean_and_deviation(past))
        self.x, self.z = (past - centre) / self.size, (future - centre) / self.size


def features(x: Tensor, forecast: Tensor) -> Tensor:
    """(N, H, 5)."""
    horizon = forecast.shape[1]
    last, mean = x[:, -1:].expand(-1, horizon), x[:, -DAY:].mean(1, keepdim=True).expand(-1, horizon)
    return torch.stack([forecast, seasonal_naive(x, DAY, horizon), last, mean, torch.ones_like(forecast)], -1)


def fitted(rows: Tensor, errors: Tensor, anchor: float) -> Tensor:
    """Coefficients (H, F) of errors (N, H) by rows (N, H, F)."""
    gram = torch.einsum("nhi,nhj->hij", rows, rows) + anchor * torch.eye(rows.shape[-1]).double()
    return torch.linalg.solve(gram, torch.einsum("nhi,nh->hi", rows, errors)[..., None])[..., 0]


def daily(rows: Tensor, errors: Tensor, before: tuple[Tensor, Tensor] | None = None) -> Tensor:
    """Corrections (N, H), fitted anew each day to the errors of all windows that are over by then."""
    said, horizon = torch.zeros_like(errors), errors.shape[1]
    for start in range(0, len(rows), DAY):
        known = slice(0, max(0, start - horizon + 1))
        given = (rows[known], errors[known])
        if before is not None:
            given = tuple(torch.cat(pair) for pair in zip(before, given, strict=True))
        said[start : start + DAY] = torch.einsum("nhi,hi->nh", rows[start : start + DAY], fitted(*given, ANCHOR))
    return said


def remembered(errors: np.ndarray, kept: float, places: int) -> np.ndarray:
    """Means (N, H) of the errors known at each hour that fade by `kept`, apart for each of so many hours of the day."""
    count, horizon = errors.shape
    ahead = np.arange(horizon)
    total, weight = np.zeros((places, horizon)), np.zeros((places, horizon))
    said = np.zeros_like(errors)
    for now in range(count):
        made = now - 1 - ahead  # of h + 1 values ahead the newest forecast that is known to the end
        there = made >= 0
        place = made[there] % places, ahead[there]
        total[place] = kept * total[place] + (1 - kept) * errors[made[there], ahead[there]]
        weight[place] = kept * weight[place] + (1 - kept)
        said[now] = total[now % places] / (weight[now % places] + 0.1)
    return said


def line_of(x: Tensor, errors: Tensor, anchor: float) -> Tensor:
    """(L, H)."""
    return torch.linalg.solve(x.T @ x + anchor * torch.eye(x.shape[1]).double(), x.T @ errors)


def judged(name: str, horizon: int) -> dict[str, float]:
    """MSE of the source and of each corrector, means over the series."""
    values = table(name).iloc[:VALID].drop(columns="date").to_numpy().T
    first = [Windows(series, LOOKBACK, TRAIN, horizon) for series in values]
    x, z = (torch.cat([getattr(one, part)[::5] for one in first]) for part in ("x", "z"))
    weights = ridge(x, z, torch.ones_like(z, dtype=torch.bool)).double()
    found: dict[str, list[float]] = {}
    for series, before in zip(values, first, strict=True):
        now = Windows(series, TRAIN, VALID, horizon)
        forecast = now.x @ weights.T
        left = now.z - forecast
        errors, size = left.clamp(-8, 8), now.size
        known = (left * size).numpy()
        rows = features(now.x, forecast)
        corrections = {"source": torch.zeros_like(left)}
        for half in HALVES:
            corrections[f"level {half:g}"] = torch.from_numpy(0.5 * remembered(known, 0.5 ** (1 / half), 1)) / size
        for days in DAYS:
            corrections[f"hour {days}"] = torch.from_numpy(0.3 * remembered(known, 1 - 1 / days, DAY)) / size
        sorts = {"rls": rows[..., [0, 4]], "features": rows}
        for sort, own in sorts.items():
            corrections[sort] = daily(own, errors)
            corrections[f"hindsight {sort}"] = torch.einsum("nhi,hi->nh", own, fitted(own, errors, 1e-3))
        before_left = (before.z - before.x @ weights.T).clamp(-8, 8)
        corrections["line"] = torch.zeros_like(left)
        for start in range(0, len(left), DAY):
            over = max(0, start - horizon + 1)
            both = torch.cat([before.x, now.x[:over]]), torch.cat([before_left, errors[:over]])
            corrections["line"][start : start + DAY] = now.x[start : start + DAY] @ line_of(*both, ANCHOR)
        corrections["hindsight line"] = now.x @ line_of(now.x, errors, 3.0)
        for sort, said in corrections.items():
            found.setdefault(sort, []).append(float(((left - said) * size).square().mean()))
    return {sort: float(np.mean(each)) for sort, each in found.items()}


def run(quick: bool, seeds: int, path: Path | None = None) -> list[Record]:
    """Records of all figures; nothing is drawn, so there is one seed."""
    done, records = Done(partial(path)), []
    for name in ("ETTh1", "ETTh2"):
        for horizon in (24,) if quick else (24, 96):
            figures = done.get(f"{name} {horizon}", lambda n=name, h=horizon: judged(n, h))  # type: ignore[misc]
            for sort, value in figures.items():
                records.append(Record("kinds_correctors", f"{name}/{horizon}", sort, "mse", value))
                change = 100 * (value / figures["source"] - 1)
                records.append(Record("kinds_correctors", f"{name}/{horizon}", sort, "percent", change))
    return records


def main() -> None:
    """Print every figure."""
    chosen = arguments(__doc__)
    records = run(chosen.quick, 1, chosen.json)
    for record in records:
        if record.metric == "percent":
            print(f"{record.task:10} {record.method:20} {record.value:+7.1f} %")
    write(records, chosen.json)


if __name__ == "__main__":
    main()
