"""Digits under fifteen corruptions (`image_corruptions`) at two severities, a data set each.

Of the MNIST digits held out one half is served and the other trains the oracle, so that no digit is on both sides.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from image_corruptions import FIFTEEN, corrupted

from aet.adaptation.streams import Part
from aet.demo.digits import table
from shift_data import CORRELATED, DATA, SHUFFLED, Recipe, Shift
from shift_data.digits import TRAINING, Digits, split

SERVED, TRAINED = 200, 600
"""Rows under each corruption: served, and for the oracle."""

STREAMS = {**SHUFFLED, **CORRELATED, "recurring": Recipe("recurring", rows=10)}
QUICK = {
    "continual": Recipe("continual", quick=True),
    "mixed, Dirichlet 0.1": Recipe("mixed + correlated", settings={"concentration": 0.1}, quick=True),
}


def worlds(
    images: npt.NDArray[np.uint8], answers: npt.NDArray[Any], rows: int, severity: int, seed: tuple[int, ...]
) -> list[Part]:
    """Each corruption over images drawn anew."""
    parts = []
    for place, name in enumerate(FIFTEEN):
        rng = np.random.default_rng([*seed, severity, place])
        chosen = rng.permutation(len(images))[:rows]
        parts.append((name, table(corrupted(images[chosen], name, severity, rng), answers[chosen])))
    return parts


def corruptions(
    rows: pd.DataFrame, held: Digits, training: Mapping[str, Any], severity: int, seed: int, more: Mapping[str, Recipe]
) -> Shift:
    """One severity (0, 1 or 2) over images held out."""
    images, answers = held
    half = len(images) // 2
    served = worlds(images[:half], answers[:half], SERVED, severity, (seed, 3))
    oracle = pd.concat([frame for _, frame in worlds(images[half:], answers[half:], TRAINED, severity, (seed, 4))])
    return Shift(rows, "digit", training, served, oracle.reset_index(drop=True), {**STREAMS, **more})


@DATA.register("digits, corrupted 1")
def mild(seed: int) -> Shift:
    return corruptions(*split(seed), TRAINING, 0, seed, {})


@DATA.register("digits, corrupted 3")
def severe(seed: int) -> Shift:
    return corruptions(*split(seed), TRAINING, 2, seed, QUICK)
