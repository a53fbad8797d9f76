"""Elastic attention and norm against torch's own modules and against the formula written out."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from aet.attention.layer import ElasticAttention, ElasticNorm, affine
from aet.attention.obvious import attend_obvious
from aet.attention.state import ElasticState, applied, merge, name_elastic
from aet.errors import ConfigError

DIM, HEADS = 12, 3


def attention(dtype=torch.float64):
    torch.manual_seed(0)
    return name_elastic(nn.ModuleDict({"layer": ElasticAttention(DIM, HEADS)})).to(dtype)["layer"]


def dials(seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return {
        name: 0.4 * torch.randn(shape, generator=generator, dtype=dtype)
        for name, shape in attention().dial_shapes().items()
    }


def state_of(values):
    return ElasticState({f"layer.{name}": t for name, t in values.items()})


def written_out(layer, x, d, bias=None):
    """The formula, dial by dial, with the temperature and the gate where `attend` takes them."""
    b, t, _ = x.shape
    query, key, value = (
        part.view(b, t, HEADS, DIM // HEADS).transpose(1, 2) for part in layer.qkv(x).chunk(3, dim=-1)
    )  # (B, H, T, D) each
    out = attend_obvious(
        query * (1 + d["q_scale"]) + d["q_shift"],
        key * (1 + d["k_scale"]),
        value * (1 + d["v_scale"]) + d["v_shift"],
        inverse_temperature=d["log_beta"].exp(),
        gate=d["log_gate"].exp(),
        bias=bias,
    )
    return layer.out(out.transpose(1, 2).reshape(b, t, DIM))


@given(st.integers(0, 1000), st.integers(1, 4), st.integers(1, 6), st.sampled_from(["none", "mask", "float"]))
@settings(max_examples=30, deadline=None)
def test_packed_dials_are_the_formula_written_out(seed, rows, tokens, sort):
    layer, d = attention(), dials(seed)
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, tokens, DIM, generator=generator, dtype=torch.float64)
    bias = None
    if sort == "mask":
        bias = torch.rand(rows, 1, 1, tokens, generator=generator) > 0.4
    elif sort == "float":
        bias = torch.randn(rows, HEADS, tokens, tokens, generator=generator, dtype=torch.float64)
    with applied(state_of(d)):
        got = layer(x, bias)
    torch.testing.assert_close(got, written_out(layer, x, d, bias), rtol=0, atol=1e-12)


@pytest.mark.parametrize("dial", ["q_scale", "q_shift", "k_scale", "v_scale", "v_shift", "log_beta", "log_gate"])
def test_every_dial_alone_moves_the_answer_as_the_formula_says(dial):
    layer = attention()
    x = torch.randn(2, 5, DIM, dtype=torch.float64)
    d = {name: t if name == dial else torch.zeros_like(t) for name, t in dials().items()}
    with applied(state_of(d)):
        got = layer(x)
    torch.testing.assert_close(got, written_out(layer, x, d), rtol=0, atol=1e-12)
    assert (got - layer(x)).abs().max() > 1e-3


def test_there_is_no_key_shift_because_it_would_do_nothing():
    layer = attention()
    assert "k_shift" not in layer.dial_shapes()
    query, key, value = torch.randn(3, 2, HEADS, 5, 4, dtype=torch.float64).unbind()
    shift = torch.randn(HEADS, 1, 4, dtype=torch.float64)
    moved = attend_obvious(query, key + shift, value)
    torch.testing.assert_close(moved, attend_obvious(query, key, value), rtol=0, atol=1e-12)


def test_at_the_source_it_is_torch_multihead_attention():
    layer = attention()
    torchs = nn.MultiheadAttention(DIM, HEADS, batch_first=True, dtype=torch.float64)
    with torch.no_grad():
        torchs.in_proj_weight.copy_(layer.qkv.weight)
        torchs.in_proj_bias.copy_(layer.qkv.bias)
        torchs.out_proj.weight.copy_(layer.out.weight)
        torchs.out_proj.bias.copy_(layer.out.bias)
    x = torch.randn(2, 5, DIM, dtype=torch.float64)
    seen = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    expected, weights = torchs(x, x, x, key_padding_mask=~seen, average_attn_weights=False)
    torch.testing.assert_close(layer(x, seen[:, None, None]), expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(layer.weights(x, seen[:, None, None]), weights, rtol=0, atol=1e-12)


def test_weights_are_those_that_the_answer_is_made_of():
    layer, d = attention(), dials()
    x = torch.randn(2, 5, DIM, dtype=torch.float64)
    bias = torch.randn(2, HEADS, 5, 5, dtype=torch.float64)
    with applied(state_of(d)):
        weights = layer.weights(x, bias)
        expected = layer(x, bias)
    value = layer.qkv(x)[..., 2 * DIM :].view(2, 5, HEADS, -1).transpose(1, 2)
    value = d["log_gate"].exp() * (value * (1 + d["v_scale"]) + d["v_shift"])
    torch.testing.assert_close(layer.out((weights @ value).transpose(1, 2).flatten(-2)), expected)


def test_each_row_may_have_its_own_dials():
    layer = attention()
    states = [state_of(dials(seed)) for seed in range(3)]
    x = torch.randn(5, 4, DIM, dtype=torch.float64)
    index = torch.tensor([2, 0, 1, 1, 0])
    with applied(ElasticState.stack(states).rows(index)):
        together, looks = layer(x), layer.weights(x)
    for row, which in enumerate(index.tolist()):
        with applied(states[which]):
            torch.testing.assert_close(together[row], layer(x[row : row + 1])[0], rtol=0, atol=1e-12)
            torch.testing.assert_close(looks[row], layer.weights(x[row : row + 1])[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
@pytest.mark.parametrize("build", [lambda: ElasticAttention(DIM, HEADS), lambda: ElasticNorm(DIM)])
def test_fold_gives_the_applied_answers(build, dtype, tolerance):
    torch.manual_seed(1)
    module = name_elastic(nn.ModuleDict({"layer": build()})).to(dtype)
    state = ElasticState.zeros(module).map(lambda _, t: 0.4 * torch.randn(t.shape, dtype=dtype))
    x = torch.randn(3, 5, DIM, dtype=dtype)
    with applied(state):
        expected = module["layer"](x)
    torch.testing.assert_close(merge(module, state)["layer"](x), expected, rtol=0, atol=tolerance)


def test_gradients_of_the_dials_are_those_of_the_formula():
    layer, x = attention(), torch.randn(2, 3, DIM, dtype=torch.float64)

    def run(*values):
        with applied(state_of(dict(zip(dials(), values, strict=True)))):
            return layer(x)

    leaves = [t.requires_grad_() for t in dials().values()]
    assert torch.autograd.gradcheck(run, leaves, fast_mode=True)


def test_an_empty_batch_gives_an_empty_answer():
    assert attention()(torch.empty(0, 4, DIM, dtype=torch.float64)).shape == (0, 4, DIM)


def test_heads_must_divide_the_width():
    with pytest.raises(ConfigError, match="The width 10 cannot be split over 3 heads"):
        ElasticAttention(10, 3)


def test_norm_is_layer_norm_and_then_the_dials():
    module = name_elastic(nn.ModuleDict({"norm": ElasticNorm(6)})).double()
    plain = nn.LayerNorm(6, dtype=torch.float64)
    x = torch.randn(2, 3, 6, dtype=torch.float64)
    assert torch.equal(module["norm"](x), plain(x))
    scale, shift = torch.randn(2, 1, 6, dtype=torch.float64)
    with applied(ElasticState({"norm.scale": scale, "norm.shift": shift})):
        torch.testing.assert_close(module["norm"](x), plain(x) * (1 + scale) + shift, rtol=0, atol=1e-12)


def test_affine_at_zero_gives_the_same_bits():
    x = torch.randn(4, 7)
    assert torch.equal(affine(x, torch.ones(1, 7), torch.zeros(1, 7)), x)


@pytest.mark.parametrize("build", [lambda: ElasticAttention(DIM, HEADS), lambda: ElasticNorm(DIM)])
def test_a_shared_state_without_a_gradient_is_the_merged_model_to_the_bit(build):
    module, state, x = moved(build)
    with torch.no_grad():
        source = module["layer"](x)
        assert torch.equal(merge(module, state)["layer"](x), answered(module, x, state))
        assert torch.equal(answered(module, x, ElasticState.zeros(module)), source)
    torch.testing.assert_close(answered(module, x, state), merge(module, state)["layer"](x))  # with one


def moved(build):
    torch.manual_seed(1)
    module = name_elastic(nn.ModuleDict({"layer": build()}))
    state = ElasticState.zeros(module).map(lambda _, t: 0.4 * torch.randn(t.shape))
    return module, state, torch.randn(3, 5, DIM)


def answered(module, x, state):
    with applied(state):
        return module["layer"](x)


def test_a_projection_of_another_kind_is_asked_and_not_bypassed():
    class Doubled(nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    layer = attention()
    plain, layer.qkv = layer.qkv, Doubled(DIM, 3 * DIM).double()
    layer.qkv.load_state_dict(plain.state_dict())
    x = torch.randn(2, 5, DIM, dtype=torch.float64)
    with applied(state_of(dials())):
        expected = layer(x)
        with torch.no_grad():
            torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize("build", [lambda: ElasticAttention(DIM, HEADS), lambda: ElasticNorm(DIM)])
def test_without_a_gradient_the_answer_is_the_same_and_the_tokens_are_left_alone(build):
    module, state, x = moved(build)
    before, weights = x.clone(), {name: t.clone() for name, t in module.state_dict().items()}
    for some in (state, ElasticState.stack([state] * 3)):
        with applied(some):
            expected = module["layer"](x)
            with torch.no_grad():
                torch.testing.assert_close(module["layer"](x), expected)
    assert torch.equal(x, before)
    assert all(torch.equal(weights[name], t) for name, t in module.state_dict().items())
