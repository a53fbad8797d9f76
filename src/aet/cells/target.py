"""Targets of one value a cell: a class, a number, or a 0 or 1 in each of several columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from aet.cells.base import TARGETS, Column, Faults, Target, distinct, showing
from aet.cells.number import number_cells, parse_numbers
from aet.errors import DataError


@TARGETS.register("label")
class Labels(Target):
    """A class: any one value."""

    @classmethod
    def learnable(cls, frame: pd.DataFrame, targets: Sequence[str]) -> None:
        """Two classes or more."""
        two_or_raise({text for name in targets for text in frame[name].dropna().map(str)}, targets)

    @classmethod
    def check(cls, column: Column[Any], faults: Faults | None, typed: Mapping[str, Any], alone: bool) -> Any:
        """Classes as given, None where there is none."""
        codes, cells = distinct(column)
        fine = [bool(c.strip()) if isinstance(c, str) else pd.api.types.is_scalar(c) for c in cells]
        wrong = ~np.array([*fine, False], dtype=bool)[codes]
        if faults and alone:
            faults.add(wrong, column.name, "a class as the target", showing(column.array))
        return column.where(~wrong, None) if wrong.any() else column


@TARGETS.register("number")
class NumberTargets(Labels):
    """A number."""

    @classmethod
    def check(cls, column: Column[Any], faults: Faults | None, typed: Mapping[str, Any], alone: bool) -> Any:
        """float64, NaN where missing."""
        if not faults:
            return parse_numbers(column)[0]
        return number_cells(column, faults, needed="a number as the target" if alone else "")


@TARGETS.register("multilabel")
class Flags(NumberTargets):
    """0 or 1 in each of several columns."""

    several = True

    @classmethod
    def learnable(cls, frame: pd.DataFrame, targets: Sequence[str]) -> None:
        """0 and 1 alone, and both of them."""
        found: set[Any] = set()
        for name in targets:
            filled = frame[name].dropna()
            values, wrong = parse_numbers(filled)
            wrong |= ~np.isin(values, (0, 1))
            if wrong.any():
                example = f"{filled.iloc[int(wrong.argmax())]!r:.60}"
                raise DataError(
                    f"The targets {_listed(targets)} answer yes or no: expected 0 and 1 in {name!r}, got {example}. "
                    "Write 0 and 1, name one target, or say output='several' for answers of different kinds."
                )
            found.update(values)
        two_or_raise(found, targets)

    @classmethod
    def check(cls, column: Column[Any], faults: Faults | None, typed: Mapping[str, Any], alone: bool) -> Any:
        """0.0 and 1.0, NaN where missing."""
        values = super().check(column, faults, typed, alone)
        if faults:
            faults.add(~np.isin(values, (0, 1)) & np.isfinite(values), column.name, "0 or 1", showing(values))
        return values


class Joint(Target):
    """Columns that are each checked as their own kind (`Schema.kind_of`), never as this one."""

    several = True

    @classmethod
    def check(cls, column: Column[Any], faults: Faults | None, typed: Mapping[str, Any], alone: bool) -> Any:
        """Not to be called."""
        raise NotImplementedError(f"Each column of {cls.__name__} is checked as its own kind.")


@TARGETS.register("several")
class Mixed(Joint):
    """Columns of different kinds; what there is to learn is known when it is learned, over the rows that have it."""


def two_or_raise(classes: set[Any], targets: Sequence[str]) -> None:
    """DataError for one class or none."""
    if len(classes) < 2:
        found = f"only {classes.pop()!r}" if classes else "no value"
        raise DataError(
            f"The target {_listed(targets)} has {found}: expected at least two, one class leaves nothing to learn. "
            "Check that the rows were not filtered by it, or name another target."
        )


def _listed(targets: Sequence[str]) -> str:
    return ", ".join(map(repr, targets))
