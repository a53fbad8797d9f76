"""How concepts are related, as few numbers a pair: distances and relations, whole or in low-rank factors.

    A_c ≈ U G_c Vᵀ,    A_c, (N, N), for each class c of pairs; G_c (r, r)

Classes are "shared node"; "distance d", 1 where the shortest path from i's nodes to j's, along edges in any direction,
has d = 1 ... 3 edges; and for each relation r the weight of an edge from a node of i to one of j ("r"), or back ("r,
back"), the largest of them 1. Within one token, which holds one concept a row, A is 0.

U and V have orthonormal columns, in turn the leading eigenvectors of Σ_c A_c V Vᵀ A_cᵀ / |A_c|² and of
Σ_c A_cᵀ U Uᵀ A_c / |A_c|² (higher-order orthogonal iteration, De Lathauwer et al. 2000, SIAM J. Matrix Anal. Appl. 21).
The factors are exact where r reaches the rank.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from aet.errors import DataError
from aet.graph.cells import Cell
from aet.graph.edges import Edge

REACH = 3
"""Longest path that counts."""
RANK = 16
"""Largest rank of the factors, and so the channels that queries and keys get."""
MOST, WHOLE = 4096, 1024
"""Concepts that a bias may have, and those from which eigenvectors are found one by one."""
ROUNDS = 3
"""Turns of U and V."""
SMALL = 1e-9
"""Share of the leading eigenvalue below which another counts as none."""

Matrix = np.ndarray
"""(N, N) float32."""


@dataclass(frozen=True)
class Related:
    """Classes by name and their matrices (C, N, N)."""

    classes: tuple[str, ...]
    pairs: np.ndarray

    def factors(self, rank: int = RANK) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """U (N, r), V (N, r) and G (C, r, r) with r of at most `rank`."""
        scaled = [pairs / np.linalg.norm(pairs) for pairs in self.pairs]
        right = leading(sum(pairs.T @ pairs for pairs in scaled), rank)
        for _ in range(ROUNDS):
            left = leading(sum(half @ half.T for half in (pairs @ right for pairs in scaled)), rank)
            right = leading(sum(half @ half.T for half in (pairs.T @ left for pairs in scaled)), rank)
        width = max(left.shape[1], right.shape[1])
        left, right = (np.pad(side, ((0, 0), (0, width - side.shape[1]))) for side in (left, right))
        return left, right, np.stack([left.T @ pairs @ right for pairs in self.pairs])

    def kept(self, left: np.ndarray, right: np.ndarray, cores: np.ndarray) -> float:
        """Share of the squares that factors keep: 1 for exact ones."""
        lost = sum(np.square(a - left @ g @ right.T).sum() for a, g in zip(self.pairs, cores, strict=True))
        return float(1 - lost / np.square(self.pairs).sum())


def leading(gram: np.ndarray, rank: int) -> np.ndarray:
    """Eigenvectors (N, r) of a symmetric matrix, the r <= rank largest that are not 0."""
    count = len(gram)
    if count > WHOLE:
        values, vectors = sparse.linalg.eigsh(gram, k=rank, v0=np.ones(count, gram.dtype))
    else:
        values, vectors = np.linalg.eigh(gram.astype(np.float64))
    order = np.argsort(-values)[:rank]
    kept = order[values[order] > SMALL * values[order[0]]]
    return np.asarray(vectors[:, kept], dtype=np.float32)


def related(known: Sequence[Cell], edges: Sequence[Edge]) -> Related | None:
    """The relations of these cells; None where no two of them can meet in a row within `REACH`.

    Raises DataError for more than `MOST` of them.
    """
    tokens = {where: number for number, where in enumerate(dict.fromkeys(cell.where for cell in known))}
    if len(tokens) < 2:
        return None
    if len(known) > MOST:
        raise DataError(
            f"The graph names {len(known):,} values of columns: a bias of attention takes {MOST:,} at most. Keep fewer "
            "values (inputs.category.max_values), or say graph: {edges: ..., bias: none}."
        )
    nodes = {node: place for place, node in enumerate(dict.fromkeys(name for e in edges for name in (e[0], e[2])))}
    holds = sparse.csr_array(
        incidence(
            [(i, nodes[n], 1.0) for i, cell in enumerate(known) for n in cell.names if n in nodes],
            len(nodes),
            len(known),
        )
    )
    own = np.array([tokens[cell.where] for cell in known])
    apart = own[:, None] != own[None, :]
    found: dict[str, np.ndarray] = {}
    steps = incidence([(nodes[h], nodes[t], 1.0) for h, _, t, _ in edges], len(nodes), len(nodes))
    steps = ((steps + steps.T) > 0).astype(np.float32)
    seen, front = np.zeros((len(known), len(known)), dtype=bool), holds
    for distance in range(REACH + 1):
        met = (front @ holds.T).toarray() > 0
        found["shared node" if distance == 0 else f"distance {distance}"] = (met & ~seen & apart).astype(np.float32)
        seen |= met
        front = ((front @ steps) > 0).astype(np.float32)
    for relation in dict.fromkeys(e[1] for e in edges):
        said = incidence([(nodes[h], nodes[t], w) for h, r, t, w in edges if r == relation], len(nodes), len(nodes))
        weights = (holds @ said @ holds.T).toarray().astype(np.float32) * apart
        weights /= max(weights.max(), SMALL)
        found[relation], found[f"{relation}, back"] = weights, weights.T
    kept: dict[str, np.ndarray] = {}
    for name, pairs in found.items():
        if pairs.any() and not any(np.array_equal(pairs, other) for other in kept.values()):
            kept[name] = pairs
    return Related(tuple(kept), np.stack(list(kept.values()))) if kept else None


def incidence(entries: Sequence[tuple[int, int, float]], columns: int, count: int) -> sparse.csr_array:
    """A sparse matrix (count, columns); entries at one place add up."""
    rows, places, values = zip(*entries, strict=True) if entries else ((), (), ())
    shape = (count, columns)
    return sparse.csr_array((np.array(values, np.float32), (np.array(rows, int), np.array(places, int))), shape=shape)
