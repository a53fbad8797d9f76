"""A wrong graph of the same form, to tell what a graph knows from what any graph would do."""

from __future__ import annotations

import random
from collections.abc import Sequence

from aet.graph.cells import Cell
from aet.graph.edges import Edge

TRIES = 20

Kind = tuple[frozenset[tuple[str, int]], bool]


def shuffled(edges: Sequence[Edge], every: Sequence[Cell], seed: int) -> list[Edge]:
    """The same graph with names permuted among those of a kind: inputs, or values of the same columns.

    Every degree, path and relation stays, only who is who does not; nodes that are no names stay. The edges as they are
    where every permutation gives the same graph.

    >>> lamps = [Cell("category0", 0, 2, frozenset({name}), frozenset({name})) for name in "abc"]
    >>> shuffled([("a", "near", "b", 1.0)], lamps, seed=0) != [("a", "near", "b", 1.0)]
    True
    """
    kinds: dict[Kind, list[str]] = {}
    for name, kind in kinds_of(every).items():
        kinds.setdefault(kind, []).append(name)
    draw, before = random.Random(seed), {plain(edge) for edge in edges}
    for _ in range(TRIES):
        new = {old: name for own in kinds.values() for old, name in zip(own, draw.sample(own, len(own)), strict=True)}
        mixed = [(new.get(h, h), r, new.get(t, t), w) for h, r, t, w in edges]
        if {plain(edge) for edge in mixed} != before:
            return mixed
    return list(edges)


def kinds_of(every: Sequence[Cell]) -> dict[str, Kind]:
    """For each name the tokens whose value it is (none for an input's name), and whether it is written input=value."""
    tokens: dict[str, set[tuple[str, int]]] = {}
    written: dict[str, bool] = {}
    for cell in every:
        for name in cell.values:
            tokens.setdefault(name, set()).add(cell.where)
            written[name] = any(name == f"{own}={value}" for own in cell.inputs for value in cell.values)
    for name in sorted({name for cell in every for name in cell.inputs}):
        tokens[name], written[name] = set(), False
    return {name: (frozenset(where), written[name]) for name, where in sorted(tokens.items())}


def plain(edge: Edge) -> tuple[frozenset[str], str]:
    """An edge without its direction and weight."""
    return frozenset((edge[0], edge[2])), edge[1]
