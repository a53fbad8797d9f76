"""Clothes under the corruptions of `corruptions`: Fashion-MNIST of Debian's package dataset-fashion-mnist."""

from __future__ import annotations

import gzip
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from common import folder

from aet.demo.digits import table
from shift_data import DATA, Shift
from shift_data.corruptions import corruptions
from shift_data.digits import TRAINED, TRAINING, Digits

HELD = 2000


def read(name: str, header: int) -> npt.NDArray[np.uint8]:
    """The bytes of an IDX file after its header."""
    raw = gzip.decompress((folder("fashion-mnist") / name).read_bytes())
    return np.frombuffer(raw, dtype=np.uint8, offset=header)


def split(seed: int) -> tuple[pd.DataFrame, Digits]:
    """Clothes of the training file to train on, and of the test file to serve."""
    out: list[Any] = []
    for sort, count in (("train", TRAINED), ("t10k", HELD)):
        images = read(f"{sort}-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28)
        answers = read(f"{sort}-labels-idx1-ubyte.gz", 8).astype(np.int64)
        chosen = np.random.default_rng(seed).permutation(len(images))[:count]
        out.append((images[chosen], answers[chosen]))
    return table(*out[0]), out[1]


@DATA.register("clothes, corrupted 1")
def mild(seed: int) -> Shift:
    return corruptions(*split(seed), TRAINING, 0, seed, {})


@DATA.register("clothes, corrupted 3")
def severe(seed: int) -> Shift:
    return corruptions(*split(seed), TRAINING, 2, seed, {})
