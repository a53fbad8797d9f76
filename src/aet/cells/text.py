"""Texts, and categories: texts that are written in one way."""

from __future__ import annotations

import datetime
import decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from aet.cells.base import CELLS, Cells, Column, Faults, distinct, each, showing
from aet.cells.number import MARKERS, NUMBER


@CELLS.register("category")
class Categories(Cells):
    """One of some texts, numbers, flags or dates."""

    plain = True

    @classmethod
    def check(cls, column: Column[Any], faults: Faults) -> Column[Any]:
        """Texts or None; numbers written in one way."""
        return text_cells(column, faults, category=True)

    @classmethod
    def measured(cls, cells: Column[Any]) -> Column[Any]:
        """As text."""
        return cells.astype(object).map(str, na_action="ignore")


@CELLS.register("text")
class Texts(Cells):
    """Sentences."""

    measure = "length"

    @classmethod
    def check(cls, column: Column[Any], faults: Faults) -> Column[Any]:
        """Texts or None."""
        return text_cells(column, faults, category=False)

    @classmethod
    def measured(cls, cells: Column[Any]) -> Column[Any]:
        """Characters."""
        return each(cells, lambda cell: len(str(cell)))


def text_cells(column: Column[Any], faults: Faults, *, category: bool) -> Column[Any]:
    """Texts or None; of categories in one way of writing."""
    codes, cells = distinct(column)
    words = np.array([*(_word(cell, category) for cell in cells), None], dtype=object)
    wrong = np.array([word is False for word in words], dtype=bool)[codes]
    faults.add(wrong, column.name, "a category" if category else "a text", showing(column.array))
    return pd.Series(words[codes], dtype=object)  # pandas 3 would make strings of its own, without None


def _word(cell: object, category: bool) -> str | bool | None:
    """The one way of writing a cell; None if missing, False if it is no text, number, flag or date."""
    if isinstance(cell, str):
        text = cell.strip()
        if text in MARKERS:
            return None
        if not category:
            return cell
        if text.lower() in ("true", "false"):
            return text.capitalize()
        if not NUMBER.fullmatch(text):
            return text
        cell = int(text) if text.lstrip("+-").isdecimal() else float(text)
    cell = cell.item() if isinstance(cell, np.generic) else cell
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return str(cell) if isinstance(cell, int | float | decimal.Decimal | datetime.date | Path) else False
