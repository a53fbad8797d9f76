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
        return self.newest(len(self))

    @values.setter
    def values(self, rows: Block) -> None:
        """These alone; the block is taken over."""
        self._block, self._size = rows, len(rows)

    def newest(self, count: int) -> Block:
        """The last so many rows that are still here: of a call of more than `most`, all until the next."""
        return cast(Block, self._block[max(0, self._size - count) : self._size])

    def make_room(self, count: int) -> None:
        """For so many more; nothing changes if memory fails."""
        if self._size + count > len(self._block):
            before = self.values
            room = len(before) + count
            block: Any = self.empty(max(SMALLEST, room + room // 2))
            block[: len(before)] = before
            self._block, self._size = block, len(before)

    def add(self, rows: Block | float, count: int) -> None:
        """So many more: these (count, ...), or one number for all."""
        self.make_room(count)
        block: Any = self._block
        block[self._size : self._size + count] = rows
        self._size += count
