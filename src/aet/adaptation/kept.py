"""Rows kept for late labels: a bounded store of encoded rows by id, asked ones kept longest."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from aet.adaptation.growing import Growing
from aet.adaptation.ids import Ids
from aet.adaptation.serving import BLOCK
from aet.batch import Batch
from aet.errors import FeedbackError, ForgottenRow

REMEMBERED = 8
"""Ids of dropped and of labelled rows are remembered for this many times the rows kept ..."""

LEAST = 8192
"""... and at least this many of them."""

BESIDE = 4096
"""Of rows that left with their labels it stays known what was said to them, for those beside: so many of the newest."""


class Among(NamedTuple):
    """Rows among those that came with them."""

    rows: Batch
    """Those that are kept (K)."""
    said: Tensor
    """Logits of those that left with their labels, from before they taught anything (G, width)."""
    order: npt.NDArray[np.int64]
    """Which of these K + G came first, second, ..."""
    sizes: list[int]
    """How many of them came with each call."""
    where: npt.NDArray[np.int64]
    """Where, in that order, those are that are meant."""


class KeptRows:
    """At most `keep` rows. Ids are those of the table or a counter; a new row takes over an id seen before."""

    def __init__(self, keep: int) -> None:
        self.keep = keep
        self.ids: list[Hashable] = []
        self._weights = Growing[npt.NDArray[np.float64]](np.empty)
        self._looked = Growing[npt.NDArray[np.bool_]](lambda count: np.empty(count, dtype=bool))
        self._came, self._came_beside = (Growing[npt.NDArray[np.int64]](came_empty, most) for most in (None, BESIDE))
        self._beside: Growing[Tensor] | None = None
        self._values: dict[str, Growing[Tensor]] = {}
        self._call = 0
        self.place: dict[Hashable, int] = {}
        memory = max(REMEMBERED * keep, LEAST)
        self.gone, self.labelled = Ids(memory), Ids(memory)
        self.coming: set[Hashable] = set()
        """Rows whose labels were given and wait to be learned: nobody needs to be asked for them."""

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
    def came(self) -> npt.NDArray[np.int64]:
        """Number of the call that each row came with, and its place there (N, 2)."""
        return self._came.values

    @property
    def batch(self) -> Batch:
        """All kept rows, in order of arrival."""
        return Batch({name: rows.values for name, rows in self._values.items()})

    def add(self, batch: Batch, ids: Sequence[Hashable], came: npt.NDArray[np.int64] | None = None) -> None:
        """Take rows in and drop the oldest over the limit. By default they came with one call; else `came` (N, 2) says
        with which, numbered from 0 on, and at which place.
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
        came = alone(len(ids))[:, ::-1] if came is None else came
        self._came.add(came + np.array([self._call, 0]), len(ids))
        self._call += 1 + int(came[:, 0].max())
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
        self._came.values = self.came[stay]
        self.place = {known: position for position, known in enumerate(self.ids)}

    def among(self, positions: npt.NDArray[np.int64]) -> Among:
        """Rows that came with those at `positions`: those of their blocks of `BLOCK` rows, and of the ones before,
        that are still known.
        """
        said, came_left = self.beside
        came, kept = np.concatenate([self.came, came_left]), len(self)
        block = came[:, 0] << 32 | came[:, 1] // BLOCK
        wanted = block[positions]
        here = np.flatnonzero(np.isin(block, np.concatenate([wanted, wanted - 1])))
        order = np.lexsort((came[here, 1], came[here, 0]))
        sizes = np.unique(came[here, 0], return_counts=True)[1].tolist()
        where = np.empty(len(came), np.int64)
        where[here[order]] = np.arange(len(here))
        batch = self.batch[torch.from_numpy(here[here < kept])]
        return Among(batch, said[here[here >= kept] - kept], order, sizes, where[positions])

    def mark_asked(self, positions: np.ndarray, weights: np.ndarray) -> None:
        """These rows were drawn with these weights."""
        self.weights[positions] = weights

    def take(self, ids: Sequence[Hashable]) -> tuple[Batch, np.ndarray]:
        """Rows and weights for late labels; they leave the store. Raises what `awaited` does, and nothing changes."""
        positions, rows = self.awaited(ids)
        return rows, self.leave(positions)

    def leave(self, positions: npt.NDArray[np.int64], said: Tensor | None = None) -> npt.NDArray[np.float64]:
        """The rows at these positions have their labels: they leave the store. Their weights. What was `said` to them
        (N, width) stays for those beside them.
        """
        weights, stay = self.weights[positions], np.ones(len(self.ids), dtype=bool)
        if said is not None:
            self.leave_beside(said, self.came[positions])
        self.labelled.update(self.ids[i] for i in positions)
        stay[positions] = False
        self.select(stay)
        return weights

    @property
    def beside(self) -> tuple[Tensor, npt.NDArray[np.int64]]:
        """Of the newest rows that left with their labels: what was said to them, and as `came` with which call."""
        said = torch.empty(0, 0) if self._beside is None else self._beside.values
        return said, self._came_beside.values

    def leave_beside(self, said: Tensor, came: npt.NDArray[np.int64]) -> None:
        """Rows that are not kept any more still stand beside those that came with them; of logits of another width
        nothing stays.
        """
        if self._beside is None or self._beside.values.shape[1] != said.shape[1]:
            self._beside = Growing(partial(like, said[:0].clone()), BESIDE)
            self._came_beside = Growing(came_empty, BESIDE)
        self._beside.add(said, len(came))
        self._came_beside.add(came, len(came))
        self._call = max(self._call, 1 + int(came[:, 0].max()))

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
                    f"Row {known!r} was served but is no longer kept: the last {self.keep:,} rows are, and of a stream "
                    "that was saved those from before only with save(..., rows=True). Give labels sooner, or open the "
                    "stream with a larger keep."
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


def came_empty(count: int) -> npt.NDArray[np.int64]:
    """Room for the calls and places of so many rows."""
    return np.empty((count, 2), np.int64)


def alone(rows: int) -> npt.NDArray[np.int64]:
    """Each with a call of its own."""
    return np.stack([np.arange(rows), np.zeros(rows, np.int64)], 1)


def like(rows: Tensor, count: int) -> Tensor:
    """Room for so many rows as these."""
    with torch.inference_mode(False):  # what is made under it cannot be written to outside
        return rows.new_empty(count, *rows.shape[1:])
