"""A uniform sample of the rows that a stream has seen, for its report: reservoir sampling (Vitter 1985), in blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from aet.adaptation.growing import SMALLEST
from aet.schema import Schema
from aet.statistics import measured

SAMPLE = 2048


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
        self.kinds = columns_of(schema)
        self._held = [np.empty((0, len(names)), dtype) for names, dtype in self.kinds]
        """Cells by kind (room, columns), written in place: a table a row is slow to make and to join."""

    def saw(self, frame: pd.DataFrame) -> None:
        """Rows (n, columns) as checked."""
        saw([self], frame, [len(frame)])

    def drawn(self, rows: int) -> npt.NDArray[np.int64]:
        """For each of the next rows (n,) its place in the sample, `SAMPLE` or more if it is not in it."""
        room = max(0, min(rows, SAMPLE - self.seen))
        first, self.seen = self.seen, self.seen + rows
        if room == rows:
            return np.arange(first, first + rows)
        later = self._rng.integers(0, first + room + 1 + np.arange(rows - room))
        return np.concatenate([first + np.arange(room), later])

    def take(self, cells: Sequence[npt.NDArray[Any]], places: npt.NDArray[np.int64]) -> None:
        """Measured cells by kind (n, columns) for these places (n,); a later row takes a place over."""
        need = int(places.max(initial=-1)) + 1
        for kind, fresh in enumerate(cells):
            held = self._held[kind]
            if need > len(held):
                room = min(SAMPLE, max(SMALLEST, 2 * need))
                self._held[kind] = np.full((room, held.shape[1]), np.nan, held.dtype)
                self._held[kind][: len(held)] = held
            self._held[kind][places] = fresh

    @property
    def rows(self) -> pd.DataFrame | None:
        """The sample; None if nothing was seen."""
        if not self.seen:
            return None
        size, held = min(self.seen, SAMPLE), zip(self._held, self.kinds, strict=True)
        parts = [pd.DataFrame(cells[:size], columns=names) for cells, (names, _) in held]
        return pd.concat(parts, axis=1)[[name for spec in self.schema.inputs for name in spec.columns]]


def columns_of(schema: Schema) -> list[tuple[list[str], npt.DTypeLike]]:
    """Columns that are measured as numbers, and those as texts, if there are any."""
    names: tuple[list[str], list[str]] = [], []
    for spec in schema.inputs:
        names[spec.kind == "category"].extend(spec.columns)
    return [(own, dtype) for own, dtype in zip(names, (np.float64, object), strict=True) if own]


def saw(samples: Sequence[Sampled], frame: pd.DataFrame, rows: Sequence[int]) -> None:
    """Rows of several streams of one schema, the first `rows[0]` of the first, and so on.

    What is wanted is measured now, once: the files that cells name may be gone by the time of the report.
    """
    places = [sample.drawn(count) for sample, count in zip(samples, rows, strict=True)]
    wanted = np.concatenate(places) < SAMPLE
    if not wanted.any():
        return
    kinds, start = samples[0].kinds, 0
    block = measured(frame if wanted.all() else frame.iloc[np.flatnonzero(wanted)], samples[0].schema)
    # Columns are not picked where all are of a kind: that takes as long as a tenth of a forward pass.
    cells = [(block[names] if len(kinds) > 1 else block).to_numpy(dtype) for names, dtype in kinds]
    for sample, each in zip(samples, places, strict=True):
        own = each[each < SAMPLE]
        sample.take([part[start : start + len(own)] for part in cells], own)
        start += len(own)
