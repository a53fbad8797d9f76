"""Edge lists: a graph from a file, a list, a frame or networkx, as (head, relation, tail, weight)."""

from __future__ import annotations

import csv
import json
import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from aet.errors import ConfigError, DataError

Edge = tuple[str, str, str, float]
RELATED = "related"
"""The relation of an edge that names none."""
NAMES = {
    "head": ("head", "source", "from", "subject"),
    "relation": ("relation", "predicate", "type", "label"),
    "tail": ("tail", "target", "to", "object"),
    "weight": ("weight",),
}
"""Column names of an edge list that has a header."""
FORMS = "head,tail or head,relation,tail or head,relation,tail,weight"


class GraphWarning(UserWarning):
    """A part of a graph is left out."""


def read_edges(source: Any) -> list[Edge]:
    """The edges of a graph, each once, in their order.

    Args:
        source: the path of a .csv, .tsv or .txt file (comma, semicolon or tab; with a header or without) or of a .json
            file; a list of edges, each (head, tail), (head, relation, tail) or (head, relation, tail, weight), or a
            mapping with these names; a pandas frame; a networkx graph, whose edges may have the attributes relation
            and weight. An undirected graph counts as one with edges both ways.

    An edge from a node to itself is dropped, an edge that comes twice counts once with its largest weight, and a
    GraphWarning says how many. Raises DataError for a graph that is empty or an edge that is none, ConfigError for a
    source of another type.

    >>> read_edges([("Drama", "Romance"), ("Heat", "is", "Drama", 0.5), ("Heat", "is", "Drama", 2)])
    [('Drama', 'related', 'Romance', 1.0), ('Heat', 'is', 'Drama', 2.0)]
    """
    return merged([edge(parts, where) for where, parts in rows(source)])


def rows(source: Any) -> Iterable[tuple[str, Sequence[Any]]]:
    """Where an edge stands, and its two to four parts."""
    if isinstance(source, str | Path):
        path = Path(source)
        given = from_json(path) if path.suffix.lower() == ".json" else from_text(path)
        return ((f"{path}, {where}", parts) for where, parts in given)
    if hasattr(source, "is_directed") and hasattr(source, "edges"):
        return from_networkx(source)
    if hasattr(source, "columns") and hasattr(source, "itertuples"):
        return from_rows("row", [list(source.columns), *source.itertuples(index=False, name=None)], header=True)
    if isinstance(source, Sequence):
        return from_list(source)
    raise ConfigError(
        f"graph takes a path, a list of edges, a pandas frame or a networkx graph; got {type(source).__name__}. "
        f"Write an edge as {FORMS}."
    )


def from_list(edges: Sequence[Any]) -> Iterable[tuple[str, Sequence[Any]]]:
    """Edges as sequences or mappings."""
    for number, given in enumerate(edges, 1):
        if isinstance(given, Mapping):
            if wrong := set(given) - set(NAMES):
                raise DataError(f"Edge {number} of the graph names {sorted(wrong)}: expected {', '.join(NAMES)}.")
            parts = [given.get(name) for name in NAMES]
            yield f"edge {number}", [parts[0], parts[1] or RELATED, parts[2], 1.0 if parts[3] is None else parts[3]]
        else:
            yield f"edge {number}", given


def from_networkx(graph: Any) -> Iterable[tuple[str, Sequence[Any]]]:
    """Edges with their attributes; both ways where the graph has no direction."""
    for number, (head, tail, data) in enumerate(graph.edges(data=True), 1):
        relation, weight = data.get("relation", RELATED), data.get("weight", 1.0)
        yield f"edge {number}", (head, relation, tail, weight)
        if not graph.is_directed():
            yield f"edge {number}", (tail, relation, head, weight)


