"""How proposal and source answered the rows that a stream asked for, at that moment: what their labels will compare.

Answers of now would do as well only if neither the moment at which a label comes nor what was learned meanwhile had to
do with what it says. Kept until the label comes or the row is dropped.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import torch
from torch import Tensor

SIDES = ("source", "proposal")


class Compared:
    """Logits of source and proposal by row.

    >>> compared = Compared()
    >>> compared.add(["a", "b"], torch.zeros(2, 3), torch.ones(2, 3))
    >>> compared.take("b")
    tensor([[0., 0., 0.],
            [1., 1., 1.]])
    >>> compared.take("b") is None, len(compared)
    (True, 1)
    """

    def __init__(self) -> None:
        self._rows: dict[Hashable, tuple[Tensor, int]] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, ids: Sequence[Hashable], source: Tensor, proposal: Tensor) -> None:
        """Rows were asked; logits (N, width) of both."""
        both = torch.stack([source, proposal], 1)  # (N, 2, width)
        self._rows |= {known: (both, place) for place, known in enumerate(ids)}

    def take(self, known: Hashable) -> Tensor | None:
        """Logits (2, width) of source and proposal, once; None for a row that was not asked."""
        both, place = self._rows.pop(known, (None, 0))
        return None if both is None else both[place]

    def drop(self, ids: Sequence[Hashable]) -> None:
        """These ids are other rows now."""
        for known in ids if self._rows else ():
            self._rows.pop(known, None)

    def keep(self, ids: Mapping[Hashable, object]) -> None:
        """Of rows that are not among these no label can come."""
        self._rows = {known: said for known, said in self._rows.items() if known in ids}

    def to_tensors(self) -> tuple[list[Hashable], dict[str, Tensor]]:
        """Ids, and logits (N, width) by side."""
        said = [both[place] for both, place in self._rows.values()]
        return list(self._rows), dict(zip(SIDES, torch.stack(said, 1), strict=True)) if said else {}

    def load_tensors(self, ids: Sequence[Hashable], said: Mapping[str, Tensor]) -> None:
        """Take back what `to_tensors` gave."""
        if ids:
            self.add(ids, *(said[side] for side in SIDES))
