"""What the target columns ask for: the kind of output, and whether there is anything to learn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from aet.cells import TARGETS
from aet.cells.number import parse_numbers
from aet.errors import DataError, SchemaError, nearest

PARTS = ("label", "number")
"""Kinds of each of several targets."""


def told_kind(frame: pd.DataFrame, targets: Sequence[str]) -> str | None:
    """The kind of output whose cells are told from all others, as lists of tags are; None for plain values."""
    filled = frame[targets[0]].dropna()
    return next((kind for kind in TARGETS if len(targets) == 1 and TARGETS[kind].recognises(filled)), None)


def output_kind(frame: pd.DataFrame, targets: Sequence[str]) -> str:
    """The kind of output that these targets ask for."""
    if len(targets) > 1:
        return "multilabel"
    if told := told_kind(frame, targets):
        return told
    filled = frame[targets[0]].dropna()
    flags = pd.api.types.is_bool_dtype(filled) or isinstance(filled.dtype, pd.CategoricalDtype)
    values, wrong = parse_numbers(filled)
    distinct = filled.map(str).nunique()
    if flags or wrong.sum() > 0.1 * len(filled):
        if distinct <= max(100, len(filled) / 2):
            return "label"
        raise DataError(
            f"The target {targets[0]!r} has {distinct} distinct texts in {len(filled)} rows: "
            "expected classes that repeat, it looks like an id or a text. Name another or say output='label'."
        )
    whole = not wrong.any() and bool(np.equal(np.mod(values, 1), 0).all())
    return "label" if whole and (distinct == 2 or distinct <= min(20, len(filled) / 2)) else "number"


def target_kind(frame: pd.DataFrame, target: str) -> str:
    """The kind of one target by the rules of `infer`: "label" or "number"."""
    return output_kind(frame, (target,))


def target_kinds(frame: pd.DataFrame, targets: Sequence[str], given: Mapping[str, str]) -> tuple[str, ...]:
    """The kind of each of several targets, as given or inferred; SchemaError for wrong names and kinds."""
    for name, kind in given.items():
        if name not in targets:
            raise SchemaError(f"output: {name!r} is no target. {nearest(name, targets)}")
        if kind not in PARTS:
            raise SchemaError(f"output: the target {name!r} has no kind {kind!r}. {nearest(str(kind), PARTS)}")
    return tuple(given.get(name) or target_kind(frame, name) for name in targets)
