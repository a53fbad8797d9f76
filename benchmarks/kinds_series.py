"""Series: ETTh1 and ETTh2 seven series each, look-back 96, horizons 96, 192, 336 and 720.

The split of the Informer line of papers: 12 months to train, 4 to validate, 4 to test; each series standardised by its
training months; MSE and MAE over all windows of the test months and all series. Beside ours: the ridge regression it
starts from, DLinear (trained here, the same windows), the seasonal naive forecast, and the last value. Then one pass
through the test months in order of time, a stream for each series, each truth given when its last value is known:
frozen, corrected by recursive least squares, and what the guard served. Last, training steps a second beside a plain
PyTorch transformer of the same size.

A row is a window of one series, no calendar and no name of the series beside it. Settings of ours were chosen on the
months of ETTh1 before the test (docs/lab/series.md).

    python benchmarks/kinds_series.py [--quick] [--seeds N] [--json FILE]
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from common import Done, Record, arguments, folder, partial, summary, write
from torch import Tensor, nn

import aet
from aet.adaptation import Stream
from aet.batch import Batch
from aet.inputs.normalise import mean_and_deviation
from aet.model import Model
from aet.seasons import ridge
from aet.training.loop import batch_loss, parameter_groups
from aet.training.switch import Run

MONTH, LOOKBACK = 30 * 24, 96
TRAIN, VALID, TEST = 12 * MONTH, 16 * MONTH, 20 * MONTH
HORIZONS = (96, 192, 336, 720)
EVERY = 5
"""Hours from one training window to the next: all hours of the day occur."""
CONFIG = {
    "model": {"dim": 64, "depth": 1, "dropout": 0.3},
    "train": {"epochs": 6, "patience": 2, "batch_size": 256, "drift": 0.0, "rehearsals": 0, "lr": 3e-4},
    "output": {"loss": "huber", "weigh": "table"},
}
ONLINE = {"half_life": 2000.0, "anchor": 3.0}
"""Of `rls`, in the stream of hours."""


@lru_cache
def table(name: str) -> pd.DataFrame:
    """The hours of a set, each series standardised by its training months."""
    read = pd.read_csv(folder("ett") / f"{name}.csv.gz").set_index("date").iloc[:TEST]
    first = read.iloc[:TRAIN]
    return ((read - first.mean()) / first.std(ddof=0)).reset_index()


def cut(name: str, start: int, stop: int, horizon: int, every: int = 1) -> pd.DataFrame:
    """Windows of the hours from `start` to `stop`."""
    rows = table(name).iloc[start:stop]
    return aet.windows(rows, time="date", lookback=LOOKBACK, horizon=horizon, every=every, calendar=False)


def line(name: str, horizon: int, quick: bool) -> dict[str, float]:
    """Ridge regression of windows at one size, in closed form: what our forecasts start from."""
    x, y = stacked(cut(name, 0, TRAIN, horizon, 6 * EVERY if quick else EVERY))
    past, future = stacked(cut(name, VALID - LOOKBACK, TEST, horizon, 24 if quick else 1))
    centre, scale = (figure[:, None] for figure in mean_and_deviation(x))
    weights = ridge((x - centre) / scale, (y - centre) / scale, torch.ones_like(y, dtype=torch.bool))
    centre, scale = (figure[:, None] for figure in mean_and_deviation(past))
    error = centre + scale * ((past - centre) / scale @ weights.T) - future
    return {"mse": float(error.square().mean()), "mae": float(error.abs().mean())}


@lru_cache
def trained(name: str, horizon: int, seed: int, quick: bool) -> Model:
    """A model of the training months, its best epoch found on the validation months."""
    rows = cut(name, 0, VALID, horizon, 6 * EVERY if quick else EVERY)
    share = float((rows["time"] >= pd.Timestamp(table(name)["date"].iloc[TRAIN - 1])).mean())
    config = {**CONFIG, "train": {**CONFIG["train"], "valid": share, **({"epochs": 2} if quick else {})}}
    roles = {"time": "time", "until": "until", "id": "id", "ignore": ["series"]}
    return aet.train(rows, target="future", seed=seed, config=config, **roles)


def offline(name: str, horizon: int, seed: int, quick: bool) -> dict[str, float]:
    """Errors over the test months, natural units being those of the training standardisation here."""
    started = time.perf_counter()
    model = trained(name, horizon, seed, quick)
    took = time.perf_counter() - started
    figures = model.evaluate(cut(name, VALID - LOOKBACK, TEST, horizon, 24 if quick else 1))
    square = float(model.output.unit) ** 2
    return {
        "mse": figures["mse"] * square,
        "mae": figures["mae_natural"],
        "coverage": figures["coverage"],
        "naive_mse": figures["mse_naive"] * square,
        "naive_mae": figures["mae_naive"] * float(model.output.unit),
        "seasonal_mse": figures["mse_seasonal"] * square,
        "seasonal_mae": figures["mae_seasonal"] * float(model.output.unit),
        "seconds": took,
    }


class DLinear(nn.Module):
    """ŷ = W_t·trend + W_r·rest, the trend a moving mean of 25 values (Zeng et al. 2023), shared by the series."""

    def __init__(self, horizon: int) -> None:
        super().__init__()
        self.trend, self.rest = nn.Linear(LOOKBACK, horizon), nn.Linear(LOOKBACK, horizon)
        for line in (self.trend, self.rest):
            nn.init.constant_(line.weight, 1 / LOOKBACK)

    def forward(self, x: Tensor) -> Tensor:
        """Windows (B, L) -> (B, H)."""
        padded = nn.functional.pad(x[:, None], (12, 12), mode="replicate")
        trend = nn.functional.avg_pool1d(padded, 25, 1)[:, 0]
        out: Tensor = self.trend(trend) + self.rest(x - trend)
        return out


def stacked(rows: pd.DataFrame) -> tuple[Tensor, Tensor]:
    """Pasts (N, L) and futures (N, H)."""
    past, future = (np.stack(rows[column].tolist()).astype(np.float32) for column in ("history", "future"))
    return torch.from_numpy(past), torch.from_numpy(future)


def dlinear(name: str, horizon: int, seed: int, quick: bool) -> dict[str, float]:
    """The same windows, squared error, the best epoch by the validation months."""
    torch.manual_seed(seed)
    every = 6 * EVERY if quick else EVERY
    x, y = stacked(cut(name, 0, TRAIN, horizon, every))
    held = stacked(cut(name, TRAIN - LOOKBACK, VALID, horizon, every))
    test = stacked(cut(name, VALID - LOOKBACK, TEST, horizon, 24 if quick else 1))
    model, best, kept = DLinear(horizon), float("inf"), {}
    optimiser = torch.optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(2 if quick else 10):
        for index in torch.randperm(len(x)).split(64):
            optimiser.zero_grad()
            (model(x[index]) - y[index]).square().mean().backward()
            optimiser.step()
        with torch.no_grad():
            loss = float((model(held[0]) - held[1]).square().mean())
        if loss < best:
            best, kept = loss, {n: t.clone() for n, t in model.state_dict().items()}
    model.load_state_dict(kept)
    with torch.no_grad():
        error = model(test[0]) - test[1]
    return {"mse": float(error.square().mean()), "mae": float(error.abs().mean())}


def by_day(stream: Stream, rows: pd.DataFrame, each: int) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """So many rows a day and their answers; truths are given on the first day that begins after their last hour."""
    due = 0
    for start in range(0, len(rows), each):
        day = rows.iloc[start : start + each]
        known = int((rows["until"] <= day["time"].iloc[0]).sum())
        if known > due:
            stream.feedback(rows["id"][due:known], rows["future"][due:known].tolist(), at_random=True)
            due = known
        yield day, stream.predict(day.drop(columns="future"))


def online(name: str, horizon: int, seed: int, quick: bool) -> dict[str, float]:
    """A stream for each series, day by day; each day's truths are given once the last of them is known."""
    model = trained(name, horizon, seed, quick)
    found: dict[str, float] = {}
    for series, rows in cut(name, VALID - LOOKBACK, TEST, horizon, 8).groupby("series"):
        rows = rows.reset_index(drop=True)
        stream = model.stream(adapt="rls", compare=True, keep=len(rows), **ONLINE)
        served, frozen, proposed = [], [], []
        for day, answers in by_day(stream, rows, 3):
            batch = model.encode(model.check(day).frame)
            served += answers["prediction"].tolist()
            frozen += model.output.answers(model.logits(batch))["prediction"].tolist()
            proposed += model.output.answers(stream.method.answer(batch))["prediction"].tolist()
        truth = np.stack(rows["future"].tolist())
        for what, said in (("frozen", frozen), ("rls", proposed), ("served", served)):
            found[f"{series}.{what}"] = float(((np.stack(said) - truth) ** 2).mean())
    for what in ("frozen", "rls", "served"):
        found[what] = float(np.mean([value for key, value in found.items() if key.endswith(f".{what}")]))
    found["worst"] = max(
        found[key.replace("frozen", "served")] / value for key, value in found.items() if key.endswith(".frozen")
    )
    return found


