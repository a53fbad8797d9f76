"""Numbers: flags are 0 and 1, dates seconds since 1970."""

from __future__ import annotations

import datetime
import numbers
import re
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from aet.cells.base import CELLS, Cells, Column, Faults, Mask, showing
from aet.errors import DataError

_NANS = ("NaN", "nan", "-NaN", "-nan")
MARKERS = (*_NANS, "", "NA", "N/A", "n/a", "#N/A", "#NA", "<NA>", "NULL", "null", "None")
"""Texts that stand for a missing value."""
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
LARGEST = float(np.finfo(np.float32).max)


@CELLS.register("number")
class Numbers(Cells):
    """Finite numbers within single precision, or missing."""

    grouped = True
    plain = True
    datatype = "FP64"

    @classmethod
    def check(cls, column: Column[Any], faults: Faults) -> npt.NDArray[np.float64]:
        """float64, NaN where missing."""
        return number_cells(column, faults)

    @classmethod
    def measured(cls, cells: Column[Any]) -> Column[Any]:
        """As they are."""
        return cells.astype(np.float64)


def parse_numbers(column: Column[Any]) -> tuple[npt.NDArray[np.float64], Mask]:
    """Cells as (values (N,), wrong (N,)): numbers, NaN where missing, and which cells are no numbers at all.

    Booleans are 0 and 1, dates seconds since 1970 (UTC unless they say otherwise), durations seconds.

    >>> parse_numbers(pd.Series(["1.5", " 2 ", "NA", "abc", True, None], dtype=object))
    (array([1.5, 2. , nan, nan, 1. , nan]), array([False, False, False,  True, False, False]))
    """
    sort = "O" if isinstance(column.dtype, pd.CategoricalDtype) else getattr(column.dtype, "kind", "O")
    right = np.zeros(len(column), dtype=bool)
    if sort in "biuf":
        return column.to_numpy(dtype=np.float64, na_value=np.nan), right
    if sort in "mM":
        times = column.to_numpy(dtype="datetime64[us]" if sort == "M" else "timedelta64[us]")
        return np.where(np.isnat(times), np.nan, times.astype(np.int64) / 1e6), right
    cells = pd.Series(column.to_numpy(dtype=object), dtype=object)
    values = np.full(len(cells), np.nan)
    with suppress(OverflowError):  # a whole number beyond every float: then cell by cell
        parsed = pd.to_numeric(cells, errors="coerce")
        if parsed.dtype.kind in "biuf":
            values = parsed.to_numpy(dtype=np.float64, copy=True)
    wrong = np.isnan(values) & cells.notna().to_numpy()
    for row in np.flatnonzero(wrong):
        number = _number(cells.iloc[row])
        if number is not None:
            values[row], wrong[row] = number, False
    return values, wrong


def dates(texts: Column[Any]) -> Column[Any]:
    """Times written as in ISO 8601 (2024-05-31, 2024-05-31T12:00:00+02:00), UTC unless they say otherwise; else NaT."""
    return pd.to_datetime(texts, utc=True, format="ISO8601", errors="coerce")


def _number(cell: object) -> float | None:
    """A cell that pandas does not parse as a number; None if it is none."""
    if isinstance(cell, str):
        text = cell.strip()
        if NUMBER.fullmatch(text):
            return float(text)
        return np.nan if text in MARKERS else {"true": 1.0, "false": 0.0}.get(text.lower())
    if isinstance(cell, datetime.date | np.datetime64):
        return pd.Timestamp(cell).timestamp()
    if isinstance(cell, datetime.timedelta | np.timedelta64):
        return pd.Timedelta(cell).total_seconds()
    with suppress(OverflowError):
        return float(cell) if isinstance(cell, numbers.Real) else None
    return np.inf


def number_cells(column: Column[Any], faults: Faults, *, needed: str = "") -> npt.NDArray[np.float64]:
    """Finite numbers, or NaN for missing unless `needed` says what must be there."""
    values, wrong = parse_numbers(column)
    beyond = np.abs(values) > LARGEST
    if faults.infinite == "raise" and beyond.any():
        row = int(beyond.argmax())
        raise DataError(
            f"row {row + faults.first}, column {column.name!r}: expected a finite number, got {values[row]} "
            f"(such values in {beyond.sum()} rows). "
            + faults.mends.get(column.name, "Replace infinite values by missing ones or drop them.")
        )
    faults.add(wrong, column.name, "a number", showing(column.array))
    faults.add(beyond, column.name, f"a finite number of at most {LARGEST:.2g} in size", showing(values))
    if needed:
        faults.add(np.isnan(values) & ~wrong, column.name, needed, lambda row: "a missing value")
    return values
