"""Corrupted and shifted digits: adaptive dynamic attention beside the same training without it, and label-free peers.

    python benchmarks/corruptions.py [--quick] [--seeds N] [--json FILE]

Trained on 4,000 MNIST digits, twice with the same seed, schedule and simulated drift: plainly, and with
`model.attention: {dynamic: {}}`. Served as streams in batches of 100, each from the source: 400 held-out MNIST digits
and 400 of scikit-learn's (other writers, another scanner, brought to 28 x 28), each as they are and under 12
corruptions at 3 severities (`image_corruptions`). Peers without labels on the plain model: restandardise, align, TENT.
Settings were chosen on USPS digits at severities in between (docs/lab/dynamic.md). A stopped run goes on.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from common import Done, Record, arguments, partial, summary, write
from image_corruptions import CORRUPTIONS, corrupted
from PIL import Image
from rich.console import Console
from rich.table import Table

from aet.adaptation import METHODS
from aet.batch import Batch
from aet.demo.digits import mnist, scanned, table
from aet.model import Model
from aet.training.train import train

HELD, ROWS, BATCH, SIDE = 1000, 400, 100, 28
SETTINGS: dict[str, Any] = {
    "model": {"dim": 64, "depth": 2, "dropout": 0.0},
    "train": {"epochs": 14, "lr": 3e-3, "valid": 0.12},
    "inputs": {"image": {"patch": 7}},
}
WAYS = {
    "plain": ({}, ("source", "restandardise", "align", "tent")),
    "dynamic": ({"dynamic": {}}, ("source", "dynamic")),
}
NAMES = {
    "plain, source": "plain training",
    "plain, restandardise": "plain training + restandardise",
    "plain, align": "plain training + align",
    "plain, tent": "plain training + TENT",
    "dynamic, source": "dynamic training, source answers",
    "dynamic, dynamic": "dynamic training + dynamic",
}
BARS = {
    "gain over plain training": 3.0,
    f"forward passes, batches of {BATCH}": 1.1,
    f"forward passes, batches of {ROWS}": 1.1,
}

Digits = tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]
Figures = dict[str, float]


def rescaled(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Images (N, h, w) at 28 x 28."""
    whole = [Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BILINEAR) for image in images]
    return np.stack([np.asarray(image) for image in whole])


def streams(seed: int, quick: bool) -> dict[str, Digits]:
    """What is served, by `{task}, {corruption} {severity}`."""
    held = np.random.default_rng(seed).permutation(len(mnist()[0]))[:ROWS]
    images, answers = scanned()
    others = np.random.default_rng(seed).permutation(len(images))[:ROWS]
    tasks = {"MNIST": tuple(part[held] for part in mnist()), "digits": (rescaled(images[others]), answers[others])}
    out: dict[str, Digits] = {}
    for number, (task, (shown, digits)) in enumerate(tasks.items()):
        out[f"{task}, as they are"] = (shown, digits)
        for place, name in enumerate(CORRUPTIONS):
            for severity in (1,) if quick else (0, 1, 2):
                rng = np.random.default_rng([seed, number, place, severity])
                out[f"{task}, {name} {severity + 1}"] = (corrupted(shown, name, severity, rng), digits)
    return out


def trained(way: str, seed: int, quick: bool) -> Model:
    """One model; the held-out digits are the first `HELD` of the seed's order."""
    images, answers = mnist()
    rows = np.random.default_rng(seed).permutation(len(images))[HELD:]
    epochs = 6 if quick else SETTINGS["train"]["epochs"]
    config = {
        **SETTINGS,
        "model": {**SETTINGS["model"], "attention": WAYS[way][0]},
        "train": {**SETTINGS["train"], "epochs": epochs},
    }
    return train(table(images[rows], answers[rows]), "digit", seed=seed, config=config)


def served(model: Model, name: str, rows: Batch) -> float:
    """Share of right answers in points when `rows` come as a stream."""
    assert rows.target is not None
    method = METHODS[name](model)
    pieces = [rows[index] for index in torch.arange(len(rows)).split(BATCH)]
    return 100 * float(torch.cat([method(piece).argmax(-1) == piece.target for piece in pieces]).float().mean())


def cost(model: Model, rows: Batch, size: int, pairs: int = 15) -> float:
    """Processor time of batches of `size` rows under `dynamic` over that of the source's answers; median of pairs."""
    ratios = []
    for pair in range(pairs):
        seconds = {}
        for adapted in (pair % 2 == 0, pair % 2 == 1):
            method = METHODS["dynamic"](model)
            started = time.process_time()
            for index in torch.arange(len(rows)).split(size):
                _ = method(rows[index]) if adapted else model.logits(rows[index])
            seconds[adapted] = time.process_time() - started
        ratios.append(seconds[True] / seconds[False])
    return statistics.median(ratios)


