"""A graph and rules in a model: names, training, the run folder, streams, and what can be wrong with them."""

import json
import warnings

import networkx
import numpy as np
import pandas as pd
import pytest
import torch

import aet
from aet.commands.options import settings
from aet.config import Config
from aet.errors import ConfigError, DataError, RunError
from aet.focus import focus
from aet.graph.cells import cells
from aet.graph.edges import GraphWarning
from aet.graph.known import inform
from aet.graph.shuffle import shuffled
from aet.model import Model
from aet.report.text import Metric
from aet.report.worth import worth
from aet.schema import infer
from aet.training.parts import SHUFFLED, without
from tests.made import loose_tensors, quick

FAMILY = {f"d{i}": f"f{i % 3}" for i in range(9)}


def drugs(rows=120, seed=0):
    """Nine drugs of three families, three sites, and a number; the family and the number decide."""
    rng = np.random.default_rng(seed)
    drug, number = rng.choice(list(FAMILY), rows), rng.normal(size=rows)
    y = [int(FAMILY[name][1]) + x > 1 for name, x in zip(drug, number, strict=True)]
    site = rng.choice(["north", "south", "east"], rows)
    return pd.DataFrame({"drug": drug, "dose": number, "site": site, "y": np.where(y, "up", "down")})


GRAPH = [(drug, "in", family) for drug, family in FAMILY.items()]
GRAPH += [("dose", "of", "f1"), ("f1", "like", "f2"), ("f2", "like", "f1"), ("d0", "sold in", "site=north")]
RULES = [{"from": "dose", "to": "drug"}, {"from": "site=north", "to": "d1", "start": 0.5}]
KNOWING = {"graph": GRAPH, "rules": RULES}


def untrained(frame=None, seed=0, **settings):
    """A model as made, before training."""
    frame = drugs() if frame is None else frame
    config = Config.read({**quick(depth=2), "seed": seed, **settings})
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Model(infer(frame, "y"), config).fit_columns(frame).eval()


def trained(**settings):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return aet.train(drugs(), "y", config={**quick(), **settings})


@pytest.mark.parametrize("bias", ["low_rank", "dense", "none"])
@pytest.mark.parametrize("members", [1, 2])
def test_a_graph_starts_as_none(bias, members):
    base = quick(depth=2)
    base["model"]["members"] = members
    plain, knowing = (
        untrained(**base, **given)
        for given in ({}, {"graph": {"edges": GRAPH, "bias": bias}, "rules": [{"from": "dose", "to": "drug"}]})
    )
    batch = plain.encode(drugs(30, seed=1))
    torch.testing.assert_close(knowing.logits(batch), plain.logits(batch), rtol=0, atol=1e-5)
    torch.testing.assert_close(focus(knowing, batch), focus(plain, batch), rtol=0, atol=1e-5)
    assert not loose_tensors(knowing)


def nudged(**settings):
    """A model with all that knowledge moves away from zero."""
    model = untrained(**settings)
    torch.manual_seed(1)
    for name, p in model.named_parameters():
        if name.endswith(("moved", "alpha")):
            torch.nn.init.normal_(p, std=0.2)
    return model


def test_low_rank_and_dense_are_one_bias():
    batch = untrained().encode(drugs(30, seed=1))
    low, dense = (nudged(graph={"edges": GRAPH, "bias": bias, "neighbours": False}) for bias in ("low_rank", "dense"))
    assert low.report["graph"]["kept"] > 0.999
    torch.testing.assert_close(low.logits(batch), dense.logits(batch), rtol=0, atol=1e-4)
    assert not torch.allclose(low.logits(batch), untrained().logits(batch), atol=1e-2)


def test_rows_speak_for_themselves():
    model = nudged(**KNOWING)
    frame = drugs(12, seed=1)
    frame.loc[0, "drug"], frame.loc[1, "drug"] = "unheard of", None
    batch = model.encode(frame)
    alone = torch.cat([model.logits(batch[torch.tensor([i])]) for i in range(12)])
    torch.testing.assert_close(alone, model.logits(batch), rtol=0, atol=1e-5)
    assert torch.equal(model.logits(batch), model.logits(batch))
    assert model.logits(batch[torch.arange(0)]).shape == (0, 2)