def from_json(path: Path) -> Iterable[tuple[str, Sequence[Any]]]:
    """A list of edges, as a run folder keeps it."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"The graph {path} cannot be read: {error.strerror}. Check its path.") from error
    except ValueError as error:
        raise DataError(f"The graph {path} is no JSON: {error}. Expected a list of edges, each {FORMS}.") from error
    if not isinstance(content, list):
        raise DataError(f"The graph {path} holds {type(content).__name__}: expected a list of edges, each {FORMS}.")
    return from_list(content)


def from_text(path: Path) -> Iterable[tuple[str, Sequence[Any]]]:
    """Lines of an edge list."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"The graph {path} cannot be read: {error.strerror}. Check its path.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"The graph {path} is no text in UTF-8: {error}. Save it as UTF-8.") from error
    first = text.partition("\n")[0]
    delimiter = max("\t;,", key=first.count)
    lines = csv.reader(text.splitlines(), delimiter=delimiter, skipinitialspace=True)
    return from_rows("line", [[cell.strip() for cell in line] for line in lines])


def from_rows(what: str, table: Sequence[Sequence[Any]], header: bool = False) -> Iterable[tuple[str, Sequence[Any]]]:
    """Rows of cells by position, or by the names in the first row if it names head and tail; empty rows do not count.

    With `header` the first row is one, whatever it says.
    """
    order = named(table[0]) if table else None
    header = header or order is not None
    for number, row in enumerate(table[header:], 0 if what == "row" else 1 + header):
        if any(str(cell) for cell in row):
            yield f"{what} {number}", row if order is None else [row[place] for place in order if place < len(row)]


def named(first: Sequence[Any]) -> list[int] | None:
    """Places of head, relation, tail and weight in a header; None if the row is an edge.

    >>> named(["source", "target"]), named(["weight", "tail", "relation", "head"]), named(["Heat", "Drama"])
    ([0, 1], [3, 2, 1, 0], None)
    """
    names = [str(cell).strip().lower() for cell in first]
    found = {part: next((names.index(n) for n in known if n in names), None) for part, known in NAMES.items()}
    if found["head"] is None or found["tail"] is None:
        return None
    if found["weight"] is not None and found["relation"] is None:
        raise DataError("The graph has the columns head, tail and weight: expected relation too. Add the column.")
    return [place for place in found.values() if place is not None]


def edge(parts: Any, where: str) -> Edge:
    """One edge from its parts; DataError says what is wrong with it."""
    if isinstance(parts, str) or not isinstance(parts, Sequence) or not 2 <= len(parts) <= 4:
        raise DataError(f"The graph, {where}: expected {FORMS}, got {parts!r:.80}.")
    head, tail = parts[0], parts[1 if len(parts) == 2 else 2]
    relation, weight = parts[1] if len(parts) > 2 else RELATED, parts[3] if len(parts) == 4 else 1.0
    if len(parts) == 3 and isinstance(tail, float):
        raise DataError(
            f"The graph, {where}: three parts are head, relation, tail, and {tail!r} is no name. Give the weight of an "
            "edge as its fourth part."
        )
    names = [str(name).strip() for name in (head, relation, tail)]
    if any(name is None or name != name or not text for name, text in zip((head, relation, tail), names, strict=True)):
        raise DataError(f"The graph, {where}: a name is missing. Expected {FORMS}, got {parts!r:.80}.")
    try:
        value = float(weight)
    except (TypeError, ValueError):
        value = math.nan
    if not 0 < value < math.inf:
        raise DataError(f"The graph, {where}: a weight is a number above 0, got {weight!r:.40}.")
    return names[0], names[1], names[2], value


def merged(edges: Iterable[Edge]) -> list[Edge]:
    """Edges without self-loops, each once; DataError if none is left."""
    weights: dict[tuple[str, str, str], float] = {}
    loops = twice = 0
    for head, relation, tail, weight in edges:
        if head == tail:
            loops += 1
            continue
        twice += (head, relation, tail) in weights
        weights[head, relation, tail] = max(weight, weights.get((head, relation, tail), 0.0))
    if not weights:
        said = f"{loops} edges, all from a node to itself" if loops else "no edge"
        raise DataError(f"The graph is empty: it has {said}. Expected edges {FORMS}; leave graph out for none.")
    if loops or twice:
        notes = [f"{loops} edges from a node to itself are dropped"] if loops else []
        notes += [f"{twice} edges came twice and count once"] if twice else []
        warnings.warn(f"The graph: {', '.join(notes)}.", GraphWarning, stacklevel=2)
    return [(*names, weight) for names, weight in weights.items()]
