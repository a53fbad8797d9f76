"""PyTorch's own attention and transformer layers."""

import pytest
import torch
from torch import nn

import aet
import aet.backbones
from aet.attention import ElasticState, applied
from aet.errors import ConfigError


def randomised(module):
    with torch.no_grad():
        for p in module.parameters():
            p.add_(torch.randn_like(p), alpha=0.1)
    return module.eval()


def some_state(module, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return ElasticState.zeros(module).map(lambda _, dial: 0.3 * torch.randn(dial.shape, generator=generator))


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def attention_calls(batch_first):
    x, memory = torch.randn(3, 5, 16), torch.randn(3, 7, 16)
    padding = torch.zeros(3, 7, dtype=torch.bool)
    padding[1, 4:] = True
    turn = (lambda t: t) if batch_first else (lambda t: t.transpose(0, 1))
    x, memory = turn(x), turn(memory)
    causal = torch.ones(5, 5, dtype=torch.bool).triu(1)
    return [
        ((x, x, x), {}),
        ((x, x, x), {"need_weights": False, "attn_mask": causal, "is_causal": True}),
        ((x, memory, memory), {"key_padding_mask": padding, "need_weights": False}),
        ((x, memory, memory), {"key_padding_mask": padding, "attn_mask": torch.randn(6, 5, 7)}),
        ((x, memory, memory), {"average_attn_weights": False}),
    ]


KINDS = {
    "packed": {},
    "no bias": {"bias": False},
    "separate": {"kdim": 16, "vdim": 16},
    "extra keys": {"add_bias_kv": True, "add_zero_attn": True},
}


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_attention_alone(kind, batch_first):
    plain = randomised(nn.MultiheadAttention(16, 2, batch_first=batch_first, **KINDS[kind]))
    if kind == "separate":
        plain._qkv_same_embed_dim = False
        plain.q_proj_weight, plain.k_proj_weight, plain.v_proj_weight = (
            nn.Parameter(w.clone()) for w in plain.in_proj_weight.chunk(3)
        )
        plain.in_proj_weight = None
    calls = attention_calls(batch_first)
    before = [plain(*args, **named) for args, named in calls]  # with a gradient: the ordinary path
    layer = aet.elasticize(plain)
    state = some_state(layer)
    merged = aet.merge(layer, state)
    axis = 0 if batch_first else 1
    for (args, named), (source, weights) in zip(calls, before, strict=True):
        for none in (None, ElasticState.zeros(layer)):
            with applied(none):
                out, seen = layer(*args, **named)
            assert torch.equal(out, source)
            assert (seen is None) == (weights is None)
            assert seen is None or torch.equal(seen, weights)
        with applied(state):
            moved, moved_weights = layer(*args, **named)
        assert (moved - source).abs().max() > 1e-2
        folded, folded_weights = merged(*args, **named)
        assert torch.allclose(folded, moved, atol=1e-5)
        assert weights is None or torch.allclose(folded_weights, moved_weights, atol=1e-5)
        with applied(ElasticState.stack([state, ElasticState.zeros(layer)]).rows(torch.tensor([0, 1, 0]))):
            mixed, _ = layer(*args, **named)
        for row, own in enumerate((moved, source, moved)):
            assert torch.allclose(mixed.select(axis, row), own.select(axis, row), atol=1e-5)
    assert not [name for name, _ in merged.named_modules() if "elastic" in name]
    assert "forward" not in vars(merged)


def test_a_state_a_row_is_refused_where_rows_cannot_be_told():
    x = torch.randn(3, 5, 16)
    model = aet.elasticize(nn.Sequential(nn.LayerNorm(16), nn.TransformerEncoderLayer(16, 2)))
    with applied(some_state(model).each(3)), pytest.raises(ConfigError, match="batch_first=False"):
        model(x)


def test_weights_of_one_row_fit_any_batch_and_others_do_not():
    layer = aet.elasticize(nn.MultiheadAttention(16, 2, batch_first=True))
    x, state = torch.randn(3, 5, 16), some_state(layer)
    with applied(state):
        shared, _ = layer(x, x, x)
    with applied(state.each(1)):
        assert torch.allclose(layer(x, x, x)[0], shared, atol=1e-6)
    with applied(state.each(2)), pytest.raises(ConfigError, match="2 rows, but elastic works on a batch of 3"):
        layer(x, x, x)


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("norm_first", [True, False])
def test_encoder_and_decoder(batch_first, norm_first):
    shape = {"d_model": 16, "nhead": 2, "dim_feedforward": 24, "batch_first": batch_first, "norm_first": norm_first}
    plain = randomised(nn.Transformer(**shape, num_encoder_layers=2, num_decoder_layers=2))
    # As many rows as tokens: an axis that is taken for the other would not be noticed by its size.
    source, target = torch.randn(4, 4, 16), torch.randn(4, 4, 16)
    before = plain(source, target)
    model = aet.elasticize(plain)
    assert len([name for name in ElasticState.zeros(model) if name.endswith("log_beta")]) == 6
    state = some_state(model)
    with applied(ElasticState.zeros(model)):
        assert torch.equal(model(source, target), before)
    with applied(state):
        moved = model(source, target)
    assert torch.allclose(aet.merge(model, state)(source, target), moved, atol=1e-5)
    for layer in ("decoder.layers.0.multihead_attn", "encoder.layers.1.self_attn"):
        with applied(state.select(lambda name, layer=layer: name.startswith(layer))):
            assert (model(source, target) - before).abs().max() > 1e-4
    rows = ElasticState.stack([state, ElasticState.zeros(model)]).rows(torch.tensor([0, 1, 1, 0]))
    with applied(rows):
        mixed = model(source, target)
    axis = 0 if batch_first else 1
    for row, own in enumerate((moved, before, before, moved)):
        assert torch.allclose(mixed.select(axis, row), own.select(axis, row), atol=1e-5)


def test_the_fused_path_does_not_pass_the_dials_by():
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, batch_first=True), 2).eval()
    x, padding = torch.randn(3, 5, 16), torch.tensor([[False] * 5, [False] * 3 + [True] * 2, [False] * 5])
    with torch.no_grad():
        fused = encoder(x, src_key_padding_mask=padding)
        aet.elasticize(encoder)
        plain = encoder(x, src_key_padding_mask=padding)
        with applied(some_state(encoder)):
            moved = encoder(x, src_key_padding_mask=padding)
        assert torch.allclose(plain[~padding], fused[~padding], atol=1e-5)
        assert (moved - plain)[~padding].abs().max() > 1e-2
        merged = aet.merge(encoder, some_state(encoder))
        assert merged.use_nested_tensor
        assert merged.layers[0].activation_relu_or_gelu == 1
        assert torch.allclose(merged(x, src_key_padding_mask=padding)[~padding], moved[~padding], atol=1e-5)