def test_concepts_follow_the_row():
    model = untrained(graph=GRAPH)
    frame = drugs(5)
    frame["drug"], frame["site"] = ["d0", "d1", "d0", "unheard of", None], ["north", "south", "east", "north", "north"]
    found = dict(zip(model.token_names(), model.concepts(model.encode(frame)).T.tolist(), strict=True))
    drug = found["drug"]
    assert drug[0] == drug[2] != drug[1]
    assert drug[3] == drug[4] == 0, "a value that is not known has no node"
    assert [bool(number) for number in found["site"]] == [True, False, False, True, True]
    assert len(set(found["dose"])) == 1
    assert found["dose"][0] > 0


def test_the_run_folder_keeps_the_graph(tmp_path):
    model = trained(**KNOWING)
    assert model.report["graph"]["known"] == 11
    assert {record["name"] for record in model.report["switches"]} == {"graph", "rules"}
    assert all(record["acted"] for record in model.report["switches"])
    folder = model.save(tmp_path / "run")
    assert len(json.loads((folder / "graph.json").read_text())) == len(GRAPH)
    assert "d8" not in (folder / "config.yaml").read_text()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = aet.load(folder)
    assert loaded.config == model.config
    frame = drugs(40, seed=2)
    assert torch.equal(loaded.logits(loaded.encode(frame)), model.logits(model.encode(frame)))
    again = trained(**KNOWING)
    assert torch.equal(again.logits(again.encode(frame)), model.logits(model.encode(frame)))
    (folder / "graph.json").write_text("[]")
    with pytest.raises(RunError, match=r"graph\.json was changed"):
        aet.load(folder)
    trained().save(folder)
    assert not (folder / "graph.json").exists()
    assert aet.load(folder).knowing is None


def test_streams_adapt_a_model_that_knows(tmp_path):
    model = trained(**KNOWING)
    frame = drugs(64, seed=3)
    plain = model.logits(model.encode(frame))
    state = aet.attention.state.ElasticState.zeros(model)
    with aet.attention.state.applied(state):
        torch.testing.assert_close(model.logits(model.encode(frame)), plain, rtol=0, atol=1e-5)
    stream = model.stream(adapt="align", guard="always")
    answers = stream.predict(frame.drop(columns="y"))
    stream.feedback(answers["id"][:8], frame["y"][:8])
    assert stream.state.size() > 0
    merged = aet.attention.state.merge(model, stream.state)
    with aet.attention.state.applied(stream.state):
        moved = model.logits(model.encode(frame))
    torch.testing.assert_close(merged.logits(merged.encode(frame)), moved, rtol=0, atol=1e-4)
    assert not torch.allclose(moved, plain, atol=1e-4)


def test_switches_see_the_concepts_of_their_rows():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = aet.train(drugs(), "y", config={**quick(), **KNOWING}, switches=["cutmix", "r_drop", "fgm"])
    assert {record["name"] for record in model.report["switches"]} == {"cutmix", "r_drop", "fgm", "graph", "rules"}


def test_a_rule_draws_the_eye():
    frame = drugs()
    plain = untrained()
    batch, names = plain.encode(frame), plain.token_names()
    looks, seen = names.index("dose"), names.index("site")

    def weights(model):
        tokens, mask = model.tokens(batch)
        block, given = model.trunk.blocks[0], model.trunk.known(model.concepts(batch))
        return block.attention.weights(block.norm_attention(tokens, mask), None, given)[:, :, looks, seen].mean()

    drawn = untrained(rules=[{"from": "dose", "to": "site", "start": 3.0}])
    assert weights(drawn) > 2 * weights(plain)
    averse = untrained(rules=[{"from": "dose", "to": "site", "start": -3.0}])
    assert weights(averse) < weights(plain) / 2


