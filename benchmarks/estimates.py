"""Knowing without labels: estimated accuracy against the truth, in windows of 200 rows; and the label-free alarms.

    python benchmarks/estimates.py [--quick] [--seeds N] [--choose] [--json FILE]

Streams: gas sensors, batches 2 to 9 of a model of batch 1, shuffled and in file order; 400 held-out MNIST digits and
400 of scikit-learn's, as they are and under 12 corruptions at the lowest and the highest severity
(`image_corruptions`). Two models a seed, of one table and one split; the first is judged, the second is there to
disagree with it. `dropout` reads the newest 100 rows of a window. `delayed` knows 16 or 48 labels of the window before,
"labels alone" is their share of right answers. Estimators were chosen, and the one setting τ of `delayed`, on
`--choose`: USPS digits under the same corruptions at severities in between.

Figures: mean absolute error and bias in points, share of 95 % intervals that hold the truth, mean width in points.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from common import Done, Record, parser, partial, summary, write
from corruptions import HELD, ROWS, SETTINGS, rescaled
from image_corruptions import CORRUPTIONS, corrupted
from rich.console import Console
from rich.table import Table

from aet.adaptation.estimating import under_dropout
from aet.demo.digits import mnist, scanned, table
from aet.demo.gas import TRAINING
from aet.demo.gas_files import read_batches
from aet.ensemble import Ensemble
from aet.errors import DataError
from aet.monitoring.autocorrelation import label_runs
from aet.monitoring.disagreement import agreement
from aet.monitoring.line import agreements, on_the_line
from aet.monitoring.martingale import EntropyMartingale
from aet.monitoring.performance import ESTIMATORS, Estimate, Labelled, Seen
from aet.training.ensemble import train_ensemble

WINDOW, LEAST, LABELS, PASSES, NEWEST = 200, 100, (16, 48), 10, 100
EPOCHS = {"gas": (TRAINING["config"]["train"]["epochs"], 30), "digits": (10, 5)}
"""In full and in a quick run."""
FREE = ("constant", "cbpe", "atc", "doc")
TRIALS, LENGTH = 200, 2000
"""Streams without a shift on which alarms are counted, and their rows."""

Figures = dict[str, float]
Found = dict[str, list[tuple[float, float, float, float]]]
"""By method: estimate, low, high, truth."""


def ensemble_of(frame: pd.DataFrame, target: str, settings: dict[str, Any], epochs: int, seed: int) -> Ensemble:
    """Two models of one table and one split."""
    config = {**settings["config"], "train": {**settings["config"]["train"], "epochs": epochs}}
    return train_ensemble(frame, target, members=2, seed=seed, groups=settings.get("groups"), config=config)


def gas_streams(seed: int) -> Iterator[tuple[str, pd.DataFrame]]:
    """Every batch but the first, in two orders."""
    for number, frame in read_batches().items():
        if number > 1:
            yield f"gas, shuffled | batch {number}", frame.sample(frac=1, random_state=seed).reset_index(drop=True)
            yield f"gas, file order | batch {number}", frame


def digit_streams(seed: int, choose: bool) -> Iterator[tuple[str, pd.DataFrame]]:
    """Digits, plain and corrupted."""
    held = np.random.default_rng(seed).permutation(len(mnist()[0]))[:ROWS]
    images, answers = usps() if choose else scanned()
    others = np.random.default_rng(seed).permutation(len(images))[:ROWS]
    far = (rescaled(images[others]), answers[others])
    tasks = {"USPS": far} if choose else {"MNIST": tuple(part[held] for part in mnist()), "digits": far}
    for number, (task, (shown, digits)) in enumerate(tasks.items()):
        yield f"{task} | as they are", table(shown, digits)
        for place, name in enumerate(CORRUPTIONS):
            for severity in (0.5, 1.5) if choose else (0, 2):
                rng = np.random.default_rng([seed, number, place, round(2 * severity)])
                yield (
                    f"{task}, corrupted | {name} {severity + 1:g}",
                    table(corrupted(shown, name, severity, rng), digits),
                )


def usps() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """2,007 test digits (N, 16, 16) and their answers, from the file usps.h5 in the folder usps of AET_DATA."""
    import h5py

    path = Path(os.environ.get("AET_DATA", "../shared/data")) / "usps" / "usps.h5"
    if not path.is_file():
        raise DataError(f"{path} is missing: the USPS digits are needed to choose on. Name their folder in AET_DATA.")
    with h5py.File(path) as file:
        images, answers = np.asarray(file["test"]["data"]), np.asarray(file["test"]["target"])
    return np.round(255 * images.reshape(-1, 16, 16)).astype(np.uint8), answers.astype(np.int64)


def on_stream(ensemble: Ensemble, frame: pd.DataFrame, seed: int) -> Iterator[tuple[int, str, Estimate, float]]:
    """Number of the window, method, estimate, truth."""
    model, other = ensemble.members
    kept, output = model.known_statistics().held_out, model.output
    assert kept is not None
    rows = model.encode(model.check(frame, need_target=True).frame, target=True)
    assert rows.target is not None
    logits = model.logits(rows)
    p = output.probabilities(logits).numpy().astype(float)
    own, second = logits.argmax(-1), output.translated(other.output, other.logits(rows)).argmax(-1)
    right = (own == rows.target).numpy().astype(float)
    rng = np.random.default_rng(seed)
    for number, start in enumerate(range(0, len(rows) - LEAST + 1, WINDOW)):
        w = np.arange(start, min(len(rows), start + WINDOW))
        truth, sure = float(right[w].mean()), p[w].max(-1).clip(0, 1)
        for name in FREE:
            yield number, name, ESTIMATORS[name](kept).estimate(sure), truth
        same = agreement(own[w].numpy(), second[w].numpy())
        yield number, "seeds", ESTIMATORS["seeds"](kept).estimate(Seen(sure, agreement=same)), truth
        there = agreements(torch.stack([own[w], second[w]]).numpy())
        line = on_the_line(kept.accuracy, ensemble.report["agreement"], there, kept.rows, len(w))
        yield number, "line", line, truth
        new = w[-NEWEST:]
        again = [z.argmax(-1).numpy() for z in under_dropout(model, None, rows[torch.from_numpy(new)], PASSES)]
        loose = Seen(p[new].max(-1).clip(0, 1), agreement=agreement(own[new].numpy(), again), mix=p[new].mean(0))
        yield number, "dropout", ESTIMATORS["dropout"](kept).estimate(loose), truth
        for labels in LABELS if number else ():
            drawn = rng.permutation(np.arange(start - WINDOW, start))[:labels]
            late = Labelled(p[drawn].max(-1).clip(0, 1), right[drawn], np.ones(len(drawn)))
            seen = Seen(sure, labelled=late)
            yield number, f"delayed, {labels} labels", ESTIMATORS["delayed"](kept).estimate(seen), truth
            yield number, f"labels alone, {labels}", late.truth(), truth


def figures_of(found: dict[str, Found]) -> Figures:
    """Error, bias, coverage and width by `{group} | {method} | {metric}`."""
    out: Figures = {}
    for group, methods in found.items():
        for method, rows in methods.items():
            value, low, high, truth = np.array(rows).T
            start = f"{group} | {method} | "
            out[start + "error"] = 100 * float(np.abs(value - truth).mean())
            out[start + "bias"] = 100 * float((value - truth).mean())
            out[start + "coverage"] = 100 * float(((low <= truth) & (truth <= high)).mean())
            out[start + "width"] = 100 * float((high - low).mean())
            out[start + "windows"] = len(rows)
    return out


def one_seed(task: str, seed: int, quick: bool, choose: bool) -> Figures:
    """All figures of one task and seed."""
    epochs = EPOCHS[task][quick]
    if task == "gas":
        ensemble = ensemble_of(read_batches()[1], "gas", TRAINING, epochs, seed)
        streams = list(gas_streams(seed))
    else:
        images, answers = mnist()
        rows = np.random.default_rng(seed).permutation(len(images))[HELD:]
        ensemble = ensemble_of(table(images[rows], answers[rows]), "digit", {"config": SETTINGS}, epochs, seed)
        streams = list(digit_streams(seed, choose))
    found: dict[str, Found] = defaultdict(lambda: defaultdict(list))
    for name, frame in streams:
        group = name.partition(" | ")[0]
        for number, method, estimate, truth in on_stream(ensemble, frame, seed):
            entry = (estimate.value, estimate.low, estimate.high, truth)
            if "label" not in method:
                found[group][method].append(entry)
            if number:
                found[f"{group}, later windows"][method].append(entry)
    figures = figures_of(found)
    if task == "digits" and not choose:
        figures |= alarms(ensemble, streams, seed, TRIALS // 10 if quick else TRIALS)
    return figures


def alarms(ensemble: Ensemble, streams: Sequence[tuple[str, pd.DataFrame]], seed: int, trials: int) -> Figures:
    """How often each alarm is false on held-out MNIST drawn with replacement, and what it finds."""
    model = ensemble.members[0]
    kept = model.known_statistics()
    assert kept.held_out is not None
    images, answers = mnist()
    held = np.random.default_rng(seed).permutation(len(images))[:HELD]
    frame = table(images[held], answers[held])
    logits = model.logits(model.encode(model.check(frame, need_target=True).frame))
    unsure, guesses = model.output.uncertainty(logits).numpy().astype(float).clip(0, 1), logits.argmax(-1).numpy()
    rng, out = np.random.default_rng(seed), Figures()
    for name, rows in (("margin for held-out rows", kept.held_out.rows), ("no margin", None)):
        cried = [
            EntropyMartingale(kept.entropy.numpy(), rows, seed=t).update(rng.choice(unsure, LENGTH))
            for t in range(trials)
        ]
        out[f"alarms | martingale, {name} | false alarms"] = 100 * float(np.mean(cried))
        waits = [
            first_alarm(EntropyMartingale(kept.entropy.numpy(), rows), model, s) for n, s in streams if "corr" in n
        ]
        out[f"alarms | martingale, {name} | found within 400 rows"] = 100 * float(np.mean(np.isfinite(waits)))
        out[f"alarms | martingale, {name} | median rows"] = float(np.median(np.minimum(waits, ROWS)))
    for window in (64, 256):
        looks = [label_runs(rng.permutation(guesses)[:window]).correlated for _ in range(trials)]
        out[f"alarms | label runs, window {window} | false alarms"] = 100 * float(np.mean(looks))
        for concentration in (0.01, 0.1, 1.0):
            looks = [label_runs(in_slots(guesses, concentration, window, rng)).correlated for _ in range(trials)]
            out[f"alarms | label runs, window {window} | Dirichlet {concentration:g}"] = 100 * float(np.mean(looks))
    return out


def first_alarm(martingale: EntropyMartingale, model: Any, frame: pd.DataFrame) -> float:
    """Rows until the alarm; infinite if there is none."""
    rows = model.encode(model.check(frame, need_target=True).frame)
    unsure = model.output.uncertainty(model.logits(rows)).numpy().astype(float).clip(0, 1)
    return next((float(i + 1) for i, h in enumerate(unsure) if martingale.update([h])), float("inf"))


def in_slots(labels: npt.NDArray[Any], concentration: float, rows: int, rng: np.random.Generator) -> npt.NDArray[Any]:
    """Labels in slots of 32 rows, each with a class mix of its own from a Dirichlet distribution, shuffled inside."""
    classes = np.unique(labels)
    slots = [rng.choice(classes, 32, p=rng.dirichlet(np.full(len(classes), concentration))) for _ in range(rows // 32)]
    return np.concatenate(slots)


def records(runs: Sequence[Figures]) -> list[Record]:
    """One record a figure: mean over seeds with its spread."""
    out = []
    for key in runs[0]:
        task, method, metric = key.split(" | ")
        mean, spread = summary([run[key] for run in runs])
        out.append(Record("estimates", task, method, metric, mean, None, spread, len(runs)))
    return out


def show(everything: Sequence[Record]) -> None:
    """A table a group of streams: methods down, figures across."""
    console = Console(width=150)
    for task in dict.fromkeys(r.task for r in everything):
        chosen = [r for r in everything if r.task == task]
        grid = Table(title=task, title_justify="left")
        metrics = list(dict.fromkeys(r.metric for r in chosen))
        for name in ("", *metrics):
            grid.add_column(name, justify="right" if name else "left")
        for method in dict.fromkeys(r.method for r in chosen):
            cells = {r.metric: f"{r.value:.1f} ± {r.spread:.1f}" for r in chosen if r.method == method}
            grid.add_row(method, *(cells.get(metric, "") for metric in metrics))
        console.print(grid)


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--choose", action="store_true", help="USPS digits, the streams that settings are chosen on")
    options = made.parse_args()
    torch.set_num_threads(1)
    done = Done(partial(options.json))
    runs: list[Figures] = []
    for seed in range(1 if options.quick else options.seeds):
        found: Figures = {}
        for task in ("digits",) if options.choose else ("gas", "digits"):
            key = f"{task} {seed} {options.quick} {options.choose} {EPOCHS} {SETTINGS} {TRIALS} {LENGTH}"
            found |= done.get(key, lambda t=task, s=seed: one_seed(t, s, options.quick, options.choose))  # type: ignore[misc]
        runs.append(found)
    everything = records(runs)
    show(everything)
    write(everything, options.json)


if __name__ == "__main__":
    main()
