"""Layers that call `F.scaled_dot_product_attention` in a forward of their own."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import aet
from aet.attention import ElasticState, applied
from aet.errors import ConfigError, NotElastic


class Own(nn.Module):
    """Packed projection, and an inner attention around which another one lies."""

    def __init__(self, inner: nn.Module | None = None, heads: int = 2) -> None:
        super().__init__()
        self.heads, self.inner = heads, inner
        self.qkv, self.out = nn.Linear(16, 48, bias=False), nn.Linear(16, 16)

    def forward(self, x):
        if self.inner is not None:
            x = x + self.inner(x)
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(mixed.transpose(1, 2).flatten(2))


class Net(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.norm, self.layer = nn.LayerNorm(16), layer

    def forward(self, x, skip=False):
        return x if skip else x + self.layer(self.norm(x))


@pytest.fixture
def x():
    torch.manual_seed(0)
    return torch.randn(3, 5, 16)


def some_state(model, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return ElasticState.zeros(model).map(lambda _, dial: 0.3 * torch.randn(dial.shape, generator=generator))


def test_moved_merged_and_each_row(x):
    net = Net(Own(Own(heads=4)))
    source = net(x)
    aet.elasticize(net, example=x)
    state = some_state(net)
    assert state["layer.inner.elastic.q_scale"].shape == (4, 1, 4)
    with applied(ElasticState.zeros(net)):
        assert torch.equal(net(x), source)
    with applied(state):
        moved = net(x)
    assert (moved - source).abs().max() > 1e-2
    assert torch.allclose(aet.merge(net, state)(x), moved, atol=1e-5)
    with applied(ElasticState.stack([ElasticState.zeros(net), state]).rows(torch.tensor([1, 0, 1]))):
        mixed = net(x)
    assert torch.allclose(mixed, torch.stack([moved[0], source[1], moved[2]]), atol=1e-6)


def test_an_inner_layer_is_moved_once(x):
    net = aet.elasticize(Net(Own(Own())), example=(x,))
    with applied(some_state(net).select(lambda name: "inner" not in name)):
        outer = net(x)
    with applied(some_state(net)):
        assert not torch.equal(net(x), outer)
    inner = some_state(net).select(lambda name: "inner" in name)
    y = net.norm(x)
    with applied(inner):
        alone = net.layer.inner(y)
        whole = net(x)
    net.layer.inner.elastic.detach()
    net.layer.inner.forward = lambda z: alone  # what the inner layer gives, as a constant
    assert torch.allclose(net(x), whole, atol=1e-6)


def test_gradients_reach_the_state_alone(x):
    net = aet.elasticize(Net(Own()), example=x).requires_grad_(False)
    state = aet.elastic_parameters(net)
    with applied(state):
        net(x).square().mean().backward()
    assert all(dial.grad is not None for dial in state.values())
    assert state["layer.elastic.log_gate"].grad.abs().max() > 0


def test_a_layer_that_the_example_does_not_reach_is_refused(x):
    net = Net(Own())
    with pytest.raises(NotElastic, match="do not reach: layer"):
        aet.elasticize(net, example={"x": x, "skip": True})
    assert "forward" not in vars(net.layer)
    assert not net.norm._forward_hooks
    with pytest.raises(NotElastic, match="example"):
        aet.elasticize(net)
    aet.elasticize(net, example=x)
    with pytest.raises(ConfigError, match="elastic already"):
        aet.elasticize(net, example=x)


class ManualAttention(nn.Linear):
    """Writes its softmax out, where nothing can reach it."""


def test_nothing_to_reach():
    with pytest.raises(NotElastic, match="no attention"):
        aet.elasticize(nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4)))
    with pytest.raises(NotElastic, match="do not reach: 1"):
        aet.elasticize(nn.Sequential(nn.MultiheadAttention(4, 2), ManualAttention(4, 4)))


def test_heads_must_have_their_axis(x):
    class Flat(Own):
        def forward(self, x):
            q, k, v = self.qkv(x).chunk(3, -1)
            return self.out(F.scaled_dot_product_attention(q, k, v))

    with pytest.raises(NotElastic, match="3 axes"):
        aet.elasticize(Net(Flat()), example=x)
