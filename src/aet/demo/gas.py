"""Gas sensors that age: trained on the first two months, served the three years after.

Vergara et al. 2012 (Sensors and Actuators B 166), UCI data set 224, CC BY 4.0: 16 chemical sensors of 8 features each,
six gases at many concentrations, in ten batches over three years. The measurements are served in the order of their
files, mostly gas after gas, so that the labels are correlated. The concentration is not used.
"""

from __future__ import annotations

from typing import Any

from aet.demo.base import DEMOS, Demo
from aet.demo.gas_files import COLUMNS, FEATURES, SENSORS, read_batches

TRAINING: dict[str, Any] = {
    "groups": {f"s{s:02d}": COLUMNS[s * FEATURES : (s + 1) * FEATURES] for s in range(SENSORS)},
    "config": {"model": {"dim": 96}, "train": {"epochs": 100, "lr": 2e-3}},
}


@DEMOS.register("gas")
def gas(seed: int = 0) -> Demo:
    """The demonstration: batch 1 to train on, every other batch at hand as a part; nothing is drawn."""
    batches = read_batches()
    return Demo(
        title="Gas sensors: trained on batch 1, served the batches after",
        rows=batches.pop(1),
        target="gas",
        parts=[(f"batch {number}", rows) for number, rows in batches.items()],
        training=TRAINING,
        methods=("restandardise", "align", "tent"),
    )
