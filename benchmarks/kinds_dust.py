"""Fine dust over Beijing: 24 hours ahead, trained on 2010 to 2012, 2013 and 2014 as a stream.

    AET_DATA=... python benchmarks/kinds_dust.py [--quick] [--seeds N] [--json FILE]

Hourly PM2.5 with gaps (`beijing_pm25` in AET_DATA). A row is the last 96 hours, and the weather of these and of the
next 24: temperature, dew point and wind as they were measured, so everybody here has a perfect weather forecast. Every
six hours a forecast; truths are given on the day after their last hour. MSE and MAE over all hours that were measured,
in µg/m³.

frozen      aet as trained on the three years          rls       its correction, always served
served      what the default guard let through         naive     the last day again
trees       gradient boosting of one row an hour ahead: the hours ahead, the dust 1 to 96 hours before, its means, the
            weather then, the hour and the month; as trained on the three years
monthly     the same, trained anew at the start of each month on all that is known by then

Settings were chosen on 2012, trained on the two years before (docs/lab/series.md).
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from common import Done, Record, arguments, folder, over_seeds, partial, write
from kinds_series import CONFIG, LOOKBACK, ONLINE, by_day
from sklearn.ensemble import HistGradientBoostingRegressor

import aet

HORIZON, EVERY = 24, 6
WEATHER = ["TEMP", "DEWP", "Iws"]
BEGINS = pd.Timestamp("2013-01-01")
SETTINGS: dict[str, Any] = {
    **CONFIG,
    "train": {**CONFIG["train"], "epochs": 8, "patience": 4, "batch_size": 64, "lr": 1e-3},
}
LAGS = (0, 1, 2, 3, 5, 11, 23, 47, 71)
"""Hours before the newest value."""
Floats = npt.NDArray[np.float64]


@lru_cache
def rows(every: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Windows of the years to train on, none of whose answers reach into the next, and of those that stream."""
    table = pd.read_csv(folder("beijing_pm25") / "pollution.csv.gz")
    table["at"] = pd.to_datetime(table[["year", "month", "day", "hour"]])
    made = aet.windows(
        table, time="at", columns="pm2.5", known=WEATHER, lookback=LOOKBACK, horizon=HORIZON, every=every
    )
    return made[made["until"] < BEGINS].reset_index(drop=True), made[made["time"] >= BEGINS].reset_index(drop=True)


def errors(said: Floats, truth: Floats) -> dict[str, float]:
    """Over what was measured."""
    away = (said - truth)[np.isfinite(truth)]
    return {"mse": float(np.square(away).mean()), "mae": float(np.abs(away).mean())}


def features(frame: pd.DataFrame) -> Floats:
    """One row an hour ahead (N · H, F) of windows (N)."""
    past, weather = np.stack(frame["history"].tolist()), [np.stack(frame[name].tolist()) for name in WEATHER]
    shared = [past[:, -1 - lag] for lag in LAGS]
    with np.errstate(all="ignore"):
        shared += [np.nanmean(np.nan_to_num(past[:, -some:], nan=np.nan), 1) for some in (24, 96)]
    shared += [each[:, LOOKBACK - 1] for each in weather] + [each[:, LOOKBACK:].mean(1) for each in weather]
    ahead = np.tile(np.arange(HORIZON), len(frame))
    hour = (np.repeat(frame["time"].dt.hour.to_numpy(), HORIZON) + 1 + ahead) % 24
    month = np.repeat(frame["time"].dt.month.to_numpy(), HORIZON)
    then = [each[:, LOOKBACK:].ravel() for each in weather]
    same = past[:, -HORIZON:].ravel()  # the hour a day before the one ahead
    return np.column_stack([np.repeat(np.column_stack(shared), HORIZON, axis=0), *then, same, ahead, hour, month])


def trees(frame: pd.DataFrame, seed: int) -> HistGradientBoostingRegressor:
    """Fitted to what was measured."""
    truth = np.stack(frame["future"].tolist()).ravel()
    there = np.isfinite(truth)
    return HistGradientBoostingRegressor(random_state=seed).fit(features(frame)[there], truth[there])


def boosted(seed: int, quick: bool) -> dict[str, float]:
    """As trained once, and each month anew."""
    first, later = rows(EVERY)
    later = later.head(480) if quick else later
    truth = np.stack(later["future"].tolist())
    once = trees(first, seed).predict(features(later)).reshape(truth.shape)
    every, said = pd.concat([first, later], ignore_index=True), []
    for month, own in later.groupby(later["time"].dt.to_period("M")):
        known = every[every["until"] < month.start_time]
        said.append(trees(known, seed).predict(features(own)).reshape(-1, HORIZON))
    found = {"trees": errors(once, truth), "monthly": errors(np.concatenate(said), truth)}
    return {f"{name} {metric}": value for name, each in found.items() for metric, value in each.items()}


def streamed(seed: int, quick: bool) -> dict[str, float]:
    """Ours, day by day, each day's truths given once the last of them is known."""
    first, later = rows(EVERY)
    later = later.head(480) if quick else later
    config = {**SETTINGS, "train": {**SETTINGS["train"], **({"epochs": 2} if quick else {})}}
    model = aet.train(first, target="future", time="time", until="until", id="id", seed=seed, config=config)
    stream = model.stream(adapt="rls", compare=True, keep=len(later), **ONLINE)
    said: dict[str, list[list[float]]] = {"frozen": [], "rls": [], "served": [], "naive": []}
    for day, answers in by_day(stream, later, 24 // EVERY):
        batch = model.encode(model.check(day).frame)
        plain = model.output.answers(model.logits(batch), proba=True)
        said["served"] += answers["prediction"].tolist()
        said["frozen"] += plain["prediction"].tolist()
        said["naive"] += plain["naive"].tolist()
        said["rls"] += model.output.answers(stream.method.answer(batch))["prediction"].tolist()
    truth = np.stack(later["future"].tolist())
    found = {f"{name} {m}": v for name, each in said.items() for m, v in errors(np.array(each), truth).items()}
    print(stream.guard.reason(), flush=True)
    return {**found, "aet seconds": model.report["seconds"], "rows served": float(stream.trace.served["proposal"])}


def run(quick: bool, seeds: int, path: Path | None = None) -> list[Record]:
    """Records of all figures; finished parts are kept beside `path`."""
    done, records = Done(partial(path)), []
    for part in (boosted, streamed):
        runs = [
            done.get(f"{part.__name__} {seed} {quick}", lambda p=part, s=seed: p(s, quick))  # type: ignore[misc]
            for seed in range(seeds)
        ]
        for name, value, spread in over_seeds(runs):
            method, _, metric = name.rpartition(" ")
            records.append(Record("kinds", "dust", method, metric, value, None, spread, len(runs)))
    return records


def main() -> None:
    """Print every figure."""
    chosen = arguments(__doc__)
    records = run(chosen.quick, 1 if chosen.quick else chosen.seeds, chosen.json)
    for record in records:
        print(f"{record.method:10} {record.metric:8} {record.value:9.2f} ± {record.spread:.2f}")
    write(records, chosen.json)


if __name__ == "__main__":
    main()
