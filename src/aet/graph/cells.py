"""What tokens may hold that has a name: the names of inputs, and the values of categories.

A cell is an input, or an input with one of its values; its names are those under which a graph or a rule may speak of
it: the input's, its columns', the value, and `input=value`. The concept of a token is the number of its cell, 0 for a
token that none of the names wanted speaks of.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from aet.inputs import Input


@dataclass(frozen=True)
class Cell:
    """One thing that a token may hold.

    part: name of the model's part. token: its place among the part's tokens. place: of the value in the part's
    vocabulary, None for any value. names: all that may be said for it. values: the names that are the value's own.
    """

    part: str
    token: int
    place: int | None
    names: frozenset[str]
    values: frozenset[str] = frozenset()

    @property
    def where(self) -> tuple[str, int]:
        """The token, which holds one cell in a row."""
        return self.part, self.token

    @property
    def inputs(self) -> frozenset[str]:
        """The names of the input, whatever it holds."""
        return self.names - self.values


def cells(parts: Iterable[tuple[str, Input]]) -> list[Cell]:
    """All that the tokens of a model's parts may hold, in order."""
    found: list[Cell] = []
    for name, part in parts:
        each = len(part.token_names()) // len(part.specs)
        vocabulary = part.vocabulary()
        for number, spec in enumerate(part.specs):
            own = frozenset({spec.name, *spec.columns})
            for value, place in vocabulary[number] if vocabulary else ():
                said = frozenset() if value is None else frozenset({value, f"{spec.name}={value}"})
                found.append(Cell(name, number, place, own | said, said))
            if not vocabulary:
                found += [Cell(name, number * each + step, None, own) for step in range(each)]
    return found


class Concepts(nn.Module):
    """Encoded values -> the concept of each token (B, T).

    Args:
        parts: of the model.
        known: the cells that have a number, from 1, in order.
    """

    def __init__(self, parts: Iterable[tuple[str, Input]], known: Collection[Cell]) -> None:
        super().__init__()
        numbers: dict[str, dict[int, int]] = {}
        fixed: dict[str, dict[int, int]] = {}
        for number, cell in enumerate(known, 1):
            if cell.place is None:
                fixed.setdefault(cell.part, {})[cell.token] = number
            else:
                numbers.setdefault(cell.part, {})[cell.place] = number
        self.parts = [(name, part) for name, part in parts]
        for name, part in self.parts:
            own, size = numbers.get(name, fixed.get(name, {})), len(part.token_names())
            if part.vocabulary():
                size = 1 + max(place for values in part.vocabulary() for _, place in values)
            table = torch.zeros(size, dtype=torch.long)
            for place, number in own.items():
                table[place] = number
            self.register_buffer(f"of_{name}", table, persistent=False)

    def forward(self, values: Mapping[str, Tensor]) -> Tensor:
        """Numbers (B, T), 0 for no concept."""
        found = []
        for name, part in self.parts:
            table, held = self.get_buffer(f"of_{name}"), part.held(values[name])
            found.append(table.expand(len(values[name]), -1) if held is None else table[held])
        return torch.cat(found, 1)