def one_way(way: str, seed: int, quick: bool) -> Figures:
    """Every figure of one trained model, by `{method} | {stream}`."""
    started = time.perf_counter()
    model = trained(way, seed, quick)
    figures: Figures = {"seconds to train": time.perf_counter() - started}
    for stream, (images, answers) in streams(seed, quick).items():
        rows = model.encode(table(images, answers), target=True)
        for name in WAYS[way][1]:
            figures[f"{name} | {stream}"] = served(model, name, rows)
    if way == "dynamic":
        for size in (BATCH, ROWS):
            figures[f"forward passes, batches of {size}"] = cost(model, rows, size)
    return figures


def records(runs: Sequence[dict[str, Figures]]) -> list[Record]:
    """One record a method and corruption (mean over its severities), and the means that the bars are about."""
    seeds, out = len(runs), []
    groups: dict[tuple[str, str], list[str]] = {}
    means: dict[tuple[str, str], list[str]] = {}
    for key in runs[0]["plain"]:
        name, _, stream = key.partition(" | ")
        if name == "source":
            task, _, sort = stream.partition(", ")
            groups.setdefault((task, sort.rstrip("123 ")), []).append(stream)
            if sort != "as they are":
                for over_all in (task, "both"):
                    means.setdefault((over_all, "mean over corruptions"), []).append(stream)
    groups |= means

    def add(task: str, method: str, metric: str, values: Sequence[float], stream: str | None = None) -> None:
        mean, spread = summary(values)
        out.append(Record("corruptions", task, method, metric, mean, stream, spread, seeds))

    over: dict[tuple[str, str], list[float]] = {}
    for way, (_, methods) in WAYS.items():
        for method in methods:
            name = NAMES[f"{way}, {method}"]
            for (task, sort), members in groups.items():
                values = [float(np.mean([run[way][f"{method} | {stream}"] for stream in members])) for run in runs]
                add(task, name, "accuracy", values, sort)
                if task == "both":
                    over[name, "both"] = values
        add("model", way, "seconds to train", [run[way]["seconds to train"] for run in runs])
    ours, plain = over[NAMES["dynamic, dynamic"], "both"], over[NAMES["plain, source"], "both"]
    add("both", "dynamic", "gain over plain training", [a - b for a, b in zip(ours, plain, strict=True)])
    for size in (BATCH, ROWS):
        metric = f"forward passes, batches of {size}"
        add("both", "dynamic", metric, [run["dynamic"][metric] for run in runs])
    return out


def show(all_records: Sequence[Record]) -> None:
    """A table a task: corruptions down, methods across; then what the bars are about."""
    console = Console(width=150)
    for task in ("MNIST", "digits", "both"):
        chosen = [r for r in all_records if r.task == task and r.metric == "accuracy"]
        grid = Table(title=f"{task}: accuracy in points (spread: standard deviation over seeds)")
        grid.add_column("")
        for name in NAMES.values():
            grid.add_column(name, justify="right")
        for stream in dict.fromkeys(r.stream for r in chosen):
            cells = {r.method: r for r in chosen if r.stream == stream}
            grid.add_row(stream, *(f"{cells[name].value:.1f} ± {cells[name].spread:.1f}" for name in NAMES.values()))
        console.print(grid)
    for r in all_records:
        if r.metric in BARS:
            met = r.value >= BARS[r.metric] if r.metric.startswith("gain") else r.value <= BARS[r.metric]
            console.print(
                f"{r.metric}: {r.value:.2f} ± {r.spread:.2f} (bar {BARS[r.metric]}: {'met' if met else 'MISSED'})"
            )
        elif r.metric == "seconds to train":
            console.print(f"{r.metric}, {r.method}: {r.value:.0f}")


def main() -> None:
    options = arguments(__doc__)
    torch.set_num_threads(1)
    done = Done(partial(options.json))
    runs = []
    for seed in range(1 if options.quick else options.seeds):
        runs.append(
            {
                way: done.get(
                    f"{way} {seed} {options.quick} {SETTINGS} {ROWS}",
                    lambda w=way, s=seed: one_way(w, s, options.quick),
                )  # type: ignore[misc]
                for way in WAYS
            }
        )
    everything = records(runs)
    show(everything)
    write(everything, options.json)


if __name__ == "__main__":
    main()
