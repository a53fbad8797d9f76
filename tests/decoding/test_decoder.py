"""Decoder, pointer and cache: steps one by one are the steps at once, and the future is not seen."""

import pytest
import torch
from torch import nn

from aet.attention.state import ElasticState, applied, name_elastic
from aet.decoding.copying import Pointer, mixed, told
from aet.decoding.decoder import Decoder


@pytest.fixture
def decoder():
    torch.manual_seed(0)
    return name_elastic(nn.ModuleDict({"d": Decoder(8, depth=2, heads=2, length=7)})).eval()


def reading():
    torch.manual_seed(1)
    real = torch.tensor([[True, True, True], [True, False, False]])
    return torch.randn(2, 3, 8), real, torch.randn(2, 5, 8)


@pytest.mark.parametrize("moved", [False, True])
def test_cached_steps_are_those_at_once(decoder, moved):
    memory, real, steps = reading()
    state = ElasticState.zeros(decoder).map(lambda _, t: 0.3 * torch.randn(t.shape)) if moved else None
    with applied(state):
        whole, _ = decoder["d"](steps, decoder["d"].start(memory, real))
        cache, each = decoder["d"].start(memory, real), []
        for place in range(5):
            one, cache = decoder["d"](steps[:, place : place + 1], cache)
            each.append(one)
    torch.testing.assert_close(torch.cat(each, 1), whole, rtol=0, atol=1e-5)


def test_a_cache_may_go_on_under_another_state(decoder):
    """Keys are kept before the dials: only the first block's, whose inputs no dial moved, are the same under both."""
    memory, real, steps = reading()
    start = decoder["d"].start(memory, real)
    state = ElasticState({"d.blocks.0.memory.k_scale": torch.ones(2, 1, 4)})
    with applied(state):
        again = decoder["d"].start(memory, real)
        expected, _ = decoder["d"](steps, again)
        found, _ = decoder["d"](steps, start)
    assert torch.equal(found, expected)


def test_the_future_and_padding_are_not_seen(decoder):
    memory, real, steps = reading()
    whole, _ = decoder["d"](steps, decoder["d"].start(memory, real))
    other = steps.clone()
    other[:, 3:] *= -1
    changed = torch.where(real[..., None], memory, 9.0)
    again, _ = decoder["d"](other, decoder["d"].start(changed, real))
    torch.testing.assert_close(again[:, :3], whole[:, :3])
    assert (again[:, 3:] - whole[:, 3:]).abs().max() > 0.01


def test_picked_rows_go_on_as_if_alone(decoder):
    memory, real, steps = reading()
    _, cache = decoder["d"](steps[:, :2], decoder["d"].start(memory, real))
    one, _ = decoder["d"](steps[[1, 1, 0], 2:3], cache.rows(torch.tensor([1, 1, 0])))
    whole, _ = decoder["d"](steps, decoder["d"].start(memory, real))
    torch.testing.assert_close(one, whole[[1, 1, 0], 2:3], rtol=0, atol=1e-5)


def test_the_mixture_sums_to_one_and_holds_what_is_told():
    torch.manual_seed(2)
    pointer, h, memory = Pointer(8), torch.randn(2, 4, 8), torch.randn(2, 3, 8)
    pieces = torch.tensor([[5, 7, 5], [-1, -1, -1]])
    weights, gate = pointer(h, pointer.kept(memory), pieces >= 0)
    logs = torch.randn(2, 4, 9).log_softmax(-1)
    whole = mixed(logs, weights, gate, pieces)
    torch.testing.assert_close(whole.exp().sum(-1), torch.ones(2, 4))
    torch.testing.assert_close(whole[1], logs[1], rtol=0, atol=1e-4)  # nothing to copy
    by_hand = gate[0, 0] * logs[0, 0, 5].exp() + (1 - gate[0, 0]) * (weights[0, 0, 0] + weights[0, 0, 2])
    torch.testing.assert_close(whole[0, 0, 5].exp(), by_hand.squeeze())
    target = torch.tensor([[5, 5, 7, 8], [0, 1, 2, 3]])
    expected = whole.gather(-1, target[..., None]).squeeze(-1)
    torch.testing.assert_close(told(logs, target, weights, gate, pieces), expected)


def test_a_pointers_dials_fold():
    box, h, memory = name_elastic(nn.ModuleDict({"p": Pointer(8)})), torch.randn(2, 4, 8), torch.randn(2, 3, 8)
    state, there = (
        ElasticState({"p.log_beta": torch.tensor([[0.7]]), "p.gate": torch.tensor([[-2.0]])}),
        torch.ones(2, 3),
    )
    plain = box["p"](h, box["p"].kept(memory), there.bool())
    with applied(state):
        moved = box["p"](h, box["p"].kept(memory), there.bool())
    from aet.attention.state import merge

    folded = merge(box, state)["p"]
    for one, two in zip(folded(h, folded.kept(memory), there.bool()), moved, strict=True):
        torch.testing.assert_close(one, two)
    assert (moved[1] < plain[1]).all(), "less from the vocabulary, more copied"
