"""Rows as they travel: JSON objects in, a frame for the model; answers out, JSON objects again."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from aet.adaptation.together import Given
from aet.cells import CELLS, object_cells
from aet.plain_rows import named
from aet.schema import Schema

Row = Mapping[str, Any]
PLAIN = frozenset((str, int, bool))
"""What JSON takes as it is."""


def known_columns(schema: Schema) -> list[str]:
    """Columns that a row may bring: what the model reads, and the roles."""
    return [*schema.input_columns, *schema.roles.values()]


def frame_of(schema: Schema, rows: Sequence[Row]) -> pd.DataFrame:
    """Rows as a frame; a column that some of them lack is missing there.

    Raises DataError for cells that name a file: no path of a request is opened (`Cells.sent`).
    """
    kinds, came = {c: spec.kind for spec in schema.inputs for c in spec.columns}, set().union(*rows)
    # In the model's order, which spares putting them into it.
    columns = [*(c for c in kinds if c in came), *sorted(came.difference(kinds))]
    if all(kinds.get(column) == "number" for column in columns):
        try:
            whole = np.array([[row.get(column) for column in columns] for row in rows])
        except (ValueError, OverflowError):  # lists, or whole numbers beyond every float: cell by cell
            whole = np.empty(0, dtype=object)
        if whole.dtype.kind in "fiu":  # one block is made and read much faster than many columns
            return pd.DataFrame(whole.astype(np.float64), columns=named(tuple(columns)))
    made = {c: cells(c, [row.get(c) for row in rows], kinds.get(c, "")) for c in columns}
    # As objects: pandas would make strings of texts, and half a surrogate pair in one of them is no string to it.
    return pd.DataFrame({c: pd.Series(given, dtype=given.dtype) for c, given in made.items()}, index=range(len(rows)))


def cells(column: str, values: list[Any], kind: str) -> Any:
    """One column: plain numbers as an array, all else as objects."""
    if kind == "number" and all(type(value) is float or type(value) is int for value in values):
        try:
            return np.array(values, dtype=np.float64)
        except OverflowError:  # a whole number beyond every float: a problem of its row
            return object_cells(values)
    return object_cells([CELLS[kind].sent(column, value) for value in values] if kind else values)


def records(frame: pd.DataFrame, without: str = "") -> list[dict[str, Any]]:
    """Answers as JSON objects, `without` one of the columns; what is missing or not finite is null.

    >>> records(pd.DataFrame({"id": [0], "confidence": [float("nan")]}))
    [{'id': 0, 'confidence': None}]
    """
    return by_row({str(name): frame[name] for name in frame if name != without})


def said(given: Given, without: str = "") -> list[dict[str, Any]]:
    """`records` of the answers of a call, for which no table is made where every row has one."""
    if given.checked.problems:
        return records(given.frame(), without)
    nothing = [None] * len(given.ids)
    columns = {"id": given.ids, **given.columns, "problem": nothing}
    return by_row({name: nothing if cells is None else cells for name, cells in columns.items() if name != without})


def by_row(columns: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Columns (N,) as N JSON objects."""
    cells = [list(plain_cells(column)) for column in columns.values()]
    return [dict(zip(columns, row, strict=True)) for row in zip(*cells, strict=True)]


def plain_cells(column: Any) -> Sequence[Any]:
    """A column (N,) as JSON knows its cells."""
    values: list[Any] = column if isinstance(column, list) else column.tolist()
    return [value if value is None or type(value) in PLAIN else plain_cell(value) for value in values]


def plain_cell(value: Any) -> Any:
    """A cell as JSON knows it."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain_cell(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain_cell(inner) for inner in value]
    return plain_cell(value.tolist()) if hasattr(value, "tolist") else None if pd.isna(value) else str(value)
