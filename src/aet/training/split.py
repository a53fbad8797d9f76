"""Which rows are held out for validation."""

from __future__ import annotations

import numpy as np
import pandas as pd

from aet.errors import DataError
from aet.schema import Schema


def split(frame: pd.DataFrame, schema: Schema, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the training and of the validation rows.

    With a time column the latest rows are held out; with a group column whole groups are, so that no group is on both
    sides; else rows are drawn, class by class where there are classes.

    >>> import pandas as pd
    >>> from aet.schema import InputSpec, Schema
    >>> schema = Schema((InputSpec("x", "number", ("x",)),), ("y",), "label", time="t")
    >>> frame = pd.DataFrame({"x": range(10), "y": list("ab") * 5, "t": range(10, 0, -1)})
    >>> split(frame, schema, 0.2, seed=0)[1].tolist()
    [0, 1]
    """
    rng = np.random.default_rng(seed)
    count = len(frame)
    if count < 4:
        raise DataError(f"Training needs at least 4 usable rows, got {count}. Add rows.")
    held = max(1, round(share * count))
    if schema.time is not None and schema.time in frame:
        valid = np.argsort(frame[schema.time].to_numpy(), kind="stable")[-held:]
    elif schema.group is not None and schema.group in frame:
        valid = held_groups(frame[schema.group], held, rng)
    elif schema.output == "label":
        valid = held_classes(frame[schema.target], share, rng)
    else:
        valid = rng.permutation(count)[:held]
    chosen = np.zeros(count, dtype=bool)
    chosen[valid] = True
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def held_groups(groups: pd.Series, held: int, rng: np.random.Generator) -> np.ndarray:
    """Rows of random whole groups, about `held` of them."""
    codes, names = pd.factorize(groups.astype(str))
    if len(names) < 2:
        raise DataError(
            f"The group column {groups.name!r} has one group: expected two or more, to hold out whole groups. "
            "Leave it undeclared."
        )
    order = rng.permutation(len(names))[: len(names) - 1]
    sizes = np.bincount(codes)[order]
    taken = order[: max(1, int(np.searchsorted(np.cumsum(sizes), held)) + 1)]
    return np.flatnonzero(np.isin(codes, taken))


def held_classes(labels: pd.Series, share: float, rng: np.random.Generator) -> np.ndarray:
    """The same share of each class; a class of one row stays in training."""
    chosen = []
    for rows in labels.groupby(labels.astype(str)).indices.values():
        number = min(len(rows) - 1, max(1, round(share * len(rows)))) if len(rows) > 1 else 0
        chosen.append(rng.permutation(rows)[:number])
    held = np.concatenate(chosen)
    return held if len(held) else rng.permutation(len(labels))[:1]
