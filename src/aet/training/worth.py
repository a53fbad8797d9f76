"""What each part that was on was worth: the same run without it, on the same held-out rows.

    d_i = score_i(with) - score_i(without),    worth = mean(d) ± 1.96 · sd(d) / √n

paired over the held-out rows, as they are and under simulated drift. Both runs chose their best epoch on these rows,
and there is one run of each: the interval knows the noise of the rows, not that of another seed.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from aet.batch import Batch
from aet.config import Config
from aet.drift import worlds
from aet.model import Model
from aet.training.display import epoch_bar
from aet.training.loop import fit, relative
from aet.training.parts import ALL, SHUFFLED, without

FOLDER = ".compare"
"""Where the runs without keep their checkpoints, beside that of the run itself."""
TITLES = {ALL: "with none", SHUFFLED: "with a shuffled graph"}


def worth(
    model: Model,
    again: Callable[[Config], tuple[Model, Batch, Batch]],
    seconds: float,
    out: Path | None = None,
    progress: bool = False,
    frame: pd.DataFrame | None = None,
) -> list[dict[str, Any]]:
    """One record a part: name, score with and without it, their difference with its interval, and seconds saved.

    Args:
        model: trained with all parts, calibrated or not.
        again: settings -> a fresh model with its training and validation rows.
        seconds: that the run with all parts took.
        out: folder for checkpoints, so that an interrupted comparison goes on.
        progress: show a bar for each run.
        frame: the training rows as a table.
    """
    records = []
    for name, config in without(model.config).items():
        other, train, valid = again(config)
        title = TITLES.get(name, f"without {name}")
        with epoch_bar(config.train.epochs, model.output.metric, shown=progress, title=title) as on_epoch:
            history = fit(other, train, valid, checkpoints(out, name), on_epoch, frame=frame)
        record = {"part": name, "score": model.output.score_name, **difference(model, other, valid)}
        record |= {"seconds": seconds, "seconds_without": sum(epoch["seconds"] for epoch in history)}
        if config.train.drift:
            moved = worlds(model, valid, config.train.drift, torch.Generator().manual_seed(config.seed))
            record["drifted"] = difference(model, other, moved)
        records.append(record)
    return records


def checkpoints(out: Path | None, name: str) -> Path | None:
    """The folder of one run without a part."""
    if out is None:
        return None
    folder = out / FOLDER / name.replace("=", "-")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def difference(one: Model, other: Model, rows: Batch) -> dict[str, float]:
    """Mean score of both models, and of their paired difference with its 95 % interval."""
    assert rows.target is not None
    first, second = (m.output.scores(m.logits(rows), rows.target).double() for m in (one, other))
    mean, half = paired(first - second, relative(rows).weight)
    return {
        "with": weighted(first, rows.weight),
        "without": weighted(second, rows.weight),
        "difference": mean,
        "low": mean - half,
        "high": mean + half,
    }


def weighted(values: Tensor, weight: Tensor | None) -> float:
    """Mean over rows that count by their weight."""
    return float(values.mean() if weight is None else (values * weight).sum() / weight.sum())


def paired(differences: Tensor, weight: Tensor | None = None) -> tuple[float, float]:
    """Mean of d (N,) and half its 95 % interval, √(Σ w²(d - mean)²) / Σw · 1.96; infinite for one row.

    Where no row differs from another the half is 3/n (the rule of three): so many rows do not show a rarer difference.

    >>> paired(torch.tensor([1.0, 0.0, 1.0, 0.0]))
    (0.5, 0.5658...)
    """
    w = torch.ones_like(differences) if weight is None else weight.to(differences)
    mean = float((w * differences).sum() / w.sum())
    counted = int((w > 0).sum())
    if counted < 2:
        return mean, float("inf")
    spread = (w * (differences - mean)).square().sum() * counted / (counted - 1)
    return mean, 1.96 * float(spread.sqrt() / w.sum()) if spread > 0 else min(1.0, 3 / counted)