def test_restored():
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, batch_first=True), 1).eval()
    keys = set(vars(encoder.layers[0].self_attn))
    aet.backbones.restore(aet.elasticize(encoder))
    assert set(vars(encoder.layers[0].self_attn)) == keys
    assert not [part for part in encoder.modules() if part._forward_hooks]
    aet.elasticize(encoder)  # and once more


def test_no_batch():
    plain = randomised(nn.MultiheadAttention(16, 2, batch_first=True))
    x, padding = torch.randn(5, 16), torch.tensor([False, False, False, True, True])
    source, weights = plain(x, x, x, key_padding_mask=padding)
    layer = aet.elasticize(plain)
    state = some_state(layer)
    with applied(ElasticState.zeros(layer)):
        again, again_weights = layer(x, x, x, key_padding_mask=padding)
    assert torch.equal(again, source)
    assert torch.equal(again_weights, weights)
    with applied(state):
        one = layer(x, x, x, key_padding_mask=padding)[0]
        assert torch.allclose(one, layer(x[None], x[None], x[None], key_padding_mask=padding[None])[0][0], atol=1e-6)


def test_padded_places_stay_empty_where_nested_tensors_left_them_out():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(16, 2, dim_feedforward=32, batch_first=True)
    encoder = nn.TransformerEncoder(layer, 2).eval()
    x, padding = torch.randn(3, 6, 16), torch.arange(6) >= torch.tensor([4, 6, 2])[:, None]
    with torch.no_grad():
        before = encoder(x, src_key_padding_mask=padding)
        after = aet.elasticize(encoder)(x, src_key_padding_mask=padding)
        torch.testing.assert_close(after, before, atol=1e-5, rtol=1e-4)
        aet.backbones.restore(encoder)
        assert torch.equal(encoder(x, src_key_padding_mask=padding), before)
