"""Rows in the order a stream serves them, and what goes with them: parts, resets, when each label is known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from aet.errors import ConfigError, DataError

Rows = npt.NDArray[np.int64]
"""Positions of rows among those given, the parts one after the other."""


@dataclass(frozen=True)
class Scenario:
    """Rows in the order they come, (N), with what scoring and a method's owner know about them.

    frame: the rows. part: name of each row's part. origin: position of each row among the rows given. visit: how
    often the row came before. resets: positions before which a method starts afresh (beside the first row).
    """

    frame: pd.DataFrame
    part: npt.NDArray[np.object_]
    origin: Rows
    visit: Rows
    resets: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.frame)

    def segments(self) -> list[tuple[int, int]]:
        """Start and end of the stretches between resets."""
        edges = [0, *self.resets, len(self)]
        return [(start, end) for start, end in pairwise(edges) if end > start]

    def pieces(self, rows: int = 64) -> Iterator[tuple[int, int]]:
        """Start and end of batches of at most so many rows; none crosses a reset."""
        for start, end in self.segments():
            for first in range(start, end, rows):
                yield first, min(first + rows, end)

    def take(self, positions: Rows) -> Scenario:
        """Some of the rows, in their order; resets stay where they were among them."""
        resets = sorted({int(n) for n in np.searchsorted(positions, self.resets)} - {0, len(positions)})
        return Scenario(
            self.frame.iloc[positions].reset_index(drop=True),
            self.part[positions],
            self.origin[positions],
            self.visit[positions],
            tuple(resets),
        )

    def due(self, delay: int | str | float | pd.Timedelta, time: str | None = None) -> Rows:
        """For each row, how many rows are served before its label is known; N for a label that comes too late.

        `delay` counts rows, d_i = min(i + 1 + delay, N); or, with the name of a time column, is a span of time (a
        number, where the column holds numbers): d_i is the first j > i with t_j >= t_i + delay. Raises ConfigError
        for a negative delay, DataError where times are missing or go back.
        """
        count, after = len(self), np.arange(1, len(self) + 1)
        if time is None:
            if not isinstance(delay, int) or delay < 0:
                raise ConfigError(f"delay is a number of rows, 0 or more, or a span with time=COLUMN; got {delay!r}.")
            return np.minimum(after + delay, count).astype(np.int64)
        clock, span = clock_of(self.frame, time), span_of(delay, self.frame, time)
        found: Rows = np.searchsorted(clock, clock + span, side="left")
        return np.maximum(found, after)


def clock_of(frame: pd.DataFrame, time: str) -> npt.NDArray[Any]:
    """The times of a column, which must not go back."""
    if time not in frame:
        raise DataError(f"There is no time column {time!r}. The rows have {', '.join(map(repr, frame.columns))}.")
    values = frame[time]
    if not pd.api.types.is_numeric_dtype(values):
        values = pd.to_datetime(values)
    if values.isna().any() or not values.is_monotonic_increasing:
        raise DataError(
            f"Labels are delayed by {time!r} only where it is known and never goes back; here it is missing or goes "
            "back. Use the stream 'as_filed' of rows in time order, or a delay in rows."
        )
    return values.to_numpy()


def span_of(delay: Any, frame: pd.DataFrame, time: str) -> Any:
    """A delay in the unit of a time column."""
    if pd.api.types.is_numeric_dtype(frame[time]):
        fits = isinstance(delay, int | float) and 0 <= delay < float("inf")
        span = delay
    else:
        try:
            span = pd.Timedelta(delay)
        except ValueError:
            span = pd.NaT
        fits = not isinstance(delay, int | float) and span >= pd.Timedelta(0)
        span = span.to_numpy() if fits else span
    if not fits:
        raise ConfigError(
            f"A delay by {time!r} is a span of 0 or more in its unit, such as '30D' for dates; got {delay!r}."
        )
    return span
