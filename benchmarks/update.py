"""Gas sensors, month by month: train on batch 1, then update with 2, 3, 4, 5, 6, 8, 9, one after the other.

    python benchmarks/update.py [--quick] [--seeds N] [--json FILE]

Each batch, in a seeded random order, is cut in half: the first is learned, the second only scored. After each update:
accuracy on the second half of the new batch and, over all rows together, of all earlier ones; beside it a model trained
from scratch on the first halves of all batches so far (every old row at hand, which the update does not have), and the
source fine-tuned month after month on the new rows alone, under the settings of an update. 500 rows are kept, or none.

    forgetting   accuracy on the earlier second halves before the update, less after it, in points
    time         seconds of the processor that the update took, over those of training from scratch, all included

`--quick`: one seed, batches 4 and 5. With --json, what is finished is kept and a stopped benchmark goes on from there.
"""

from __future__ import annotations

import copy
import sys
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from common import Done, Record, arguments, partial, summary, write
from rich.console import Console
from rich.table import Table

from aet.demo.gas import TRAINING
from aet.demo.gas_files import read_batches
from aet.model import Model
from aet.training.train import train

MONTHS = (2, 3, 4, 5, 6, 8, 9)
KEPT = 500
WAYS: dict[str, tuple[bool, dict[str, Any] | None]] = {
    "update, 500 rows kept": (True, None),
    "update, no rows kept": (False, None),
    "fine-tuning": (False, {"switches": {}}),
}
"""Whether rows are kept, and settings of the update beside the default."""

Halves = dict[int, tuple[pd.DataFrame, pd.DataFrame]]


