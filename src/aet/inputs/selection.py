"""Which columns a model gets: scikit-learn's filters keep the best `columns.keep` of them before it is built.

Columns that are dropped become ignored ones of the schema, so that served tables need not have them. A declared group
is one input with the best score of its columns; texts and images always stay and do not count.

    f_test         F of an analysis of variance; of a regression for numbers
    mutual_info    nearest-neighbour estimate (Kraskov et al. 2004, Ross 2014)
    chi2           χ² between classes and the column, numbers brought to 0..1
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from aet.cells import TARGETS
from aet.config import ColumnsConfig
from aet.errors import ConfigError
from aet.registry import Registry
from aet.schema import InputSpec, Schema

Filter = Callable[[np.ndarray, np.ndarray, bool, bool], np.ndarray]
"""x (N, F), y (N,), whether y is a class, whether x are 0/1 marks of one category -> scores (F,)."""

FILTERS: Registry[Filter] = Registry("column filter")
VALUES = 50
"""Values of a category that are marked, the most frequent ones."""
ROWS = 20_000
"""Rows that are looked at, at most."""


@FILTERS.register("f_test")
def f_test(x: np.ndarray, y: np.ndarray, classes: bool, marks: bool) -> np.ndarray:
    """F statistic of each column."""
    from sklearn.feature_selection import f_classif, f_regression

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # constant columns, whose score is 0
        return np.asarray((f_classif if classes else f_regression)(x, y)[0])


@FILTERS.register("mutual_info")
def mutual_info(x: np.ndarray, y: np.ndarray, classes: bool, marks: bool) -> np.ndarray:
    """Mutual information in nats."""
    from sklearn.feature_selection import mutual_info_classif, mutual_info_regression

    estimate = mutual_info_classif if classes else mutual_info_regression
    if marks:  # one category is one number: its value
        return np.asarray(estimate(x.argmax(1)[:, None], y, discrete_features=True, random_state=0))
    return np.asarray(estimate(x, y, discrete_features=False, random_state=0))


@FILTERS.register("chi2")
def chi2(x: np.ndarray, y: np.ndarray, classes: bool, marks: bool) -> np.ndarray:
    """χ² of each column, brought to 0..1."""
    from sklearn.feature_selection import chi2 as statistic

    if not classes:
        raise ConfigError(
            "columns.filter='chi2' counts classes: expected a label as target, got a number. Use 'f_test' or "
            "'mutual_info'."
        )
    span = np.ptp(x, axis=0)
    with np.errstate(all="ignore"):
        return np.asarray(statistic((x - x.min(0)) / np.where(span > 0, span, 1.0), y)[0])


def scores(frame: pd.DataFrame, schema: Schema, name: str) -> dict[str, float]:
    """Score of each number and category input by the filter `name`, over the rows whose answers are known.

    >>> from aet.schema import infer
    >>> x = np.random.default_rng(0).normal(size=(200, 2))
    >>> frame = pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "y": np.where(x[:, 1] > 0, "up", "down")})
    >>> found = scores(frame, infer(frame, "y"), "f_test")
    >>> found["b"] > 20 * found["a"]
    True
    """
    score = FILTERS[name]
    if not TARGETS[schema.output].one_value:
        raise ConfigError(
            f"columns.keep compares a column with one value a row: expected another output than {schema.output!r}, "
            "whose answers are written word by word. Leave columns.keep out."
        )
    frame = frame.iloc[np.random.default_rng(0).permutation(len(frame))[:ROWS]]
    classes = schema.output != "number"
    answers = [
        pd.factorize(frame[target])[0] if classes else frame[target].to_numpy(np.float64) for target in schema.targets
    ]
    found = {}
    for spec in schema.inputs:
        if spec.kind in ("number", "category"):
            table = numbers(frame, spec) if spec.kind == "number" else marked(frame[spec.columns[0]])
            each = [score(table, y, classes, spec.kind == "category") for y in answers]
            found[spec.name] = float(np.nan_to_num(np.max(each, axis=1), posinf=float(np.finfo(np.float32).max)).mean())
    return found


def numbers(frame: pd.DataFrame, spec: InputSpec) -> np.ndarray:
    """(N, S), a missing value being its column's median (0 where there is none)."""
    cells = frame[list(spec.columns)].astype(np.float64)
    return cells.fillna(cells.median()).fillna(0.0).to_numpy()


def marked(cells: pd.Series) -> np.ndarray:
    """(N, V) zeros and ones: which of its most frequent values each row has; the last column for all else."""
    text = cells.astype(str)
    often = text.value_counts().index[:VALUES]
    marks = np.stack([(text == value).to_numpy() for value in often], 1)
    return np.column_stack([marks, ~marks.any(1)]).astype(np.float64)


def select(frame: pd.DataFrame, schema: Schema, config: ColumnsConfig) -> tuple[Schema, dict[str, Any]]:
    """The schema without the dropped columns, and what to report: `scores`, `kept` and `dropped` inputs."""
    FILTERS[config.filter]
    if config.keep is None:
        if config.filter != ColumnsConfig().filter:
            raise ConfigError(
                f"columns.filter={config.filter!r} does nothing without columns.keep: expected how many columns "
                "to keep. Set columns.keep, or leave the filter out."
            )
        return schema, {}
    found = scores(frame, schema, config.filter)
    best = set(sorted(found, key=lambda name: -found[name])[: config.keep])
    dropped = [spec for spec in schema.inputs if spec.name in found and spec.name not in best]
    smaller = replace(
        schema,
        inputs=tuple(spec for spec in schema.inputs if spec not in dropped),
        ignored=(*schema.ignored, *(column for spec in dropped for column in spec.columns)),
    )
    kept = [spec.name for spec in smaller.inputs]
    return smaller, {"filter": config.filter, "scores": found, "kept": kept, "dropped": [s.name for s in dropped]}
