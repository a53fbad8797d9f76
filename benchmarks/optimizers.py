"""Optimisers, schedules and tuners on two real sets: accuracy, trained weights, seconds; see docs/lab/optimizers.md.

    python benchmarks/optimizers.py [--quick] [--seeds 3] [--json FILE]

The learning rate of each is the best of three on the validation rows of the first seed; the test rows are looked at
once. Seeds change the split, the weights and the order of the rows. Seconds are those of the processor, one thread.
"""

from __future__ import annotations

import copy
import statistics
import time
from functools import cache

import numpy as np
import pandas as pd
import torch
from common import Record, arguments, write

import aet
from aet.config import Config
from aet.errors import ConfigError
from aet.training.loop import fit

OPTIMIZERS = {
    "adamw": (3e-4, 1e-3, 3e-3),
    "schedulefree": (1e-3, 3e-3, 1e-2),
    "prodigy": (0.5, 1.0, 2.0),
    "sgd": (0.03, 0.1, 0.3),
    "lion": (1e-4, 3e-4, 1e-3),
}
SCHEDULES = ("constant", "linear", "restarts", "cyclic", "inverse_sqrt", "one_cycle", "plateau")
TUNERS = ("full", "lora", "ia3", "adalora", "adapters", "prefix")
RATES = (3e-3, 1e-2, 3e-2)
SMALL = {"model": {"dim": 32, "depth": 2}, "inputs": {"image": {"patch": 2}}}


def breast_cancer():
    """569 rows of 30 numbers."""
    from sklearn.datasets import load_breast_cancer

    frame = load_breast_cancer(as_frame=True).frame
    return frame.assign(target=frame["target"].map({0: "malignant", 1: "benign"}))


def digits(turn=0):
    """1,797 images of 8 x 8 pixels, turned by some degrees."""
    from scipy.ndimage import rotate
    from sklearn.datasets import load_digits

    found = load_digits()
    pictures = found.images / 16
    if turn:
        pictures = np.clip(rotate(pictures, turn, axes=(1, 2), reshape=False, order=1), 0, 1)
    cells = np.empty(len(pictures), dtype=object)
    cells[:] = list(pictures.astype(np.float32))
    return pd.DataFrame({"picture": cells, "target": [f"d{k}" for k in found.target]})


def halves(frame, seed, share=0.7):
    """Rows to train on, and rows to test on."""
    order = np.random.default_rng(seed).permutation(len(frame))
    cut = int(share * len(frame))
    return frame.iloc[order[:cut]].reset_index(drop=True), frame.iloc[order[cut:]].reset_index(drop=True)


def trained(frame, seed, epochs, **settings):
    """Accuracy on validation and test rows in percent, seconds, and the rate."""
    rows, test = halves(frame, seed)
    train = {"epochs": epochs, "drift": 0.0, "batch_size": 64, **settings}
    started = time.process_time()
    model = aet.train(rows, target="target", seed=seed, config={**SMALL, "train": train})
    seconds = time.process_time() - started
    best = min(record["valid_loss"] for record in model.report["history"])
    return {"valid": best, "test": 100 * model.evaluate(test)["accuracy"], "seconds": seconds, "lr": model.report["lr"]}


def chosen(rates, seeds, run):
    """The runs of all seeds at the rate that validates best on the first."""
    first = [run(seeds[0], lr) for lr in rates]
    place = min(range(len(rates)), key=lambda i: first[i]["valid"])
    return [first[place], *(run(seed, rates[place]) for seed in seeds[1:])]


