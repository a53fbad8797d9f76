"""Columns that are no inputs: ids that were met before, and the way out when such a column is bad."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

if TYPE_CHECKING:
    from aet.schema import Schema

LIMIT = 1 << 20
"""Rows whose ids are remembered: 16 MB."""
MENDS = {
    "weight": "A weight is a finite number of 0 or more in every row: 2 counts it twice, 0 leaves it out. Write such "
    "numbers, name another column as the weight, or none.",
    "id": "An id is another value in each row. Name another column as the id, or none: rows are then counted.",
    "target": "Name another column as the target, say what it holds (output=...), or mend the rows.",
}


def role_mends(schema: Schema) -> dict[Any, str]:
    """By column: how to mend the target, the id or the weight. No kind of input would help there."""
    mends = {name: MENDS[role] for role, name in schema.roles.items() if role in MENDS}
    return mends | dict.fromkeys(schema.targets, MENDS["target"])


class SeenIds:
    """In which row each id of a table was met first, in bounded memory: of the last `limit` rows, 16 bytes each.

    An id that comes back after more rows than that is taken for a new one. Pieces of one file may be typed differently,
    so ids are compared as texts, 7 and 7.0 as "7", by a hash of 64 bits: among a million ids, two different ones have
    the same with a probability of 3e-8.

    >>> seen = SeenIds()
    >>> seen.first(pd.Series([7, 8, 7]), np.arange(3)).tolist()
    [0, 1, 0]
    >>> seen.first(pd.Series(["9", "8"]), np.arange(3, 5)).tolist()
    [3, 1]
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit = limit
        self.hashes: npt.NDArray[np.uint64] = np.empty(0, dtype=np.uint64)  # (S,), sorted
        self.rows: npt.NDArray[np.int64] = np.empty(0, dtype=np.int64)  # (S,)

    def first(self, ids: pd.Series, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """For each of the `ids` (N,), none missing, of ascending `rows` (N,): the row where it was met first."""
        texts = np.array([_text(cell) for cell in ids], dtype=object)
        hashes = np.concatenate([self.hashes, pd.util.hash_array(texts, categorize=False)])
        # Rows met earlier stand first, so the first place of a hash is that of its first row.
        self.hashes, places, back = np.unique(hashes, return_index=True, return_inverse=True)
        self.rows = np.concatenate([self.rows, rows])[places]
        origin: npt.NDArray[np.int64] = self.rows[back[len(back) - len(rows) :]]
        if len(rows) and len(self.rows) > self.limit:
            recent = self.rows > rows[-1] - self.limit
            self.hashes, self.rows = self.hashes[recent], self.rows[recent]
        return origin


def _text(cell: object) -> str:
    cell = cell.item() if isinstance(cell, np.generic) else cell
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)


def whole(column: pd.Series[Any]) -> Any:
    """Whole numbers that a missing cell, now gone, had turned into floats."""
    all_whole = column.dtype.kind == "f" and bool(np.equal(np.mod(column, 1), 0).all())
    return column.astype(np.int64) if all_whole else column
