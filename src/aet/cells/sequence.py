"""Targets that are a text of the row's own: a translation, a summary, an answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from aet.cells.base import TARGETS, Column, Faults, Target, object_cells, showing
from aet.errors import DataError


@TARGETS.register("sequence")
class Texts(Target):
    """A text, where `output="sequence"` is said: any other text is a class."""

    one_value = False

    @classmethod
    def learnable(cls, frame: pd.DataFrame, targets: Sequence[str]) -> None:
        """Two texts or more."""
        column = frame[targets[0]]
        found = {text for cell in column if (text := written(cell)) is not None}
        if len(found) < 2:
            raise DataError(
                f"The target {targets[0]!r} has {len(found)} different texts: expected at least two, or there is "
                "nothing to learn. Add rows with other answers, or name another target."
            )

    @classmethod
    def check(cls, column: Column[Any], faults: Faults | None, typed: Mapping[str, Any], alone: bool) -> pd.Series:
        """Texts without white space at their ends, None where there is none."""
        cells = [written(cell) for cell in column]
        if faults is not None:
            wrong = np.array([cell is None for cell in cells], dtype=bool)
            faults.add(wrong, column.name, "a text as the answer", showing(column.array))
        return pd.Series(object_cells(cells), dtype=object)


def written(cell: object) -> str | None:
    """The text of a cell; None for what is none, or empty.

    >>> written(" Save as new\\n"), written("  "), written(7)
    ('Save as new', None, None)
    """
    return cell.strip() or None if isinstance(cell, str) else None
