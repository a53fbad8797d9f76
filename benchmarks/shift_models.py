"""Sources and oracles of the shift suite, kept in `benchmarks/.models` so that a run that was stopped goes on.

A model is known by its rows, its settings and its seed. Remove the folder to train anew, as after a change of training.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import aet
from aet.model import Model

MODELS = Path(__file__).parent / ".models"
LEAST_EPOCHS = 10


def digest(frame: pd.DataFrame, *settings: Any) -> str:
    """Sixteen digits that change with any cell, column or setting."""
    total = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    for name in frame:
        total.update(str(name).encode())
        column = frame[name]
        for cell in column:
            image = isinstance(cell, np.ndarray)
            total.update(cell.tobytes() + str(cell.shape).encode() if image else repr(cell).encode())
    return total.hexdigest()[:16]


def cached(frame: pd.DataFrame, target: str, seed: int, training: Mapping[str, Any]) -> tuple[Model, str]:
    """The model trained on these rows, from the cache if it is there, and the name of its weights."""
    folder = MODELS / digest(frame, target, seed, training)
    MODELS.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # of two processes that want it, one trains
        if not folder.is_dir():
            beside = folder.with_suffix(".part")
            aet.train(frame, target, seed=seed, out=beside, **training)  # goes on where it was stopped
            beside.replace(folder)
    kept = hashlib.sha256()
    for name in ("model.safetensors", "statistics.safetensors"):  # rehearsals are in the second
        kept.update((folder / name).read_bytes())
    return aet.load(folder).eval(), kept.hexdigest()[:12]


def oracle_of(
    rows: pd.DataFrame, target: str, seed: int, training: Mapping[str, Any], sourced: int
) -> tuple[Model, str]:
    """The same network trained on the target's rows, in as many steps as the source took on its `sourced` rows.

    But for no fewer epochs than `LEAST_EPOCHS`. Classes with a single row are left out.
    """
    config = dict(training["config"])
    epochs = config["train"]["epochs"]
    config["train"] = {**config["train"], "epochs": max(LEAST_EPOCHS, round(epochs * sourced / len(rows)))}
    tags = isinstance(rows[target].iloc[0], list)  # these are no classes of rows
    common = rows if tags else rows[rows[target].map(rows[target].value_counts()) > 1]
    return cached(common.reset_index(drop=True), target, seed, {**training, "config": config})
