"""Cells that hold the words of a sentence, or a tag for each: lists of texts, told from other cells and checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from aet.cells.base import CELLS, TARGETS, Cells, Faults, Target, each, object_cells, share_of, shown

MOST = 128
"""Words of a row at most: a longer one is cut into sentences by whoever knows where they end."""


def is_words(cell: object) -> bool:
    """Whether a cell is a list of texts, as JSON lines, Parquet and pandas give it.

    >>> is_words(["EU", "rejects"]), is_words(("EU",)), is_words("EU rejects"), is_words([1.5]), is_words([])
    (True, True, False, False, False)
    """
    listed = isinstance(cell, list | tuple) or (isinstance(cell, np.ndarray) and cell.ndim == 1)
    return listed and len(cell) > 0 and all(isinstance(word, str) for word in cell)  # type: ignore[arg-type, attr-defined]


def mostly_words(column: pd.Series[Any]) -> bool:
    """Whether more than half of the first hundred cells that are not missing are lists of texts."""
    return share_of(column.dropna(), is_words) > 0.5


def listed(cell: object) -> list[str] | None:
    """The words of a cell, a text cut at its blanks; None if it is neither a text nor a list of texts.

    >>> listed("EU rejects"), listed(["EU", "rejects German"]), listed(3)
    (['EU', 'rejects'], ['EU', 'rejects German'], None)
    """
    if isinstance(cell, str):
        return cell.split()
    return [str(word) for word in cell] if is_words(cell) else None  # type: ignore[attr-defined]


def objects(cells: Sequence[Any]) -> pd.Series:
    """One list a row: pandas must not take equal lengths for a table."""
    return pd.Series(object_cells(cells), dtype=object)


@CELLS.register("words")
class Words(Cells):
    """Lists of 1 to `MOST` words."""

    by_itself = False
    measure = "length"

    @classmethod
    def recognises(cls, filled: pd.Series[Any]) -> bool:
        """Lists of texts, in most cells."""
        return mostly_words(filled)

    @classmethod
    def check(cls, column: pd.Series[Any], faults: Faults) -> pd.Series:
        """Lists of texts, None where there is none."""
        cells = [listed(cell) for cell in column]
        wrong: npt.NDArray[np.bool_] = np.array([not cell or len(cell) > MOST for cell in cells], dtype=bool)

        def got(row: int) -> str:
            cell = cells[row]
            return shown(column.iloc[row]) if not cell else f"{len(cell)} words. Cut it into sentences"

        faults.add(wrong, column.name, f"a list of 1 to {MOST} words", got)
        return objects(cells)

    @classmethod
    def measured(cls, cells: pd.Series[Any]) -> pd.Series[Any]:
        """Words."""
        return each(cells, len)


@TARGETS.register("tags")
class Tags(Target):
    """A tag for each word of the input of words."""

    reads = "words"
    one_value = False

    @classmethod
    def recognises(cls, filled: pd.Series[Any]) -> bool:
        """Lists of texts, in most cells."""
        return mostly_words(filled)

    @classmethod
    def check(cls, column: pd.Series[Any], faults: Faults | None, typed: Mapping[str, Any], alone: bool) -> pd.Series:
        """Lists of as many tags as there are words."""
        return tag_cells(column, typed["words"], faults)


def tag_cells(column: pd.Series[Any], words: pd.Series[Any], faults: Faults | None) -> pd.Series:
    """Lists of as many tags as there are words; None where it is another number, a fault where tags are needed."""
    cells = [listed(cell) for cell in column]
    known = [word_list or [] for word_list in words]
    wrong = np.array([not tags or len(tags) != len(w) for tags, w in zip(cells, known, strict=True)], dtype=bool)

    def got(row: int) -> str:
        tags = cells[row]
        return f"{len(tags)} tags for {len(known[row])} words" if tags else shown(column.iloc[row])

    if faults is not None:  # rows without words are faults already
        faults.add(wrong & np.array([bool(w) for w in known], dtype=bool), column.name, "one tag a word", got)
    return objects([None if bad else tags for tags, bad in zip(cells, wrong.tolist(), strict=True)])
