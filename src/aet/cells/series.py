"""Cells that hold a stretch of a series, and targets that hold the stretch that follows: lists of numbers."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from aet.cells.base import CELLS, TARGETS, Cells, Column, Faults, Target, each, object_cells, share_of, shown
from aet.cells.number import LARGEST
from aet.errors import DataError

Values = npt.NDArray[np.float64]  # (T,) or (T, C)
NOT_JSON = re.compile(r"\bnan\b|\bNone\b|\bNA\b")


def numbers(cell: object) -> Values | None:
    """A list of numbers (T,), or of as many numbers each (T, C), NaN where one is missing; None for any other cell.

    Lists may be written as JSON, as files of texts hold them.

    >>> numbers([1, None, 2.5]), numbers("[1, NaN, 2.5]"), numbers([[1, 2], [3, 4]]).shape
    (array([1. , nan, 2.5]), array([1. , nan, 2.5]), (2, 2))
    >>> numbers("1, 2") is numbers(7) is numbers(["a"]) is numbers([]) is None
    True
    """
    if isinstance(cell, str):
        if not cell.lstrip().startswith("["):
            return None
        try:
            cell = json.loads(NOT_JSON.sub("null", cell))
        except ValueError:
            return None
    if not isinstance(cell, list | tuple | np.ndarray) or not len(cell):
        return None
    try:
        found: npt.NDArray[Any] | None = np.asarray(cell)
    except ValueError:  # lists of different lengths
        return None
    if found is not None and found.dtype.kind not in "iuf":
        found = with_missing(found)
    return None if found is None or found.ndim not in (1, 2) or not found.size else found.astype(np.float64)


def with_missing(cells: npt.NDArray[Any]) -> npt.NDArray[Any] | None:
    """Numbers among which None stands for a missing one; None where there is anything else."""
    if cells.dtype != object:
        return None
    if isinstance(cells.flat[0], np.ndarray):  # Parquet gives lists of lists as an array of arrays
        return rows_of_arrays(cells)
    if not all(
        one is None or (isinstance(one, int | float | np.number) and type(one) is not bool) for one in cells.flat
    ):
        return None
    return cells.astype(np.float64)  # None becomes NaN


def rows_of_arrays(cells: npt.NDArray[Any]) -> Values | None:
    """Arrays of one length as the rows of one."""
    try:
        found = np.stack([np.asarray(one, dtype=np.float64) for one in cells])
    except (TypeError, ValueError):
        return None
    return found if found.ndim == 2 and found.size else None


def mostly_numbers(column: Column[Any]) -> bool:
    """Whether more than half of the first hundred cells that are not missing are lists of numbers."""
    return share_of(column.dropna(), lambda cell: numbers(cell) is not None) > 0.5


def width(values: Values) -> int:
    """Channels."""
    return 1 if values.ndim == 1 else values.shape[1]


def level(cell: npt.NDArray[np.float64]) -> float:
    """The mean of what is known; NaN of nothing."""
    known = cell[np.isfinite(cell)]
    return float(known.mean()) if known.size else float("nan")


@CELLS.register("series")
class Series(Cells):
    """The past of a series up to the row's time, the newest value last: (T,), or (T, C) for C series side by side.

    Arrays (T, C) of NumPy look like images: say `kinds={"column": "series"}`, or give lists of lists.
    """

    measure: ClassVar[str] = "level"

    @classmethod
    def recognises(cls, filled: Column[Any]) -> bool:
        """Lists of numbers, in most cells; a list of lists is a series too, a NumPy array of two axes an image."""
        return mostly_numbers(filled)

    @classmethod
    def check(cls, column: Column[Any], faults: Faults) -> pd.Series:
        """Arrays of float64, None where there is no cell at all."""
        missing = column.isna().to_numpy()
        cells = [None if none else numbers(cell) for cell, none in zip(column, missing.tolist(), strict=True)]
        wrong = ~missing & np.array([cell is None for cell in cells], dtype=bool)
        faults.add(wrong, column.name, "a list of numbers", lambda row: shown(column.iloc[row]))
        beyond = np.array([cell is not None and bool((np.abs(cell) > LARGEST).any()) for cell in cells], dtype=bool)
        if faults.infinite == "raise" and beyond.any():
            raise DataError(
                f"row {int(beyond.argmax()) + faults.first}, column {column.name!r}: expected finite numbers, got "
                f"{shown(column.iloc[int(beyond.argmax())])}. Replace infinite values by missing ones."
            )
        faults.add(beyond, column.name, "a list of finite numbers", lambda row: shown(column.iloc[row]))
        widths = [width(cell) for cell in cells if cell is not None]
        usual = max(set(widths), key=widths.count) if widths else 1
        odd = np.array([cell is not None and width(cell) != usual for cell in cells], dtype=bool)
        faults.add(odd, column.name, f"{usual} series side by side", lambda row: f"{width(cells[row])}")  # type: ignore[arg-type]
        bad = wrong | beyond | odd
        kept = [None if out else cell for cell, out in zip(cells, bad.tolist(), strict=True)]
        return pd.Series(object_cells(kept), dtype=object)

    @classmethod
    def measured(cls, cells: Column[Any]) -> Column[Any]:
        """The means."""
        return each(cells, level)


@TARGETS.register("forecast")
class Futures(Target):
    """The next H values of a series, in order."""

    @classmethod
    def recognises(cls, filled: Column[Any]) -> bool:
        """Lists of numbers, in most cells."""
        return mostly_numbers(filled)

    @classmethod
    def check(cls, column: Column[Any], faults: Faults | None, typed: Mapping[str, Any], alone: bool) -> pd.Series:
        """Arrays (H,) of float64, H that of most rows; None where there is none. Some of the values may be missing."""
        cells = [numbers(cell) for cell in column]
        fine = [cell is not None and cell.ndim == 1 and not (np.abs(cell) > LARGEST).any() for cell in cells]
        lengths = [len(cell) for cell, good in zip(cells, fine, strict=True) if good and cell is not None]
        usual = max(set(lengths), key=lengths.count) if lengths else 0
        wrong = np.array(
            [
                not good or cell is None or len(cell) != usual or bool(np.isnan(cell).all())
                for cell, good in zip(cells, fine, strict=True)
            ],
            dtype=bool,
        )

        def got(row: int) -> str:
            cell = cells[row]
            return f"{len(cell)} of them" if cell is not None and len(cell) != usual else shown(column.iloc[row])

        if faults is not None:
            faults.add(wrong, column.name, f"a list of {usual or 'H'} finite numbers, the future of the row", got)
        kept = [None if out else cell for cell, out in zip(cells, wrong.tolist(), strict=True)]
        return pd.Series(object_cells(kept), dtype=object)
