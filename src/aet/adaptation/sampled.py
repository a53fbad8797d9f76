"""A uniform sample of the rows that a stream has seen, for its report: reservoir sampling (Vitter 1985), in blocks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from aet.schema import Schema
from aet.statistics import measured

SAMPLE = 2048
WAITING = 64
"""Blocks that wait before they are brought together: a table is slow to make, and streams may come row by row."""


class Sampled:
    """What was measured on at most `SAMPLE` of the rows seen, each as likely to be among them as any other.

    >>> from aet.schema import InputSpec
    >>> sampled = Sampled(Schema((InputSpec("a", "number", ("a",)),), ("y",), "label"))
    >>> for row in range(3000):
    ...     sampled.saw(pd.DataFrame({"a": [row]}))
    >>> len(sampled.rows), bool(sampled.rows["a"].mean() > 1000)
    (2048, True)
    """

    def __init__(self, schema: Schema, seed: int = 0) -> None:
        self.schema, self.seen = schema, 0
        self._rng = np.random.default_rng(seed)
        self._rows: pd.DataFrame | None = None
        self._waiting: list[tuple[pd.DataFrame, slice, npt.NDArray[np.int64]]] = []

    def saw(self, frame: pd.DataFrame) -> None:
        """Rows (n, columns) as checked."""
        saw([self], frame, [len(frame)])

    def drawn(self, rows: int) -> npt.NDArray[np.int64]:
        """For each of the next rows (n,) its place in the sample, `SAMPLE` or more if it is not in it."""
        room = max(0, min(rows, SAMPLE - self.seen))
        first, self.seen = self.seen, self.seen + rows
        later = self._rng.integers(0, first + room + 1 + np.arange(rows - room)) if rows > room else np.empty(0, int)
        return np.concatenate([first + np.arange(room), later])

    def take(self, block: pd.DataFrame, rows: slice, places: npt.NDArray[np.int64]) -> None:
        """Measured rows of a block for these places (n,)."""
        if len(places):
            self._waiting.append((block, rows, places))
            if len(self._waiting) > WAITING:
                self._settle()

    @property
    def rows(self) -> pd.DataFrame | None:
        """The sample; None if nothing was seen."""
        self._settle()
        return self._rows

    def _settle(self) -> None:
        if not self._waiting:
            return
        before = [] if self._rows is None else [self._rows]
        known = len(before[0]) if before else 0
        joined = pd.concat([*before, *(block.iloc[rows] for block, rows, _ in self._waiting)], ignore_index=True)
        places = np.concatenate([np.arange(known), *(places for *_, places in self._waiting)])
        source = np.empty(int(places.max()) + 1, dtype=np.int64)
        source[places] = np.arange(len(places))  # a later row takes the place over
        self._rows, self._waiting = joined.iloc[source].reset_index(drop=True), []


def saw(samples: Sequence[Sampled], frame: pd.DataFrame, rows: Sequence[int]) -> None:
    """Rows of several streams of one schema, the first `rows[0]` of the first, and so on.

    What is wanted is measured now, once: the files that cells name may be gone by the time of the report.
    """
    places = [sample.drawn(count) for sample, count in zip(samples, rows, strict=True)]
    wanted = [each < SAMPLE for each in places]
    chosen = np.flatnonzero(np.concatenate(wanted))
    if not len(chosen):
        return
    block, stop = measured(frame if len(chosen) == len(frame) else frame.iloc[chosen], samples[0].schema), 0
    for sample, each, stay in zip(samples, places, wanted, strict=True):
        start, stop = stop, stop + int(stay.sum())
        sample.take(block, slice(start, stop), each[stay])
