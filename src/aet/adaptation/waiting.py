"""Answers of rows whose labels may come: the logits as they were served and, where it was asked, the source's."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from aet.adaptation.growing import SMALLEST
from aet.adaptation.sealed import OUT_OF_REACH, widened

ROOM = 4_000_000
"""Numbers that a side takes at most: of wide answers fewer rows wait."""
SIDES = ("served", "source")
NOT_ASKED, AS_SERVED, ITS_OWN = range(3)
"""What is known of the source's answer to a row."""


class Waiting:
    """At most `most` rows by id, in order of arrival; the oldest go first.

    Each has a place in blocks (S, width) that grow by half (why: `growing`); places of rows that left are used again.

    >>> waiting = Waiting(2)
    >>> waiting.add(["a", "b", "c"], 1, torch.zeros(3, 2), None)
    >>> list(waiting), waiting.take("b", 3), "b" in waiting
    (['b', 'c'], (2, {'served': tensor([     0.,      0., -10000.])}), False)
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._place: OrderedDict[Hashable, int] = OrderedDict()
        self._free: list[int] = []
        self._said: dict[str, Tensor] = {}
        self._widest = 0
        self._row, self._width, self._asked = np.empty((3, 0), np.int64)
        """Of each place: its row's number in the stream, how wide its logits were, and what is known of the source."""

    def __len__(self) -> int:
        return len(self._place)

    def __iter__(self) -> Iterator[Hashable]:
        return iter(self._place)

    def __contains__(self, known: Hashable) -> bool:
        return known in self._place

    def add(self, ids: Sequence[Hashable], first: int, served: Tensor, source: Tensor | None) -> None:
        """Rows of the stream from this number on were answered: logits (B, width)."""
        width, asked = served.shape[1], NOT_ASKED if source is None else AS_SERVED
        said = {"served": served}
        if source is not None and source is not served:
            asked, said["source"] = ITS_OWN, source
        self.most = min(self.most, max(1, ROOM // width))
        over = max(0, len(ids) - self.most)
        rows = len(ids) - over
        if not rows:
            return
        for known in ids:
            if known in self._place:
                self._free.append(self._place.pop(known))
        while len(self._place) > self.most - rows:
            self._free.append(self._place.popitem(last=False)[1])
        if rows > len(self._free) or width > self._widest or said.keys() - self._said.keys():
            self._make_room(rows, width, said)
        taken = [self._free.pop() for _ in range(rows)]
        places = slice(taken[0], taken[0] + 1) if rows == 1 else np.array(taken)
        self._row[places] = np.arange(first + over, first + len(ids))
        self._width[places], self._asked[places] = width, asked
        for side, logits in said.items():
            self._said[side][places, :width] = logits[over:].detach().float().cpu()
        self._place.update(zip(ids[over:], taken, strict=True))

    def _make_room(self, rows: int, width: int, sides: Iterable[str]) -> None:
        """Blocks with room for so many rows more, and for logits as wide as these; nothing changes if memory fails."""
        old, size = list(self._place.values()), len(self._place) + rows
        room = max(size, min(self.most, max(SMALLEST, size + size // 2)))
        wide = self._widest if width <= self._widest else width + (width // 8 if self._widest else 0)
        columns, said = np.zeros((3, room), np.int64), {}
        columns[:, : len(old)] = np.stack([self._row, self._width, self._asked])[:, old]
        with torch.inference_mode(False):  # a block that was made under it could not be written to outside
            for side in dict.fromkeys((*self._said, *sides)):
                said[side] = torch.zeros(room, wide)
                if side in self._said:
                    said[side][: len(old), : self._widest] = self._said[side][old]
        self._said, self._widest, (self._row, self._width, self._asked) = said, wide, columns
        self._place = OrderedDict((known, place) for place, known in enumerate(self._place))
        self._free = list(range(room - 1, len(old) - 1, -1))

    def _given(self, known: Hashable) -> dict[str, Tensor]:
        """The row's logits by side, views as wide as they were given; none for one that does not wait."""
        place = self._place.get(known)
        if place is None:
            return {}
        width, asked = self._width[place], self._asked[place]
        given = {"served": self._said["served"][place, :width]}
        if asked != NOT_ASKED:
            given["source"] = self._said["source"][place, :width] if asked == ITS_OWN else given["served"]
        return given

    def take(self, known: Hashable, width: int) -> tuple[int, dict[str, Tensor]]:
        """The number of a row that waits and its logits (width,) by side, once."""
        given = {side: widened(logits, width).clone() for side, logits in self._given(known).items()}
        place = self._place.pop(known)
        self._free.append(place)
        return int(self._row[place]), given

    def source(self, known: Hashable, width: int) -> Tensor | None:
        """What the source said; None where it was not asked, or knew fewer answers then."""
        logits = self._given(known).get("source")
        return logits.clone() if logits is not None and len(logits) == width else None

    def to_tensors(self, ids: Sequence[Hashable], width: int) -> dict[str, Tensor]:
        """Of these rows: number (N,), 0 for one that does not wait, and logits (N, width) by side, NaN where there are
        none.
        """
        here = [n for n, known in enumerate(ids) if known in self._place]
        places = np.array([self._place[ids[n]] for n in here], dtype=np.int64)
        told = {side: torch.full((len(ids), width), torch.nan) for side in SIDES}
        numbers = torch.zeros(len(ids), dtype=torch.int64)
        numbers[here] = torch.from_numpy(self._row[places])
        beyond = torch.arange(width) >= torch.from_numpy(self._width[places])[:, None]
        for side, asked in (("served", None), ("source", AS_SERVED), ("source", ITS_OWN)):
            block = self._said.get(side if asked == ITS_OWN else "served")
            some = np.arange(len(here)) if asked is None else np.flatnonzero(self._asked[places] == asked)
            if block is not None and len(some):
                said = widened(block[places[some], :width], width).masked_fill(beyond[some], OUT_OF_REACH)
                told[side][np.array(here)[some]] = said
        return {"row": numbers, **told}

    def load_tensors(self, ids: Sequence[Hashable], told: Mapping[str, Tensor]) -> None:
        """Take back what `to_tensors` gave for the same ids; nothing has waited before."""
        order = told["row"].argsort(stable=True)
        order = order[told["row"][order] > 0]
        if not len(order):
            return
        source = told["source"][order]
        none = source.isnan().all(1)
        self.add([ids[n] for n in order.tolist()], 1, told["served"][order], None if none.all() else source)
        order, none = order[-len(self) :], none[-len(self) :]
        alike = (told["served"][order] == told["source"][order]).all(1)
        places = list(self._place.values())
        self._row[places] = told["row"][order].numpy()
        self._asked[places] = np.where(none, NOT_ASKED, np.where(alike, AS_SERVED, ITS_OWN))
