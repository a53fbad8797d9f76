"""Rows kept for late labels: a bounded store of encoded rows by id, asked ones kept longest."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from aet.adaptation.growing import Growing
from aet.adaptation.ids import Ids
from aet.batch import Batch
from aet.errors import FeedbackError, ForgottenRow

REMEMBERED = 8
"""Ids of dropped and of labelled rows are remembered for this many times the rows kept ..."""

LEAST = 8192
"""... and at least this many of them."""


class KeptRows:
    """At most `keep` rows. Ids are those of the table or a counter; a new row takes over an id seen before."""

    def __init__(self, keep: int) -> None:
        self.keep = keep
        self.ids: list[Hashable] = []
        self._weights = Growing[npt.NDArray[np.float64]](np.empty)
        self._looked = Growing[npt.NDArray[np.bool_]](lambda count: np.empty(count, dtype=bool))
        self._calls = Growing[npt.NDArray[np.int64]](lambda count: np.empty(count, dtype=np.int64))
        self._values: dict[str, Growing[Tensor]] = {}
        self.place: dict[Hashable, int] = {}
        memory = max(REMEMBERED * keep, LEAST)
        self.gone, self.labelled = Ids(memory), Ids(memory)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def weights(self) -> npt.NDArray[np.float64]:
        """Weight with which a row was asked, 0 if its label is to teach alone; NaN if it was not."""
        return self._weights.values

    @property
    def looked(self) -> npt.NDArray[np.bool_]:
        """Rows that a draw has looked at; to be written to."""
        return self._looked.values

    @property
    def calls(self) -> npt.NDArray[np.int64]:
        """Number of the call that each row came with."""
        return self._calls.values

    @property
    def batch(self) -> Batch:
        """All kept rows, in order of arrival."""
        return Batch({name: rows.values for name, rows in self._values.items()})

    def add(self, batch: Batch, ids: Sequence[Hashable], calls: npt.NDArray[np.int64] | None = None) -> None:
        """Take rows in and drop the oldest over the limit. `calls` tells apart the rows (N,) of different calls: by
        default they came with one.
        """
        if not len(batch) or self.keep == 0:
            self.gone.update(ids)
            return
        returned = [self.place[i] for i in ids if i in self.place]
        for name, rows in batch.values.items():
            if name not in self._values:
                self._values[name] = Growing(partial(like, rows[:0].clone()))
        for held in self._values.values():  # all of them, before any has a row more
            held.make_room(len(ids))
        for name, rows in batch.values.items():
            self._values[name].add(rows, len(ids))
        self.ids += list(ids)
        self._weights.add(np.nan, len(ids))
        self._looked.add(False, len(ids))
        first = int(self.calls[-1]) + 1 if len(self.calls) else 0
        self._calls.add(first if calls is None else first + calls, len(ids))
        for known in ids if self.labelled or self.gone else ():
            self.labelled.discard(known)
            self.gone.discard(known)
        if returned or len(self.ids) > self.keep + min(self.keep, 1024):
            self.trim(returned)
        else:
            self.place.update({i: len(self.ids) - len(ids) + n for n, i in enumerate(ids)})

    def trim(self, drop: Sequence[int] = ()) -> None:
        """Drop `drop`, then the oldest rows over the limit: those not asked first."""
        stay = np.ones(len(self.ids), dtype=bool)
        stay[list(drop)] = False
        over = int(stay.sum()) - self.keep
        if over > 0:
            asked = ~np.isnan(self.weights)
            order = np.lexsort((np.arange(len(self.ids)), asked))  # not asked first, oldest first
            stay[order[stay[order]][:over]] = False
        replaced = set(drop)
        lost = [self.ids[i] for i in np.flatnonzero(~stay) if int(i) not in replaced]
        self.gone.update(lost)
        self.select(stay)

    def select(self, stay: np.ndarray) -> None:
        """Keep these rows only."""
        rows = torch.from_numpy(np.flatnonzero(stay))
        with torch.inference_mode(False):  # all are made before any is replaced
            values = {name: held.values[rows] for name, held in self._values.items()}
        for name, held in self._values.items():
            held.values = values[name]
        self.ids = [self.ids[i] for i in rows.tolist()]
        self._weights.values, self._looked.values = self.weights[stay], self.looked[stay]
        self._calls.values = self.calls[stay]
        self.place = {known: position for position, known in enumerate(self.ids)}

    def mark_asked(self, positions: np.ndarray, weights: np.ndarray) -> None:
        """These rows were drawn with these weights."""
        self.weights[positions] = weights

    def take(
        self, ids: Sequence[Hashable], check: Callable[[Batch], None] = lambda rows: None
    ) -> tuple[Batch, np.ndarray]:
        """Rows and weights for late labels; they leave the store. Raises, as `check` may, before anything changes."""
        positions, rows = self.awaited(ids, check)
        weights = self.weights[positions]
        stay = np.ones(len(self.ids), dtype=bool)
        stay[positions] = False
        self.select(stay)
        self.labelled.update(ids)
        return rows, weights

    def awaited(
        self, ids: Sequence[Hashable], check: Callable[[Batch], None] = lambda rows: None
    ) -> tuple[npt.NDArray[np.int64], Batch]:
        """Places and rows, all of which are kept and have no label: else FeedbackError, or ForgottenRow for one that
        was served. Nothing changes.
        """
        seen: set[Hashable] = set()
        for known in ids:
            if known in seen or known in self.labelled:
                raise FeedbackError(f"Row {known!r} already has a label. Each row takes one; leave the second out.")
            seen.add(known)
            if known in self.gone:
                raise ForgottenRow(
                    f"Row {known!r} was served but is no longer kept: the last {self.keep:,} rows are. "
                    "Give labels sooner, or open the stream with a larger keep."
                )
            if known not in self.place:
                raise FeedbackError(
                    f"No row with the id {known!r} was served by this stream, or it was too long ago. Ids are those "
                    "in the `id` column of its answers."
                )
        positions = np.array([self.place[known] for known in ids], dtype=np.int64)
        rows = self.batch[torch.from_numpy(positions)]
        check(rows)
        return positions, rows


def like(rows: Tensor, count: int) -> Tensor:
    """Room for so many rows as these."""
    with torch.inference_mode(False):  # what is made under it cannot be written to outside
        return rows.new_empty(count, *rows.shape[1:])
