"""MNIST and USPS, each way: other writers, another scanner. USPS: `usps/usps.h5` in AET_DATA, brought to 28 x 28."""

from __future__ import annotations

import numpy as np
from common import folder

from aet.demo.digits import table
from aet.errors import DataError
from shift_data import DATA, Recipe, Shift, halves
from shift_data.digits import TRAINED, TRAINING, Digits, rescaled, split

STREAMS = {
    "continual": Recipe("continual", ("target",)),
    "from the source, gradual": Recipe("gradual"),
    "sorted by class": Recipe("correlated", ("target",)),
    "Dirichlet 0.1": Recipe("correlated", ("target",), {"concentration": 0.1}),
}


def usps(seed: int, rows: int) -> Digits:
    """So many of the 7,291 training digits, drawn by the seed."""
    path = folder("usps") / "usps.h5"
    try:
        import h5py
    except ImportError as error:
        raise DataError(f"{path} is read by the package h5py, which is not there ({error}).") from error
    with h5py.File(path) as file:
        images, answers = np.asarray(file["train/data"]), np.asarray(file["train/target"])
    chosen = np.random.default_rng([seed, 2]).permutation(len(images))[:rows]
    pixels = np.round(255 * images[chosen].reshape(-1, 16, 16)).astype(np.uint8)
    return rescaled(pixels), answers[chosen].astype(np.int64)


@DATA.register("MNIST to USPS")
def to_usps(seed: int) -> Shift:
    rows, (images, answers) = split(seed)
    held = table(images[:1000], answers[:1000])
    served, oracle = halves([("source", held), ("target", table(*usps(seed, 3000)))], seed)
    return Shift(rows, "digit", TRAINING, served, oracle, STREAMS)


@DATA.register("USPS to MNIST")
def from_usps(seed: int) -> Shift:
    rows = table(*usps(seed, TRAINED + 1000))
    target, _ = split(seed)
    served, oracle = halves([("source", rows[TRAINED:]), ("target", target)], seed)
    return Shift(rows[:TRAINED], "digit", TRAINING, served, oracle, STREAMS)
