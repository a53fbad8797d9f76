"""Answers of rows whose labels may come: the logits as they were served and, where it was asked, the source's."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from aet.adaptation.growing import SMALLEST
from aet.adaptation.sealed import OUT_OF_REACH, widened

SIDES = ("served", "source")
NOT_ASKED, AS_SERVED, ITS_OWN = range(3)
"""What is known of the source's answer to a row."""


class Waiting:
    """Of the newest `most` rows those whose labels have not come, by id, in order of arrival.

    Row n of the stream has place n mod S in blocks (S, width), which double up to S = `most` (why: `growing`).

    >>> waiting = Waiting(2)
    >>> waiting.add(["a", "b", "c"], 1, torch.zeros(3, 2), None)
    >>> list(waiting), waiting.take("b", 3), "b" in waiting
    (['b', 'c'], (2, {'served': tensor([     0.,      0., -10000.])}), False)
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._number: OrderedDict[Hashable, int] = OrderedDict()
        """By id which row of the stream it was."""
        self._said: dict[str, Tensor] = {}
        self._widest = 0
        self._width, self._asked = np.empty(0, np.int32), np.empty(0, np.int8)
        """Of each place: how wide its logits were given, and what is known of the source's answer."""

    def __len__(self) -> int:
        return len(self._number)

    def __iter__(self) -> Iterator[Hashable]:
        return iter(self._number)

    def __contains__(self, known: Hashable) -> bool:
        return known in self._number

    def add(self, ids: Sequence[Hashable], first: int, served: Tensor, source: Tensor | None) -> None:
        """Rows from this number on were answered: logits (B, width). Numbers rise from call to call."""
        over, asked = max(0, len(ids) - self.most), NOT_ASKED if source is None else ITS_OWN
        if source is served:
            source, asked = None, AS_SERVED
        rows, width = len(ids) - over, served.shape[1]
        if not rows:
            return
        first += over
        for known in ids[over:]:
            self._number.pop(known, None)
        oldest = next(iter(self._number.values()), first)
        while oldest < first + rows - self.most:
            self._number.popitem(last=False)
            oldest = next(iter(self._number.values()), first)
        if first + rows - oldest > len(self._asked) or width > self._widest:
            self._make_room(first + rows - oldest, width)
        self._number.update(zip(ids[over:], range(first, first + rows), strict=True))
        size = len(self._asked)
        start = first % size
        places = slice(start, start + rows) if start + rows <= size else np.arange(first, first + rows) % size
        self._width[places], self._asked[places] = width, asked
        for side, said in (("served", served), ("source", source)):
            if said is not None:
                self._block(side, said)[places, :width] = said[over:].detach().cpu()

    def _make_room(self, rows: int, width: int) -> None:
        """For so many rows, from the oldest to the newest, and for logits as wide as these."""
        before = len(self._asked)
        size = before if rows <= before else min(self.most, max(SMALLEST, 2 * rows))
        self._widest = max(self._widest, width)
        numbers = np.fromiter(self._number.values(), np.int64, len(self._number))
        old, new = numbers % max(1, before), numbers % size
        for name in ("_width", "_asked"):
            wider = np.zeros(size, getattr(self, name).dtype)
            wider[new] = getattr(self, name)[old]
            setattr(self, name, wider)
        for side, block in self._said.items():
            larger = block.new_zeros(size, self._widest)
            larger[new, : block.shape[1]] = block[old]
            self._said[side] = larger

    def _block(self, side: str, like: Tensor) -> Tensor:
        """Logits (S, width) of a side."""
        if side not in self._said:
            self._said[side] = like.new_zeros(len(self._asked), self._widest, device="cpu")
        return self._said[side]

    def _given(self, known: Hashable) -> dict[str, Tensor]:
        """The row's logits by side, views as wide as they were given; none for one that does not wait."""
        if known not in self._number:
            return {}
        place = self._number[known] % len(self._asked)
        width, asked = self._width[place], self._asked[place]
        given = {"served": self._said["served"][place, :width]}
        if asked != NOT_ASKED:
            given["source"] = self._said["source"][place, :width] if asked == ITS_OWN else given["served"]
        return given

    def take(self, known: Hashable, width: int) -> tuple[int, dict[str, Tensor]]:
        """The number of a row that waits and its logits (width,) by side, once."""
        given = {side: widened(logits, width).clone() for side, logits in self._given(known).items()}
        return self._number.pop(known), given

    def source(self, known: Hashable, width: int) -> Tensor | None:
        """What the source said; None where it was not asked, or knew fewer answers then."""
        logits = self._given(known).get("source")
        return logits.clone() if logits is not None and len(logits) == width else None

    def to_tensors(self, ids: Sequence[Hashable], width: int) -> dict[str, Tensor]:
        """Of these rows: number (N,), 0 for one that does not wait, and logits (N, width) by side, NaN where there are
        none.
        """
        numbers = np.array([self._number.get(known, 0) for known in ids], dtype=np.int64)
        told = {"row": torch.from_numpy(numbers)} | {side: torch.full((len(ids), width), torch.nan) for side in SIDES}
        here = np.flatnonzero(numbers)
        places = numbers[here] % max(1, len(self._asked))
        beyond = torch.arange(width) >= torch.from_numpy(self._width[places])[:, None]
        for side, asked in (("served", None), ("source", AS_SERVED), ("source", ITS_OWN)):
            some = slice(None) if asked is None else self._asked[places] == asked
            block = self._said.get(side if asked == ITS_OWN else "served")
            if block is not None:
                told[side][here[some]] = widened(block[places[some]], width).masked_fill(beyond[some], OUT_OF_REACH)
        return told

    def load_tensors(self, ids: Sequence[Hashable], told: Mapping[str, Tensor]) -> None:
        """Take back what `to_tensors` gave for the same ids."""
        for place in told["row"].argsort(stable=True).tolist():
            served, source = (told[side][place : place + 1] for side in SIDES)
            if number := int(told["row"][place]):
                alike = torch.equal(served, source)
                self.add([ids[place]], number, served, served if alike else None if source.isnan().all() else source)
