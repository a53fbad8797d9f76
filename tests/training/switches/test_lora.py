"""LoRA: W + (alpha / rank) B A, the identity at first, plain again at the end."""

import copy

import pytest
import torch
from torch import nn

import aet
from aet.attention.state import ElasticState, applied, merge
from aet.config import Config
from aet.errors import ConfigError
from aet.training.loop import fit
from aet.training.switch import switched_on
from aet.training.switches.lora import LowRank

from ...made import signs
from .tuned import double, fitted, prepared, shaken, trainable


def test_by_hand():
    layer = LowRank(nn.Linear(2, 2, bias=False), rank=1, scale=3.0)
    with torch.no_grad():
        layer.weight.copy_(torch.eye(2))
        layer.down.copy_(torch.tensor([[1.0, 2.0]]))
        layer.up.copy_(torch.tensor([[1.0], [-1.0]]))
        assert layer(torch.tensor([[5.0, 7.0]])).tolist() == [[5 + 3 * 19, 7 - 3 * 19]]
        layer.fold()
        assert layer.weight.tolist() == [[4, 6], [-3, -5]]


def test_it_starts_as_the_model_and_trains_few():
    model, plain, batch, switch = prepared("lora", rank=3)
    assert torch.equal(model.logits(batch), plain.logits(batch))
    dim, hidden = 8, 16
    pairs = [(dim, 3 * dim), (dim, dim), (dim, hidden), (hidden, dim)]
    head = sum(p.numel() for p in plain.output.parameters())
    assert sum(trainable(model).values()) == 2 * sum(3 * (a + b) for a, b in pairs) + head
    assert switch.trained == sum(trainable(model).values())


@pytest.mark.parametrize(("where", "layers"), [("attention", ["qkv", "out"]), ("mlp", ["0", "3"])])
def test_where(where, layers):
    model, *_ = prepared("lora", depth=1, where=where)
    tuned = {name.split(".")[-2] for name in trainable(model) if name.endswith("down")}
    assert tuned == set(layers)
    with pytest.raises(ConfigError, match="one of 'all', 'attention', 'mlp'; got 'head'"):
        switched_on({"lora": {"where": "head"}})


def test_folding_changes_no_answer_and_leaves_a_plain_model():
    model, plain, batch, switch = prepared("lora")
    shaken(model)
    before = model.logits(double(batch))
    switch.end(type("Run", (), {"model": model}))
    torch.testing.assert_close(model.logits(double(batch)), before, rtol=0, atol=1e-10)
    assert model.state_dict().keys() == plain.state_dict().keys()
    assert [type(m) for m in model.modules()] == [type(m) for m in plain.modules()]
    assert all(p.requires_grad for p in model.parameters())


def test_the_best_weights_are_those_that_are_folded():
    model, before, history, batch = fitted("lora")
    loss = float(model.output.loss(model.logits(batch), batch.target))
    best = min(history, key=lambda record: record["valid_loss"])
    assert loss == pytest.approx(best["valid_loss_plain"], rel=1e-4)
    moved = {name for name, t in model.state_dict().items() if not torch.equal(t, before[name])}
    assert moved == {
        *(f"trunk.blocks.{b}.{p}.weight" for b in (0, 1) for p in ("attention.qkv", "attention.out", "mlp.0", "mlp.3")),
        "output.head.weight",
        "output.head.bias",
    }


def test_head_and_inputs():
    assert not [n for n in trainable(prepared("lora", head=False)[0]) if n.startswith("output.")]
    assert [n for n in trainable(prepared("lora", inputs=True)[0]) if n.startswith("inputs.")]


def test_the_change_has_the_rank_asked_for():
    model, before, *_ = fitted("lora", {"rank": 2})
    name = "trunk.blocks.0.mlp.0.weight"
    sizes = torch.linalg.svdvals(model.state_dict()[name] - before[name])
    assert sizes[1] > 1e-3
    assert sizes[2] < 1e-5


def test_a_trained_model_goes_on_is_saved_loaded_and_merged(tmp_path):
    frame = signs(120)
    model = aet.train(frame, target="y", config={"model": {"dim": 8, "depth": 1, "heads": 2}, "train": {"epochs": 3}})
    model.config = Config.read({**model.config.model_dump(), "train": {"epochs": 3, "switches": {"lora": {}}}})
    rows = model.encode(model.check(frame).frame, target=True)
    frozen = copy.deepcopy(model.trunk.norm.state_dict())
    fit(model, rows, rows)
    assert all(torch.equal(t, frozen[name]) for name, t in model.trunk.norm.state_dict().items())
    model.save(tmp_path)
    again = aet.load(tmp_path)
    assert torch.equal(again.logits(rows), model.logits(rows))
    state = ElasticState.zeros(again).map(lambda _, t: t + 0.1)
    with applied(state):
        expected = again.logits(rows)
    torch.testing.assert_close(merge(again, state).logits(rows), expected, rtol=1e-4, atol=1e-5)


def test_one_way_at_a_time():
    for other in ("ia3", "adalora", "adapters", "prefix", "unfreeze"):
        with pytest.raises(ConfigError, match="exclude each other"):
            switched_on({"lora": {}, other: {}})