def test_compared():
    """Without the graph, with a shuffled one, without rules, without any."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = aet.train(drugs(), "y", config={**quick(), **KNOWING}, compare=True)
    records = {record["part"]: record for record in model.report["worth"]}
    assert list(records) == ["graph", "rules", SHUFFLED, "all"]
    assert records["graph"]["with"] == records[SHUFFLED]["with"]
    page = worth({"model": model.report}, Metric("accuracy"))
    assert SHUFFLED in page
    assert "bias low_rank" in page
    kinds = without(model.config)
    assert kinds["graph"].graph is None
    assert kinds["graph"].rules == model.config.rules
    assert kinds[SHUFFLED].graph.shuffled
    assert kinds["all"].graph is None
    assert not kinds["all"].rules


def test_shuffling_keeps_the_form():
    model = untrained()
    every = cells(model.parts())
    edges = [(*edge, 1.0) for edge in GRAPH]
    mixed = shuffled(edges, every, seed=1)
    assert mixed != edges == [(*edge, 1.0) for edge in GRAPH]
    assert mixed == shuffled(edges, every, seed=1) != shuffled(edges, every, seed=2)
    one, other = (networkx.Graph([(h, t) for h, _, t, _ in given]) for given in (edges, mixed))
    assert sorted(d for _, d in one.degree) == sorted(d for _, d in other.degree)
    assert networkx.is_isomorphic(one, other)
    assert [one.degree(f"f{i}") for i in range(3)] == [other.degree(f"f{i}") for i in range(3)]
    assert {head for head, relation, _, _ in mixed if relation == "in"} == set(FAMILY), "drugs are drugs"
    assert {tail for _, relation, tail, _ in mixed if relation == "sold in"} < {"site=north", "site=south", "site=east"}


def test_a_graph_that_cannot_be_shuffled():
    ring = [("drug", "dose"), ("dose", "site"), ("site", "drug")]
    with pytest.warns(GraphWarning, match="cannot be shuffled"):
        untrained(graph={"edges": ring, "shuffled": True})


def test_unknown_names():
    # A family connects two drugs or more and stays; a name that leads nowhere goes, and what hung on it.
    lost = [*GRAPH, ("d10", "in", "f0"), ("nowhere", "in", "nothing"), ("nothing", "in", "f1")]
    with pytest.warns(GraphWarning, match=r"3 of 17 nodes .* 'd10' \(nearest: 'd1'\), 'nowhere'"):
        model = untrained(graph=lost)
    assert model.report["graph"] | {"classes": None, "kept": None} == {
        "edges": 16, "nodes": 17, "known": 11, "between": 3, "left_out": 3, "bias": "low_rank", "neighbours": 10,
        "classes": None, "kept": None,
    }  # fmt: skip
    with pytest.raises(DataError, match=r"2 nodes, and none is an input.*'drug=1', 'F1'.*Did you mean 'drug=d1'\?"):
        untrained(graph=[("drug=1", "in", "F1")])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"graph": {"edges": GRAPH, "bais": "none"}}, r"graph\.bais is unknown. Did you mean 'bias'"),
        ({"graph": {"bias": "none"}}, r"graph\.edges"),
        ({"graph": {"edges": GRAPH, "bias": "sparse"}}, r"graph\.bias='sparse' is not valid"),
        ({"graph": {"edges": GRAPH, "bias": "none", "neighbours": False}}, "The graph would do nothing"),
        ({"graph": [("dose", "between"), ("between", "x"), ("x", "y"), ("y", "site")]}, "The graph would do nothing"),
        ({"rules": [{"from": "dose", "too": "drug"}]}, r"rules\[0\]\.too is unknown. Did you mean 'to'"),
        ({"rules": [{"from": "dose"}]}, r"rules\[0\]\.to"),
        ({"rules": [{"from": "dose", "to": "drug", "weight": 0}]}, r"rules\[0\]\.weight=0"),
        ({"rules": {"from": "dose", "to": "drug"}}, "rules takes a list"),
        ({"rules": [{"from": "doze", "to": "drug"}]}, r"from names 'doze'.*Did you mean 'dose'"),
        ({"rules": [{"from": "dose", "to": "drug"}] * 2}, "'dose to drug' stands twice"),
        ({"rules": RULES, "model": {"depth": 0}}, r"no block to attend"),
    ],
)
def test_settings_that_are_wrong(given, said):
    with pytest.raises(ConfigError, match=said):
        untrained(**given)


def test_depth_0_has_neighbours_still():
    model = untrained(graph=[(drug, "in", family) for drug, family in FAMILY.items()], model={"depth": 0, "dim": 8})
    assert model.report["graph"]["neighbours"] == 9
    assert model.knowing is None


def test_none_of_it_is_free_of_it():
    model = untrained()
    assert inform(model) == (None, {}, [])
    assert model.concepts(model.encode(drugs(3))) is None


def test_a_graph_from_a_file_or_an_object(tmp_path):
    """As the command line and a program give it."""
    path = tmp_path / "families.csv"
    path.write_text("".join(f"{h},{r},{t}\n" for h, r, t in GRAPH), encoding="utf-8")
    given = networkx.MultiDiGraph([(h, t, {"relation": r}) for h, r, t in GRAPH])
    expected = Config.read({"graph": GRAPH})
    assert Config.read(settings(None, [f"graph={path}"])) == expected
    assert set(Config.read({"graph": given}).graph.edges) == set(expected.graph.edges)
    assert Config.read({"graph": {"edges": str(path), "bias": "dense"}}).graph.bias == "dense"
    assert Config.read(expected) == Config.read(expected.model_dump()) == expected
