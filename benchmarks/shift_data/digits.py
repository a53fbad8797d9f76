"""MNIST digits, then scikit-learn's: other writers, another scanner, brought to 28 x 28.

The parts are thirds of the file. The clean stream is MNIST held out: nothing is to be won there, only to be kept.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

from aet.demo.digits import mnist, scanned, table
from shift_data import DATA, Recipe, Shift, halves

TRAINED, SIDE = 3000, 28
TRAINING: dict[str, Any] = {
    "config": {
        "model": {"dim": 64, "depth": 2, "dropout": 0.0},
        "train": {"epochs": 24, "lr": 3e-3, "valid": 0.12},
        "inputs": {"image": {"patch": 7}},
    }
}

Digits = tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]


def split(seed: int) -> tuple[pd.DataFrame, Digits]:
    """MNIST digits to train on, and those held out; the same of a seed in every data set."""
    images, answers = mnist()
    order = np.random.default_rng(seed).permutation(len(images))
    held = order[TRAINED:]
    return table(images[order[:TRAINED]], answers[order[:TRAINED]]), (images[held], answers[held])


def rescaled(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Images (N, h, w) at 28 x 28."""
    whole = [Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BILINEAR) for image in images]
    return np.stack([np.asarray(image) for image in whole])


@DATA.register("MNIST to digits")
def digits(seed: int) -> Shift:
    rows, (images, answers) = split(seed)
    shown, truth = scanned()
    thirds = np.array_split(np.arange(len(shown)), 3)
    others = [(f"writers {n}", table(rescaled(shown[at]), truth[at])) for n, at in enumerate(thirds, 1)]
    served, oracle = halves([("MNIST", table(images, answers)), *others], seed)
    streams = {
        "clean": Recipe("continual", ("MNIST",)),
        "own order": Recipe("as_filed", ("writers",)),
        "continual": Recipe("continual", ("writers",)),
        "from MNIST, gradual": Recipe("gradual", rows=300, quick=True),
        "sorted by class": Recipe("correlated", ("writers",)),
        "Dirichlet 0.1": Recipe("correlated", ("writers",), {"concentration": 0.1}),
        "recurring": Recipe("recurring", rows=50),
    }
    return Shift(rows, "digit", TRAINING, served, oracle, streams)
