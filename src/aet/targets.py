"""What the target columns ask for: the kind of output, and whether there is anything to learn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from aet.errors import DataError, SchemaError, nearest
from aet.rows import parse_numbers
from aet.words import mostly_words

PARTS = ("label", "number")
"""Kinds of each of several targets."""


def output_kind(frame: pd.DataFrame, targets: Sequence[str]) -> str:
    """The kind of output that these targets ask for."""
    if len(targets) > 1:
        return "multilabel"
    filled = frame[targets[0]].dropna()
    if mostly_words(filled):
        return "tags"
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


def classes_or_raise(frame: pd.DataFrame, targets: Sequence[str], output: str) -> None:
    """DataError for a target of one class or none, and for several targets that are not 0 and 1."""
    if output in ("several", "tags"):
        return  # what there is to learn is known when it is learned, over the rows that have it
    shown = ", ".join(map(repr, targets))
    classes: set[Any] = set()
    for target in targets:
        filled = frame[target].dropna()
        values, wrong = parse_numbers(filled)
        wrong |= ~np.isin(values, (0, 1))
        if output == "multilabel" and wrong.any():
            example = f"{filled.iloc[int(wrong.argmax())]!r:.60}"
            raise DataError(
                f"The targets {shown} answer yes or no: expected 0 and 1 in {target!r}, got {example}. Write "
                "0 and 1, name one target, or say output='several' for answers of different kinds."
            )
        classes.update(values if output == "multilabel" else filled.map(str))
    if len(classes) < 2:
        found = f"only {classes.pop()!r}" if classes else "no value"
        raise DataError(
            f"The target {shown} has {found}: expected at least two, one class leaves nothing to learn. "
            "Check that the rows were not filtered by it, or name another target."
        )
