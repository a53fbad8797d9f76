"""Adapters and prefixes by hand."""

import math

import torch
from torch import nn
from torch.nn import functional as F

from aet.grown import Adapted, Prefix, grow
from aet.trunk import Trunk


def test_an_adapter_by_hand():
    layer = Adapted(nn.Linear(1, 1), 1)
    with torch.no_grad():
        for p in layer.parameters():
            p.fill_(2.0)
        y = 2.0 * 3.0 + 2.0
        expected = y + 2.0 * float(F.gelu(torch.tensor(2.0 * y + 2.0))) + 2.0
        assert math.isclose(layer(torch.tensor([[3.0]])).item(), expected, rel_tol=1e-6)


def test_a_prefix_by_hand():
    """Softmax over the prefix alone, times tanh of the gate of its head."""
    torch.manual_seed(0)
    prefix, query = Prefix(heads=2, head_dim=3, length=4).double(), torch.randn(5, 2, 6, 3).double()
    with torch.no_grad():
        prefix.gate.copy_(torch.tensor([0.5, -1.0]))
        weights = torch.softmax(query @ prefix.key.transpose(-2, -1) / 3**0.5, -1)
        expected = torch.tensor([0.5, -1.0]).double().tanh()[:, None, None] * (weights @ prefix.value)
        torch.testing.assert_close(prefix(query), expected)


def test_a_trunk_grows_once():
    torch.manual_seed(0)
    trunk = Trunk(8, 2, 2).eval()
    tokens, names = torch.randn(2, 3, 8), set(trunk.state_dict())
    before = trunk(tokens)
    grow(trunk)
    assert set(trunk.state_dict()) == names
    grow(trunk, adapter=2, prefix=3)
    assert torch.equal(trunk(tokens), before)
    grown = set(trunk.state_dict())
    assert names < grown
    grow(trunk, adapter=5, prefix=5)
    assert set(trunk.state_dict()) == grown
    assert len(trunk.blocks[0].attention.prefix.key[0]) == 3
    torch.testing.assert_close(trunk.focus(tokens).sum(-1), torch.ones(2))


def test_the_gate_opens_for_the_prefix_alone():
    torch.manual_seed(0)
    trunk = Trunk(8, 1, 2).eval()
    tokens = torch.randn(2, 3, 8)
    grow(trunk, prefix=3)
    before = trunk(tokens)
    with torch.no_grad():
        trunk.blocks[0].attention.prefix.gate.fill_(1.0)
    assert not torch.allclose(trunk(tokens), before)
