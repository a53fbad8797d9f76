"""Rows that come one by one, in one block of memory that grows by half when it is full.

A block for each row, or a new one as large as all rows for each row, is slow, and small blocks that stay between the
large ones of passes keep memory from going back to the system (docs/lab/serving.md).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar, cast

import numpy.typing as npt
from torch import Tensor

SMALLEST = 16
"""Rows that the first block has room for."""
Block = TypeVar("Block", bound="npt.NDArray[Any] | Tensor")


class Growing(Generic[Block]):
    """Rows in order of arrival; with `most`, the newest of them. `empty` makes a block of so many rows.

    >>> import numpy as np
    >>> seen = Growing(np.empty, most=3)
    >>> for number in range(5):
    ...     seen.add(number, 1)
    >>> seen.values
    array([2., 3., 4.])
    """

    def __init__(self, empty: Callable[[int], Block], most: int | None = None) -> None:
        self.empty, self.most, self._size = empty, most, 0
        self._block = empty(0)

    def __len__(self) -> int:
        return self._size if self.most is None else min(self._size, self.most)

    @property
    def values(self) -> Block:
        """The rows (n, ...), not a copy."""
        return cast(Block, self._block[self._size - len(self) : self._size])

    @values.setter
    def values(self, rows: Block) -> None:
        """These alone; the block is taken over."""
        self._block, self._size = rows, len(rows)

    def add(self, rows: Block | float, count: int) -> None:
        """So many more: these (count, ...), or one number for all."""
        if self._size + count > len(self._block):
            before = self.values
            room = len(before) + count
            self._block = self.empty(max(SMALLEST, room + room // 2))
            self._put(before, 0, len(before))
        self._put(rows, self._size, count)

    def _put(self, rows: Any, start: int, count: int) -> None:
        self._block[start : start + count] = rows
        self._size = start + count