def halves(seed: int) -> Halves:
    """Each batch in a random order: the half that is learned, the half that is scored."""
    cut: Halves = {}
    for number, frame in read_batches().items():
        mixed = frame.sample(frac=1, random_state=seed).reset_index(drop=True)
        cut[number] = mixed.iloc[: len(mixed) // 2], mixed.iloc[len(mixed) // 2 :]
    return cut


def source(rows: Halves, seed: int) -> Model:
    """The demonstration's model of batch 1, with rows kept: keeping them changes nothing else."""
    config = TRAINING["config"]
    return train(
        rows[1][0],
        "gas",
        seed=seed,
        **{**TRAINING, "config": {**config, "train": {**config["train"], "keep_rows": KEPT}}},
    )


def accuracies(model: Model, rows: Halves, numbers: Sequence[int]) -> dict[str, float]:
    """Right answers in points on the scored half of each batch; a class that is not known is a wrong answer."""
    found = {}
    for number in numbers:
        test = rows[number][1]
        right = model.predict(test)["prediction"].to_numpy() == test["gas"].to_numpy()
        found[f"batch {number}"] = 100 * float(right.mean())
    return found


def scratch(rows: Halves, numbers: Sequence[int], seed: int) -> dict[str, float]:
    """Everything so far, from the start."""
    started = time.process_time()
    model = train(pd.concat([rows[n][0] for n in numbers]), "gas", seed=seed, **TRAINING)
    return {"seconds": time.process_time() - started, **accuracies(model, rows, numbers)}


def in_turn(rows: Halves, way: str, months: Sequence[int], start: Model) -> dict[str, float]:
    """One model through all months; figures by `month, name`."""
    keeps, asked = WAYS[way]
    model = copy.deepcopy(start)
    model.reservoir = start.reservoir if keeps else None
    figures = {f"1, {name}": value for name, value in accuracies(model, rows, [1]).items()}
    for place, month in enumerate(months):
        started = time.process_time()
        model = model.update(rows[month][0], compare=False, config=None if asked is None else {"train": asked}).model
        spent = time.process_time() - started
        found = {"seconds": spent, **accuracies(model, rows, [1, *months[: place + 1]])}
        figures |= {f"{month}, {name}": value for name, value in found.items()}
        print(f"{way}: batch {month} done", file=sys.stderr)
    return figures


def over(found: Mapping[str, float], month: int, numbers: Sequence[int], rows: Halves) -> float:
    """Accuracy over the scored rows of several batches together, after a month."""
    sizes = [len(rows[n][1]) for n in numbers]
    return float(np.average([found[f"{month}, batch {n}"] for n in numbers], weights=sizes))


def one_seed(seed: int, months: Sequence[int], done: Done) -> dict[tuple[str, int, str], float]:
    """Figures by (method, month, metric)."""
    rows = halves(seed)
    out: dict[tuple[str, int, str], float] = {}
    tested: dict[str, dict[str, float]] = {}
    start: list[Model] = []

    def through(way: str) -> dict[str, float]:
        if not start:
            start.append(source(rows, seed))
        return in_turn(rows, way, months, start[0])

    for way in WAYS:
        tested[way] = done.get(f"{way} {seed} {months}", lambda way=way: through(way))
    tested["scratch"] = {}
    for place, month in enumerate(months):
        numbers = [1, *months[: place + 1]]
        found = done.get(f"scratch {seed} {numbers}", lambda numbers=numbers: scratch(rows, numbers, seed))
        print(f"seed {seed}, scratch: batch {month} done", file=sys.stderr)
        tested["scratch"] |= {f"{month}, {name}": value for name, value in found.items()}
    for method, found in tested.items():
        for place, month in enumerate(months):
            old = [1, *months[:place]]
            out[method, month, "new"] = found[f"{month}, batch {month}"]
            out[method, month, "old"] = over(found, month, old, rows)
            out[method, month, "behind scratch"] = (
                tested["scratch"][f"{month}, batch {month}"] - out[method, month, "new"]
            )
            out[method, month, "time"] = 100 * found[f"{month}, seconds"] / tested["scratch"][f"{month}, seconds"]
            if method != "scratch":
                out[method, month, "forgetting"] = over(found, old[-1], old, rows) - out[method, month, "old"]
    return out


def records(runs: Sequence[dict[tuple[str, int, str], float]]) -> list[Record]:
    """One record a month and figure, and the mean over the months with its spread over seeds."""
    out, means = [], defaultdict(list)
    for method, month, metric in runs[0]:
        values = [run[method, month, metric] for run in runs]
        mean, spread = summary(values)
        out.append(Record("update", "gas", method, metric, mean, f"batch {month}", spread, len(runs)))
        means[method, metric].append(values)
    for (method, metric), values in means.items():
        mean, spread = summary(np.mean(values, axis=0).tolist())
        out.append(Record("update", "gas", method, metric, mean, "mean over batches", spread, len(runs)))
    return out


def show(found: Sequence[Record]) -> None:
    """A table a figure, methods down and months across; then the bars."""
    console = Console(width=150)
    units = {"time": "% of retraining from scratch", "forgetting": "points", "behind scratch": "points"}
    for metric in ("new", "old", "forgetting", "behind scratch", "time"):
        chosen = [r for r in found if r.metric == metric]
        streams = list(dict.fromkeys(r.stream for r in chosen))
        table = Table(title=f"{metric}, {units.get(metric, 'accuracy in points')}", title_justify="left")
        table.add_column("")
        for stream in streams:
            table.add_column((stream or "").replace("batch ", "b"), justify="right")
        for method in dict.fromkeys(r.method for r in chosen):
            cells = {r.stream: r for r in chosen if r.method == method}
            shown = [f"{cells[stream].value:.1f}" for stream in streams]
            last = cells[streams[-1]]
            shown[-1] += f" ± {last.spread:.1f}" if (last.seeds or 1) > 1 else ""
            table.add_row(method, *shown)
        console.print(table)
    bars = {"behind scratch": 2.0, "forgetting": 2.0, "time": 20.0}
    for metric, bar in bars.items():
        months = [r for r in found if r.method == "update, 500 rows kept" and r.metric == metric]
        mean, worst = months[-1].value, max(r.value for r in months[:-1])
        verdict = "met" if mean <= bar else "missed"
        console.print(f"{metric}: mean {mean:.1f}, worst month {worst:.1f}; the bar is at most {bar:g}: {verdict}")


def main() -> None:
    options = arguments(__doc__)
    torch.set_num_threads(1)
    seeds, months = (1, (4, 5)) if options.quick else (options.seeds, MONTHS)
    done = Done(partial(options.json))
    everything = records([one_seed(seed, months, done) for seed in range(seeds)])
    show(everything)
    write(everything, options.json)


if __name__ == "__main__":
    main()
