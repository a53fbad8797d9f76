"""Ids that are remembered, the oldest forgotten beyond a limit: whole numbers beside each other share an entry.

A stream without ids of its own counts its rows, and would else spend some 200 bytes on each that it has dropped.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterable, Iterator

import numpy as np

TOGETHER = 64
"""Whole numbers that share an entry."""


class Ids:
    """A set of at most `limit` ids, give or take the entry that is forgotten as a whole.

    >>> ids = Ids(1000)
    >>> ids.update([7, 8, "a", 9.0])
    >>> ids.discard(8)
    >>> list(ids), len(ids), 9 in ids, 8 in ids
    (['a', 7, 9], 3, True, False)
    >>> ids.update(range(10_000))
    >>> len(ids) <= 1000, 9_999 in ids, "a" in ids
    (True, True, False)
    """

    def __init__(self, limit: int) -> None:
        self.limit, self._size = limit, 0
        self._marks: OrderedDict[Hashable, int] = OrderedDict()
        """By entry the ids that are in it, a bit each; that which an id came to last is the newest."""

    def __len__(self) -> int:
        return self._size

    def __contains__(self, known: Hashable) -> bool:
        entry, bit = place(known)
        return bool(self._marks.get(entry, 0) & bit)

    def __iter__(self) -> Iterator[Hashable]:
        for entry, marks in self._marks.items():
            if isinstance(entry, tuple):
                yield entry[0]
            else:
                assert isinstance(entry, int)
                yield from (entry * TOGETHER + i for i in range(TOGETHER) if marks >> i & 1)

    def update(self, ids: Iterable[Hashable]) -> None:
        """Remember these, the last longest."""
        for known in ids:
            entry, bit = place(known)
            marks = self._marks.get(entry, 0)
            self._size += not marks & bit
            self._marks[entry] = marks | bit
            self._marks.move_to_end(entry)
            while self._size > self.limit:
                self._size -= self._marks.popitem(last=False)[1].bit_count()

    def discard(self, known: Hashable) -> None:
        """Forget it, if it is known."""
        entry, bit = place(known)
        marks = self._marks.get(entry, 0)
        if marks & bit:
            self._size -= 1
            self._marks[entry] = marks & ~bit
            if marks == bit:
                del self._marks[entry]


def place(known: Hashable) -> tuple[Hashable, int]:
    """The entry of an id and its bit there; equal ids have the same.

    >>> place(65), place(65.0), place("x")
    ((1, 2), (1, 2), (('x',), 1))
    """
    if isinstance(known, np.number):
        known = known.item()
    if isinstance(known, float) and known.is_integer():
        known = int(known)
    if isinstance(known, int):
        return known // TOGETHER, 1 << known % TOGETHER
    return (known,), 1
