"""(IA)³: keys, values and hidden units times a number each."""

import torch
from torch import nn

from aet.training.switches.ia3 import ScaledIn, ScaledOut

from .tuned import double, fitted, prepared, shaken, trainable


def test_by_hand():
    out, into = ScaledOut(nn.Linear(1, 3)), ScaledIn(nn.Linear(2, 1))
    with torch.no_grad():
        out.weight.copy_(torch.tensor([[1.0], [2.0], [3.0]]))
        out.bias.fill_(1.0)
        out.factor.copy_(torch.tensor([10.0, 100.0]))
        assert out(torch.tensor([[2.0]])).tolist() == [[3.0, 50.0, 700.0]]  # query, key, value
        into.weight.copy_(torch.tensor([[1.0, 2.0]]))
        into.bias.fill_(0.5)
        into.factor.copy_(torch.tensor([3.0, 5.0]))
        assert into(torch.tensor([[1.0, 1.0]])).tolist() == [[13.5]]
        out.fold()
        into.fold()
        assert out.weight.flatten().tolist() == [1, 20, 300]
        assert out.bias.tolist() == [1, 10, 100]
        assert into.weight.tolist() == [[3, 10]]


def test_it_starts_as_the_model_and_trains_few():
    model, plain, batch, _ = prepared("ia3", head=False)
    assert torch.equal(model.logits(batch), plain.logits(batch))
    assert sum(trainable(model).values()) == 2 * (2 * 8 + 16)


def test_folding_changes_no_answer():
    model, plain, batch, switch = prepared("ia3")
    shaken(model)
    before = model.logits(double(batch))
    switch.end(type("Run", (), {"model": model}))
    torch.testing.assert_close(model.logits(double(batch)), before, rtol=0, atol=1e-10)
    assert model.state_dict().keys() == plain.state_dict().keys()


def test_queries_stand_still():
    model, before, *_ = fitted("ia3")
    name = "trunk.blocks.0.attention.qkv.weight"
    moved = (model.state_dict()[name] != before[name]).any(1)
    assert moved.tolist() == [False] * 8 + [True] * 16
