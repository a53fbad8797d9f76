"""How proposal and source answered the rows that a stream asked for, at that moment: what their labels will compare.

Answers of now would do as well only if neither the moment at which a label comes nor what was learned meanwhile had to
do with what it says. Kept until the label comes, the row is dropped, or `ROOM` numbers are passed, oldest first; the
label of a row that is no longer here teaches, and counts as missing.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import torch
from torch import Tensor

SIDES = ("source", "proposal")
ROOM = 4_000_000
OUT_OF_REACH = -1e4
"""Logit of an answer that the output did not know then."""


class Sealed:
    """Logits of source and proposal by row.

    >>> sealed = Sealed()
    >>> sealed.add(["a", "b"], torch.zeros(2, 3), torch.ones(2, 3))
    >>> sealed.take("b", 3)
    tensor([[0., 0., 0.],
            [1., 1., 1.]])
    >>> sealed.take("b", 3) is None, len(sealed)
    (True, 1)
    """

    def __init__(self) -> None:
        self._rows: dict[Hashable, Tensor] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, ids: Sequence[Hashable], source: Tensor, proposal: Tensor) -> None:
        """Rows were asked; logits (N, width) of both."""
        for known, both in zip(ids, torch.stack([source, proposal], 1), strict=True):
            self._rows.pop(known, None)
            self._rows[known] = both.clone()  # its own: a view would hold all rows that were asked with it
        while len(self._rows) > max(1, ROOM // (2 * source.shape[1])):
            del self._rows[next(iter(self._rows))]

    def take(self, known: Hashable, width: int) -> Tensor | None:
        """Logits (2, width) of source and proposal, once; None for a row that is not here."""
        both = self._rows.pop(known, None)
        return None if both is None else widened(both, width)

    def drop(self, ids: Sequence[Hashable]) -> None:
        """These ids are other rows now."""
        for known in ids if self._rows else ():
            self._rows.pop(known, None)

    def keep(self, ids: Mapping[Hashable, object]) -> None:
        """Of rows that are not among these no label can come."""
        self._rows = {known: both for known, both in self._rows.items() if known in ids}

    def to_tensors(self, width: int) -> tuple[list[Hashable], dict[str, Tensor]]:
        """Ids, and logits (N, width) by side."""
        said = [widened(both, width) for both in self._rows.values()]
        return list(self._rows), dict(zip(SIDES, torch.stack(said, 1), strict=True)) if said else {}

    def load_tensors(self, ids: Sequence[Hashable], said: Mapping[str, Tensor]) -> None:
        """Take back what `to_tensors` gave."""
        if ids:
            self.add(ids, *(said[side] for side in SIDES))


def widened(logits: Tensor, width: int) -> Tensor:
    """Logits (..., width) of an output that has learned of new answers since: those were out of reach.

    >>> widened(torch.zeros(2), 3)
    tensor([     0.,      0., -10000.])
    """
    return torch.nn.functional.pad(logits, (0, width - logits.shape[-1]), value=OUT_OF_REACH)