class Plain(nn.Module):
    """Patches of 16 by 8, PyTorch's own encoder, one head over all tokens: our tokens and sizes, nothing else."""

    def __init__(self, tokens: int, horizon: int, dim: int, depth: int) -> None:
        super().__init__()
        self.patch, self.places = nn.Linear(16, dim), nn.Parameter(0.1 * torch.randn(tokens, dim))
        layer = nn.TransformerEncoderLayer(dim, 4, 2 * dim, 0.3, "gelu", batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, depth, nn.LayerNorm(dim), enable_nested_tensor=False)
        self.summary, self.head = nn.Linear(tokens * dim, dim), nn.Linear(dim, 3 * horizon)
        self.line, self.horizon, self.tokens = nn.Linear(LOOKBACK, horizon), horizon, tokens

    def forward(self, x: Tensor) -> Tensor:
        """Windows (B, L) -> (B, 3, H)."""
        mean, scale = x.mean(1, keepdim=True), x.std(1, keepdim=True) + 1e-5
        z = (x - mean) / scale
        patches = self.patch(z.unfold(1, 16, 8))
        tokens = nn.functional.pad(patches, (0, 0, 0, self.tokens - patches.shape[1])) + self.places
        out = self.head(self.summary(self.encoder(tokens).flatten(1))).unflatten(-1, (3, self.horizon))
        made: Tensor = (out + self.line(z)[:, None]) * scale[:, None] + mean[:, None]
        return made