def record(task, method, runs, **more):
    """One line of the table, printed; `more` is printed only."""
    scores = [run["test"] for run in runs]
    line = Record(
        benchmark="optimizers",
        task=task,
        method=method,
        metric="accuracy",
        value=statistics.mean(scores),
        spread=statistics.stdev(scores) if len(scores) > 1 else None,
        seeds=len(runs),
        seconds=statistics.mean(run["seconds"] for run in runs),
    )
    extra = "".join(f"  {name} {value:,.1f}" for name, value in more.items())
    rate = f"{runs[0]['lr']:.3g}"
    score = f"{line.value:6.2f} ± {line.spread or 0:.2f}"
    print(f"{task:14} {method:14} {score}  lr {rate:8} {line.seconds:5.1f} s{extra}", flush=True)
    return line


def optimisers(seeds, epochs):
    """Each optimiser, and adamw at the rate that `auto` finds, on both sets; adamw with each schedule."""
    lines, best = [], 1e-3
    for task, frame in (("breast cancer", breast_cancer()), ("digits", digits())):
        for name, rates in OPTIMIZERS.items():
            runs = chosen(rates, seeds, lambda s, lr, f=frame, n=name: trained(f, s, epochs, optimizer=n, lr=lr))
            best = runs[0]["lr"] if (task, name) == ("breast cancer", "adamw") else best
            lines.append(record(task, name, runs))
        lines.append(record(task, "adamw, auto", [trained(frame, s, epochs, lr="auto") for s in seeds]))
    for name in SCHEDULES:
        settings = {"switches": {"plateau": {"patience": 1}}} if name == "plateau" else {"schedule": name}
        try:
            runs = [trained(breast_cancer(), s, epochs, lr=best, **settings) for s in seeds]
            lines.append(record("breast cancer", name, runs))
        except ConfigError as error:
            print(f"breast cancer  {name}: {error}", flush=True)
    return lines


@cache
def upright_model(seed, epochs):
    """Trained on half of the upright training rows."""
    rows, _ = halves(digits(), seed)
    config = {**SMALL, "train": {"epochs": 2 * epochs, "drift": 0.0, "lr": 3e-3}}
    return aet.train(rows[: len(rows) // 2], target="target", seed=seed, config=config)


def continued(name, lr, seed, epochs, rows=300):
    """Train on upright digits, go on with `rows` turned ones; accuracy on turned and on upright test digits."""
    upright, upright_test = halves(digits(), seed)
    turned, turned_test = halves(digits(turn=35), seed)
    half = len(upright) // 2
    model = copy.deepcopy(upright_model(seed, epochs))
    before = 100 * model.evaluate(turned_test)["accuracy"]
    parts = [
        model.encode(model.check(part).frame, target=True) for part in (turned[half:][:rows], turned[half:][rows:])
    ]
    switches = {} if name == "full" else {name: {}}
    changes = {**SMALL, "train": {"epochs": 20, "drift": 0.0, "lr": lr, "switches": switches}, "seed": seed}
    model.config = Config.read(changes)
    few = {}
    started = time.process_time()

    def note(_):
        few["trained"] = sum(p.numel() for p in model.parameters() if p.requires_grad)

    history = fit(model, *parts, on_epoch=note)
    return {
        "valid": min(line["valid_loss"] for line in history),
        "test": 100 * model.evaluate(turned_test)["accuracy"],
        "upright": 100 * model.evaluate(upright_test)["accuracy"],
        "before": before,
        "seconds": time.process_time() - started,
        "lr": lr,
        **few,
    }


def tuners(seeds, epochs):
    """Each way to go on."""
    lines = []
    for name in TUNERS:
        runs = chosen(RATES, seeds, lambda s, lr, n=name: continued(n, lr, s, epochs))
        more = {key: round(statistics.mean(run[key] for run in runs), 2) for key in ("trained", "upright", "before")}
        lines.append(record("turned digits", name, runs, **more))
    return lines


def main():
    given = arguments(__doc__)
    torch.set_num_threads(1)
    seeds = list(range(1 if given.quick else given.seeds))
    epochs = 4 if given.quick else 12
    write([*tuners(seeds, epochs), *optimisers(seeds, epochs)], given.json)


if __name__ == "__main__":
    main()
