"""Edge lists in every form, and what is wrong with those that are none."""

import json
import warnings

import networkx
import pandas as pd
import pytest

from aet.errors import ConfigError, DataError
from aet.graph.edges import GraphWarning, read_edges

FILMS = [("Heat", "is", "Drama", 1.0), ("Heat", "is", "Crime", 2.0)]
PAIRS = [("Heat", "related", "Drama", 1.0), ("Heat", "related", "Crime", 1.0)]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.csv", "head,relation,tail,weight\nHeat,is,Drama,1\n\nHeat,is,Crime,2\n", FILMS),
        ("a.csv", "Heat,is,Drama,1\nHeat,is,Crime,2\n", FILMS),
        ("a.tsv", "weight\tobject\tpredicate\tsubject\n1\tDrama\tis\tHeat\n2\tCrime\tis\tHeat\n", FILMS),
        ("a.csv", "\ufeffsource;target\nHeat;Drama\nHeat;Crime\n", PAIRS),
        ("a.txt", 'Heat, Drama\nHeat, "Crime"\n', PAIRS),
        ("a.json", json.dumps(FILMS), FILMS),
    ],
)
def test_files(tmp_path, name, text, expected):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    assert read_edges(path) == read_edges(str(path)) == expected


def test_objects():
    assert read_edges(FILMS) == read_edges([list(edge) for edge in FILMS]) == FILMS
    assert read_edges([{"head": h, "relation": r, "tail": t, "weight": w} for h, r, t, w in FILMS]) == FILMS
    assert read_edges([{"head": h, "tail": t} for h, _, t, _ in FILMS]) == PAIRS
    assert read_edges(pd.DataFrame(FILMS, columns=["head", "relation", "tail", "weight"])) == FILMS
    assert read_edges(pd.DataFrame(FILMS)) == FILMS
    assert read_edges([(10, 20)]) == [("10", "related", "20", 1.0)]


def test_networkx():
    directed = networkx.DiGraph()
    for head, relation, tail, weight in FILMS:
        directed.add_edge(head, tail, relation=relation, weight=weight)
    assert read_edges(directed) == FILMS
    assert read_edges(networkx.path_graph(2)) == [("0", "related", "1", 1.0), ("1", "related", "0", 1.0)]
    many = networkx.MultiDiGraph([("a", "b", {"relation": "is"}), ("a", "b", {"relation": "was"})])
    assert [edge[1] for edge in read_edges(many)] == ["is", "was"]


def test_loops_and_doubles():
    with pytest.warns(GraphWarning, match=r"1 edges from a node to itself are dropped, 1 edges came twice"):
        found = read_edges([("a", "a"), ("a", "b"), ("b", "a"), ("a", "related", "b", 3)])
    assert found == [("a", "related", "b", 3.0), ("b", "related", "a", 1.0)], "a cycle stays"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_edges(found) == found


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "no edge"),
        ([("a", "a")], "all from a node to itself"),
        ([("a",)], "edge 1: expected head,tail"),
        (["ab"], "edge 1: expected head,tail"),
        ([("a", "is", "b", 1, 2)], "edge 1: expected"),
        ([("a", "b", 0.5)], "fourth part"),
        ([("a", None)], "a name is missing"),
        ([("a", float("nan"))], "a name is missing"),
        ([("a", " ")], "a name is missing"),
        ([("a", "is", "b", 0)], "a weight is a number above 0, got 0"),
        ([("a", "is", "b", "much")], "a weight is a number above 0, got 'much'"),
        ([("a", "is", "b", float("inf"))], "a weight"),
        ([{"head": "a", "tial": "b"}], r"names \['tial'\]"),
        ([{"head": "a"}], "a name is missing"),
        ([("a", "b"), 7], "edge 2: expected"),
    ],
)
def test_no_edges(given, said):
    with pytest.raises(DataError, match=said):
        read_edges(given)


def test_no_graphs(tmp_path):
    with pytest.raises(ConfigError, match="got int"):
        read_edges(7)
    with pytest.raises(DataError, match=r"none\.csv cannot be read"):
        read_edges(tmp_path / "none.csv")
    with pytest.raises(DataError, match=r"none\.json cannot be read"):
        read_edges(tmp_path / "none.json")
    for name, content, said in [
        ("a.json", b"{", "is no JSON"),
        ("b.json", b"{}", "holds dict"),
        ("c.csv", b"\xff\xfe", "no text in UTF-8"),
        ("d.csv", b"", "no edge"),
        ("e.csv", b"head,tail\na,b\nc\n", "line 3: expected"),
        ("f.csv", b"head,tail,weight\na,b,1\n", "expected relation too"),
    ]:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=said):
            read_edges(tmp_path / name)
