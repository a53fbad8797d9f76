"""What a value's neighbours in a graph tell of it: concepts of few rows learn from those beside them.

    e_v ← e_v + Σ_r α_r · mean_{u ∈ N_r(v)} e_u,    α = 0 at the start

N_r(v) are the neighbours along relation r, or back along it, or the same node in other columns; a mean is weighted by
the edges. A neighbour that is no value of the columns, such as the genre of films, has an embedding of its own, which
all its neighbours train. Relation-wise means as in R-GCN (Schlichtkrull et al. 2018, 1703.06103) with a number for the
matrix of a relation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aet.attention.relation_bias import PACE
from aet.graph.cells import Cell
from aet.graph.edges import Edge

SAME = "shared node"


@dataclass(frozen=True)
class Links:
    """One link a row: the place of a value, that of what informs it, its relation's number and its share of a mean."""

    to: list[int]
    of: list[int]
    relation: list[int]
    share: list[float]
    relations: tuple[str, ...]
    further: int
    """Nodes that are no value; their places follow those of the values."""


def links(known: Sequence[Cell], edges: Sequence[Edge], size: int) -> Links | None:
    """Those between the values of one part, whose table has `size` places; None if there are none."""
    values: dict[str, list[Cell]] = {}
    for cell in known:
        for name in cell.values:
            values.setdefault(name, []).append(cell)
    further: dict[str, int] = {}
    means: dict[tuple[int, str], dict[int, float]] = {}

    def tell(cell: Cell, relation: str, node: str, weight: float) -> None:
        others = [other for other in values.get(node, []) if other is not cell]
        same = [other for other in others if other.where == cell.where] or others
        places = [other.place for other in same if other.place is not None]
        places = places or [size + further.setdefault(node, len(further))]
        mean = means.setdefault((cell.place or 0, relation), {})
        for place in places:
            mean[place] = mean.get(place, 0.0) + weight / len(places)

    for head, relation, tail, weight in edges:
        for cell in values.get(head, []):
            tell(cell, relation, tail, weight)
        for cell in values.get(tail, []):
            tell(cell, f"{relation}, back", head, weight)
    nodes = {name for edge in edges for name in (edge[0], edge[2])}
    for node, cells in values.items():
        if node in nodes and len(cells) > 1:
            for cell in cells:
                mean = means.setdefault((cell.place or 0, SAME), {})
                mean.update({other.place or 0: 1.0 for other in cells if other is not cell})
    if not means:
        return None
    relations = tuple(dict.fromkeys(relation for _, relation in means))
    found = Links([], [], [], [], relations, len(further))
    for (place, relation), mean in sorted(means.items()):
        for other, weight in mean.items():
            found.to.append(place)
            found.of.append(other)
            found.relation.append(relations.index(relation))
            found.share.append(weight / sum(mean.values()))
    return found


class Neighbours(nn.Module):
    """The formula above for a table of embeddings (V, dim).

    >>> pair = Links([0, 1], [1, 0], [0, 0], [1.0, 1.0], ("like",), further=0)
    >>> inform = Neighbours(pair, size=3, dim=2)
    >>> table = torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 2.0]])
    >>> torch.equal(inform(table), table)
    True
    >>> _ = torch.nn.init.constant_(inform.alpha, 0.05)
    >>> inform(table).tolist()
    [[1.0, 0.5], [0.5, 1.0], [2.0, 2.0]]
    """

    of: Tensor
    relation: Tensor
    share: Tensor
    starts: Tensor

    def __init__(self, found: Links, size: int, dim: int) -> None:
        super().__init__()
        self.relations = found.relations
        counts = torch.bincount(torch.tensor(found.to), minlength=size)
        buffers = {
            "of": torch.tensor(found.of),
            "relation": torch.tensor(found.relation),
            "share": torch.tensor(found.share),
            "starts": counts.cumsum(0) - counts,
        }
        for name, tensor in buffers.items():
            self.register_buffer(name, tensor, persistent=False)
        self.alpha = nn.Parameter(torch.zeros(len(found.relations)))  # α / PACE
        self.further = nn.Parameter(torch.randn(found.further, dim))

    def forward(self, table: Tensor) -> Tensor:
        """The informed table."""
        weights = self.share.to(table.dtype) * (PACE * self.alpha)[self.relation]
        every = torch.cat([table, self.further])
        told: Tensor = F.embedding_bag(self.of, every, self.starts, mode="sum", per_sample_weights=weights)
        return table + told

    def acted(self) -> str:
        """α of each relation, in words; empty if none moved."""
        alpha = (PACE * self.alpha.detach()).tolist()
        moved = [f"{name} {a:+.2f}" for name, a in zip(self.relations, alpha, strict=True) if a]
        return f"neighbours {', '.join(moved)}" if moved else ""