def throughput(horizon: int, steps: int) -> dict[str, float]:
    """Training steps a second of ours and of the plain model, in turns; medians."""
    model = copy.deepcopy(trained("ETTh1", horizon, 0, True)).train()
    rows = cut("ETTh1", 0, TRAIN, horizon, 30).head(256)
    batch: Batch = model.encode(model.check(rows, need_target=True).frame, target=True)
    x, y = stacked(rows)
    plain = Plain(len(model.token_names()), horizon, model.dim, model.depth)
    optimisers = [torch.optim.AdamW(parameter_groups(model, 0.05)), torch.optim.AdamW(plain.parameters())]
    run = Run(model, optimisers[0], batch, batch, steps, lambda: torch.zeros(()))

    def ours() -> Tensor:
        return batch_loss(run, [], model.trunk, batch)

    def theirs() -> Tensor:
        said = plain(x)
        error = y[:, None] - said
        loss = nn.functional.huber_loss(said[:, 0], y)
        return loss + sum(
            torch.maximum(q * error[:, n], (q - 1) * error[:, n]).mean() for n, q in ((1, 0.05), (2, 0.95))
        )

    times: list[list[float]] = [[], []]
    for _ in range(steps):
        for which, loss in enumerate((ours, theirs)):
            started = time.perf_counter()
            optimisers[which].zero_grad()
            loss().backward()
            optimisers[which].step()
            times[which].append(time.perf_counter() - started)
    ours_a_second, plain_a_second = (1 / float(np.median(t[3:])) for t in times)
    return {"ours": ours_a_second, "plain": plain_a_second, "ratio": ours_a_second / plain_a_second}


