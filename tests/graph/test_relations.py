"""Distances, relations and their factors, held against networkx and the plain sums."""

import networkx
import numpy as np
import pytest

from aet.errors import DataError
from aet.graph import relations
from aet.graph.cells import Cell
from aet.graph.relations import related


def values(count, column, letter):
    return [
        Cell("category0", column, 10 * column + place, frozenset({f"{letter}{place}"}), frozenset({f"{letter}{place}"}))
        for place in range(count)
    ]


KNOWN = values(6, 0, "a") + values(7, 1, "b")


def random_graph(seed=0, nodes=18, edges=22):
    """Cycles and all, over names that are values and names that are not."""
    rng = np.random.default_rng(seed)
    names = [f"a{i}" for i in range(6)] + [f"b{i}" for i in range(7)] + [f"between{i}" for i in range(nodes - 13)]
    ends = rng.integers(nodes, size=(edges, 2))
    kinds = ("is", "has")
    return [(names[i], kinds[n % 2], names[j], 1.0 + n % 3) for n, (i, j) in enumerate(ends) if i != j]


def test_distances_are_shortest_paths():
    edges = random_graph()
    graph = networkx.Graph([(head, tail) for head, _, tail, _ in edges])
    assert networkx.cycle_basis(graph)
    found = related(KNOWN, edges)
    named = dict(zip(found.classes, found.pairs, strict=True))
    lengths = dict(networkx.all_pairs_shortest_path_length(graph))
    for distance in (1, 2, 3):
        expected = np.zeros((13, 13))
        for i, one in enumerate(KNOWN):
            for j, other in enumerate(KNOWN):
                (first,), (second,) = one.values, other.values
                near = lengths.get(first, {}).get(second)
                expected[i, j] = near == distance and one.token != other.token
        assert np.array_equal(named[f"distance {distance}"], expected)


def test_relations_have_a_direction_and_a_weight():
    edges = [("a0", "is", "b1", 2.0), ("b1", "is", "a3", 1.0), ("a0", "is", "a1", 1.0)]
    named = dict(zip((found := related(KNOWN, edges)).classes, found.pairs, strict=True))
    assert named["is"][0, 7] == 1
    assert named["is"][7, 3] == 0.5
    assert np.count_nonzero(named["is"]) == 2, "two values of one column never meet"
    assert np.array_equal(named["is, back"], named["is"].T)


def test_a_cell_of_several_nodes_is_as_near_as_its_nearest():
    both = Cell("category0", 0, 0, frozenset({"x", "y"}), frozenset({"x", "y"}))
    other = Cell("number0", 1, None, frozenset({"z"}))
    twin = Cell("number0", 2, None, frozenset({"y", "w"}))
    found = related([both, other, twin], [("x", "r", "m", 1), ("y", "r", "z", 1)])
    named = dict(zip(found.classes, found.pairs, strict=True))
    assert named["distance 1"][0, 1] == 1
    assert named["shared node"][0, 2] == 1
    assert "distance 2" not in named


def test_nothing_to_relate():
    assert related(values(6, 0, "a"), [("a0", "is", "a1", 1.0)]) is None
    far = [("a0", "is", "x", 1.0), ("x", "is", "y", 1.0), ("y", "is", "z", 1.0), ("z", "is", "b0", 1.0)]
    assert related([KNOWN[0], KNOWN[6]], far) is None


def test_factors_are_exact_at_full_rank_and_best_below():
    found = related(KNOWN, random_graph(nodes=15, edges=40))
    whole = found.factors(rank=13)
    left, right, cores = whole
    for pairs, core in zip(found.pairs, cores, strict=True):
        np.testing.assert_allclose(left @ core @ right.T, pairs, atol=1e-4)
    assert found.kept(*whole) == pytest.approx(1, abs=1e-6)
    shares = [found.kept(*found.factors(rank)) for rank in (1, 3, 6, 13)]
    assert shares == sorted(shares)
    assert 0 < shares[0] < 0.8


def test_many_concepts_take_the_leading_eigenvectors(monkeypatch):
    found = related(KNOWN, random_graph(nodes=15, edges=40))
    plain = found.factors(4)
    monkeypatch.setattr(relations, "WHOLE", 4)
    assert found.kept(*found.factors(4)) == pytest.approx(found.kept(*plain), abs=1e-4)
    monkeypatch.setattr(relations, "MOST", 12)
    with pytest.raises(DataError, match=r"13 values of columns.*12 at most.*bias: none"):
        related(KNOWN, random_graph())
