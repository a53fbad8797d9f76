"""Which nodes of a graph a model's inputs and values are, and what is said of the others."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from aet.errors import DataError
from aet.graph.cells import Cell
from aet.graph.edges import Edge

SHOWN = 5
"""Names in a message."""


def understood(edges: Sequence[Edge], every: Sequence[Cell]) -> tuple[list[Edge], dict[str, Any], list[str]]:
    """The edges that connect known names, figures, and what people should know.

    A node that is no name may connect others, such as the genre of films; one that leads nowhere is left out with its
    edges. Raises DataError if no node is known.
    """
    names = frozenset[str]().union(*(cell.names for cell in every))
    nodes = dict.fromkeys(name for e in edges for name in (e[0], e[2]))
    known = [node for node in nodes if node in names]
    if not known:
        raise DataError(
            f"The graph has {len(nodes)} nodes, and none is an input or a value of a category: got "
            f"{listed(list(nodes))}. {suggestion(next(iter(nodes)), names)} Write values as they stand in the table."
        )
    left = list(edges)
    while True:
        beside: dict[str, set[str]] = {}
        for head, _, tail, _ in left:
            beside.setdefault(head, set()).add(tail)
            beside.setdefault(tail, set()).add(head)
        ends = {node for node, others in beside.items() if node not in names and len(others) < 2}
        if not ends:
            break
        left = [e for e in left if e[0] not in ends and e[2] not in ends]
    lost = [node for node in nodes if node not in names and node not in beside]
    between = sum(node not in names for node in beside)
    notes = []
    if lost:
        close = [f"{node!r} ({suggestion(node, names, brief=True)})" for node in lost[:SHOWN]]
        notes.append(
            f"The graph: {len(lost)} of {len(nodes)} nodes are no input and no value of a category, connect nothing "
            f"and are left out: {', '.join(close)}{' and others' if len(lost) > SHOWN else ''}. Write values as they "
            "stand in the table."
        )
    figures = {"edges": len(edges), "nodes": len(nodes), "known": len(known), "between": between, "left_out": len(lost)}
    return left, figures, notes


def suggestion(name: str, names: frozenset[str], brief: bool = False) -> str:
    """The nearest of many names."""
    close = get_close_matches(name, names, n=1)
    if brief:
        return f"nearest: {close[0]!r}" if close else "nothing is near"
    return f"{f'Did you mean {close[0]!r}? ' if close else ''}Known are, among others: {listed(sorted(names))}."


def listed(names: Sequence[str]) -> str:
    """The first few."""
    return ", ".join(map(repr, names[:SHOWN])) + (", ..." if len(names) > SHOWN else "")
