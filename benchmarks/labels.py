"""Wrong labels: 40 % of the training labels are another class at random; scored on rows with right ones.

    python benchmarks/labels.py [--quick] [--seeds N] [--json FILE]

Digits of scikit-learn, a token each line of pixels, and gas sensors within batch 1. Validation labels are wrong at the
same rate: nobody knows which ones. `clean` is the same training with right labels, the ceiling; `kept` is a method's
accuracy over it. Methods that need rows known to be right get 50 of them (right, and in no other's training); plain
training beside them gets those 50 rows too, among the wrong ones (`plain + 50`). Peers: scikit-learn's MLP and gradient
boosting with early stopping, on the same labels. Settings of every switch are its defaults.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from common import Done, Record, arguments, partial, summary, write
from rich.console import Console
from rich.progress import track
from rich.table import Table
from sklearn.datasets import load_digits
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import aet
from aet.demo.gas import TRAINING
from aet.demo.gas_files import read_batches
from aet.errors import DataError

WRONG, CLEAN = 0.4, 50
SWITCHES = ("label_smoothing", "mixup", "sample_attention")
WITH_CLEAN = ("meta_weights", "learning_to_reweight")


def digits() -> tuple[pd.DataFrame, str, dict[str, Any]]:
    """8 x 8 pixels, each line of them a token."""
    frame = load_digits(as_frame=True).frame
    pixels = [name for name in frame.columns if name != "target"]
    groups = {f"line{i}": pixels[8 * i : 8 * i + 8] for i in range(8)}
    return frame.astype({"target": str}), "target", {"groups": groups, "config": {"train": {"epochs": 40, "lr": 3e-3}}}


def gas() -> tuple[pd.DataFrame, str, dict[str, Any]]:
    """The first two months of the sensors."""
    return read_batches()[1], "gas", dict(TRAINING)


TASKS = {"digits": digits, "gas batch 1": gas}


def wronged(labels: pd.Series, rng: np.random.Generator) -> pd.Series:
    """40 % of them another class."""
    classes = np.unique(labels)
    place = np.searchsorted(classes, labels)
    other = (place + rng.integers(1, len(classes), len(place))) % len(classes)
    return pd.Series(classes[np.where(rng.random(len(place)) < WRONG, other, place)], index=labels.index)


def flat(rows: pd.DataFrame, target: str) -> np.ndarray:
    """The inputs as numbers, for the peers."""
    return rows.drop(columns=target).to_numpy(float)


def run(task: str, method: str, seed: int, epochs: int | None) -> dict[str, float]:
    """Accuracy of one method in points."""
    frame, target, training = TASKS[task]()
    rest, test = train_test_split(frame, test_size=0.25, random_state=seed, stratify=frame[target])
    known, rows = train_test_split(rest, train_size=CLEAN, random_state=seed, stratify=rest[target])[:2]
    right = pd.concat([rows, known]) if method in ("clean", "plain + 50") else rows
    noisy = right.copy()
    if method != "clean":
        noisy.loc[rows.index, target] = wronged(rows[target], np.random.default_rng(seed))
    if method in PEERS:
        peer = PEERS[method](seed).fit(flat(noisy, target), noisy[target])
        return {"accuracy": 100 * float((peer.predict(flat(test, target)) == test[target]).mean())}
    settings = {name: dict(part) for name, part in training["config"].items()}
    if epochs:
        settings["train"]["epochs"] = epochs
    with tempfile.TemporaryDirectory() as folder:
        switches: dict[str, dict[str, Any]] = {method: {}} if method in (*SWITCHES, *WITH_CLEAN) else {}
        if method in WITH_CLEAN:
            file = Path(folder) / "clean.csv"
            known.to_csv(file, index=False)
            switches[method] = {"file": str(file)}
        others = {name: part for name, part in training.items() if name != "config"}
        model = aet.train(noisy, target=target, seed=seed, config=settings, switches=switches, **others)
    return {"accuracy": 100 * model.evaluate(test)["accuracy"], "seconds": model.report["seconds"]}


PEERS = {
    "MLP (scikit-learn)": lambda seed: make_pipeline(
        StandardScaler(), MLPClassifier((128,), early_stopping=True, max_iter=300, random_state=seed)
    ),
    "gradient boosting (scikit-learn)": lambda seed: HistGradientBoostingClassifier(
        early_stopping=True, random_state=seed
    ),
}
METHODS = ("clean", "plain", "plain + 50", *SWITCHES, *WITH_CLEAN, *PEERS)


def main() -> None:
    """All tasks, methods and seeds."""
    options = arguments(__doc__)
    torch.set_num_threads(1)
    done, seeds = Done(partial(options.json)), 1 if options.quick else options.seeds
    epochs = 15 if options.quick else None
    found: dict[tuple[str, str], list[dict[str, float]]] = defaultdict(list)
    console = Console()
    work = [(task, seed, method) for task in TASKS for seed in range(seeds) for method in METHODS]
    for task, seed, method in track(work, "wrong labels", console=Console(stderr=True)):
        try:
            key = f"{task} {method} {seed} {epochs}"
            figures = done.get(key, lambda t=task, m=method, s=seed: run(t, m, s, epochs))
        except DataError as error:
            console.print(f"{task} left out: {error}")
            continue
        found[task, method].append(figures)
    records = []
    table = Table("task", "method", "accuracy", "kept of clean", title="40 % wrong labels, accuracy in points")
    for (task, method), figures in found.items():
        mean, spread = summary([f["accuracy"] for f in figures])
        ceiling, _ = summary([f["accuracy"] for f in found[task, "clean"]])
        seconds = summary([f.get("seconds", 0.0) for f in figures])[0] or None
        records.append(Record("labels", task, method, "accuracy", mean, None, spread, len(figures), seconds))
        records.append(Record("labels", task, method, "kept", 100 * mean / ceiling, None, None, len(figures)))
        table.add_row(task, method, f"{mean:.1f} ± {spread:.1f}", f"{100 * mean / ceiling:.1f} %")
    console.print(table)
    write(records, options.json)


if __name__ == "__main__":
    main()
