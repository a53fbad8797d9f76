"""Attention to others' keys and values: the plain formula at the zero state, and dials that act on the other side."""

import pytest
import torch
from torch import nn

from aet.attention.layer import ElasticAttention
from aet.attention.reading import ElasticReading, StepNorm
from aet.attention.state import ElasticState, applied, merge, name_elastic
from aet.errors import ConfigError


def layer(dim=8, heads=2, seed=0):
    torch.manual_seed(seed)
    return name_elastic(nn.ModuleDict({"read": ElasticReading(dim, heads)})).double()


def randomly(box, seed=0, rows=()):
    generator = torch.Generator().manual_seed(seed)
    return ElasticState.zeros(box).map(
        lambda _, t: 0.5 * torch.randn(*rows, *t.shape, generator=generator, dtype=t.dtype)
    )


def inputs(rows=3, steps=4, places=6, dim=8):
    generator = torch.Generator().manual_seed(1)
    return (torch.randn(rows, n, dim, generator=generator, dtype=torch.float64) for n in (steps, places))


def test_it_is_multihead_attention():
    read, (x, memory) = layer()["read"], inputs()
    plain = nn.MultiheadAttention(8, 2, batch_first=True).double()
    plain.in_proj_weight.data = torch.cat([read.query.weight, read.key_value.weight]).detach()
    plain.in_proj_bias.data = torch.cat([read.query.bias, read.key_value.bias]).detach()
    plain.out_proj.load_state_dict(read.out.state_dict())
    torch.testing.assert_close(read(x, read.kept(memory)), plain(x, memory, memory)[0])


def test_zero_state_is_the_source_to_the_bit():
    box, (x, memory) = layer(), inputs()
    plain = box["read"](x, box["read"].kept(memory))
    with applied(ElasticState.zeros(box)):
        assert torch.equal(box["read"](x, box["read"].kept(memory)), plain)


def test_its_dials_are_those_of_self_attention():
    """The same weights and the same dials give what `ElasticAttention` gives, where the memory is the tokens."""
    box, (x, _) = layer(), inputs()
    read, own = box["read"], ElasticAttention(8, 2).double()
    own.qkv.weight.data = torch.cat([read.query.weight, read.key_value.weight]).detach()
    own.qkv.bias.data = torch.cat([read.query.bias, read.key_value.bias]).detach()
    own.out.load_state_dict(read.out.state_dict())
    own.elastic_name = "read"
    with applied(randomly(box)):
        torch.testing.assert_close(read(x, read.kept(x)), own(x))


def test_merged_is_applied():
    box, (x, memory) = layer(), inputs()
    state = randomly(box)
    with applied(state):
        expected = box["read"](x, box["read"].kept(memory))
    merged = merge(box, state)["read"]
    torch.testing.assert_close(merged(x, merged.kept(memory)), expected)
    assert (expected - box["read"](x, box["read"].kept(memory))).abs().max() > 0.05


def test_each_row_may_have_its_own_state():
    box, (x, memory) = layer(), inputs()
    states = randomly(box, rows=(3,))
    with applied(states):
        together = box["read"](x, box["read"].kept(memory))
    for row in range(3):
        with applied(states.map(lambda _, t, row=row: t[row])):
            alone = box["read"](x[row : row + 1], box["read"].kept(memory[row : row + 1]))
        torch.testing.assert_close(together[row : row + 1], alone)


def test_what_is_kept_is_right_under_any_state():
    box, (_, memory) = layer(), inputs()
    kept, state = box["read"].kept(memory), randomly(box)
    with applied(state):
        assert all(torch.equal(a, b) for a, b in zip(kept, box["read"].kept(memory), strict=True))


def test_heads_that_do_not_divide_the_width_are_an_error():
    with pytest.raises(ConfigError, match="multiple of the heads"):
        ElasticReading(8, 3)


def test_a_norm_of_steps_has_dials_and_is_not_watched():
    from aet.attention.layer import watched_norms

    norm = name_elastic(nn.ModuleDict({"norm": StepNorm(4)}))
    seen = []
    with watched_norms(lambda *given: seen.append(given) or given[2]):
        plain = norm["norm"](torch.ones(1, 2, 4))
        with applied(ElasticState({"norm.shift": torch.ones(1, 4)})):
            assert torch.equal(norm["norm"](torch.ones(1, 2, 4)), plain + 1)
    assert not seen