def compared(done: Done, name: str, horizon: int, seeds: int, quick: bool) -> dict[str, list[dict[str, float]]]:
    """Figures of each method, a dict a seed."""
    how = "quick" if quick else "full"
    found: dict[str, list[dict[str, float]]] = {"aet": [], "DLinear": []}
    for seed in range(seeds):
        key = f"{name}.{horizon}.{seed}"
        found["aet"].append(done.get(f"{how}.{key}", lambda s=seed: offline(name, horizon, s, quick)))
        found["DLinear"].append(done.get(f"{how}.dlinear.{key}", lambda s=seed: dlinear(name, horizon, s, quick)))
    found["ridge"] = [done.get(f"{how}.ridge.{name}.{horizon}", lambda: line(name, horizon, quick))]
    for method, prefix in (("seasonal naive", "seasonal"), ("naive", "naive")):
        found[method] = [{metric: found["aet"][0][f"{prefix}_{metric}"] for metric in ("mse", "mae")}]
    return found


def streamed(done: Done, name: str, quick: bool) -> list[Record]:
    """The pass through the test months."""
    figures = done.get(f"{'quick' if quick else 'full'}.online.{name}", lambda: online(name, 96, 0, quick))
    records = []
    for key, value in figures.items():
        series, _, method = key.rpartition(".")
        metric = "served / frozen mse of the worst series" if method == "worst" else "online mse"
        records.append(Record("kinds_series", f"{name}/96", method, metric, value, series or "all", None, 1))
    return records


def run(quick: bool, seeds: int, path: Path | None = None) -> list[Record]:
    """All parts; with a path what is done is kept beside it."""
    done, records = Done(partial(path)), []
    horizons: Sequence[int] = HORIZONS[:1] if quick else HORIZONS
    for name in ("ETTh1", "ETTh2"):
        means: dict[tuple[str, str], list[list[float]]] = {}
        for horizon in horizons:
            for method, figures in compared(done, name, horizon, seeds, quick).items():
                for metric in ("mse", "mae", "coverage"):
                    values = [one[metric] for one in figures if metric in one]
                    if values:
                        means.setdefault((method, metric), []).append(values)
                        value, spread = summary(values)
                        task = f"{name}/{horizon}"
                        records.append(Record("kinds_series", task, method, metric, value, None, spread, len(values)))
        for (method, metric), each in means.items():
            value, spread = summary(np.mean(each, axis=0).tolist())
            records.append(Record("kinds_series", f"{name}/mean", method, metric, value, None, spread, len(each[0])))
    for name in ("ETTh1",) if quick else ("ETTh1", "ETTh2"):
        records += streamed(done, name, quick)
    speed = done.get(f"{'quick' if quick else 'full'}.speed", lambda: throughput(96, 12 if quick else 60))
    metric = "training steps a second"
    return [*records, *(Record("kinds_series", "ETTh1/96", key, metric, value) for key, value in speed.items())]


if __name__ == "__main__":
    given = arguments(__doc__)
    made = run(given.quick, given.seeds, given.json)
    for record in made:
        spread = f" ± {record.spread:.4f}" if record.spread else ""
        print(
            f"{record.task:12} {record.method:16} {record.stream or '':8} {record.metric:24} {record.value:.4f}{spread}"
        )
    write(made, given.json)
