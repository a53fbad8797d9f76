import itertools

import pytest
import torch
from torch.nn import functional as F

from aet.attention.attend import attend
from aet.attention.obvious import attend_obvious, attention_scores, softmax_or_zero
from aet.errors import ConfigError

B, H, T, S, D = 2, 4, 5, 7, 8


def inputs(heads=H, keys=S, width=D, dtype=torch.float64, seed=0):
    torch.manual_seed(seed)
    query = torch.randn(B, H, T, width, dtype=dtype)
    key, value = torch.randn(2, B, heads, keys, width, dtype=dtype).unbind()
    return query, key, value


def dial_table():
    torch.manual_seed(1)
    mask = torch.rand(B, 1, T, S) > 0.3
    mask[:, :, 0] = False  # the first query sees nothing
    f64 = torch.float64
    return {
        "default": {},
        "scale": {"scale": 0.7},
        "beta_per_head": {"inverse_temperature": torch.rand(H, 1, 1, dtype=f64) + 0.5},
        "beta_per_query": {"inverse_temperature": torch.rand(B, H, T, 1, dtype=f64) * 3},
        "beta_per_channel": {"inverse_temperature": torch.rand(B, H, T, D, dtype=f64)},
        "beta_number": {"inverse_temperature": 1.7},
        "gate": {"gate": torch.rand(B, H, T, D, dtype=f64)},
        "factors": {
            "query_factor": torch.randn(H, T, 3, dtype=f64),
            "key_factor": torch.randn(B, 1, S, 3, dtype=f64),
        },
        "float_bias": {"bias": torch.randn(H, 1, S, dtype=f64)},
        "bool_bias": {"bias": mask},
        "null_slot": {"null_slot": True},
        "causal": {"causal": True},
    }


def all_pairs():
    table, pairs = dial_table(), []
    for one, two in itertools.combinations_with_replacement(table, 2):
        if {one, two} != {"null_slot", "causal"}:
            pairs.append(pytest.param(table[one] | table[two], id=f"{one}-{two}"))
    return pairs


@pytest.mark.parametrize("heads", [H, 2, 1])
@pytest.mark.parametrize("dials", all_pairs())
def test_equals_the_obvious_version_with_gradients(dials, heads):
    results = []
    for function in (attend, attend_obvious):
        leaves = [x.requires_grad_() for x in inputs(heads)]
        given = {
            name: dial.clone().requires_grad_() if torch.is_tensor(dial) and dial.is_floating_point() else dial
            for name, dial in dials.items()
        }
        leaves += [dial for dial in given.values() if torch.is_tensor(dial) and dial.requires_grad]
        out = function(*leaves[:3], **given)
        weight = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view_as(out)
        results.append((out, *torch.autograd.grad((out * weight).sum(), leaves)))
    for fast, obvious in zip(*results, strict=True):
        torch.testing.assert_close(fast, obvious, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("heads", [H, 2])
def test_default_is_sdpa_to_the_bit(dtype, causal, heads):
    q, k, v = inputs(heads, dtype=dtype)
    expected = F.scaled_dot_product_attention(q, k, v, is_causal=causal, enable_gqa=True)
    assert torch.equal(attend(q, k, v, causal=causal), expected)


def test_every_dial_changes_the_output():
    plain = attend(*inputs())
    for name, dials in dial_table().items():
        if name != "default":
            assert (attend(*inputs(), **dials) - plain).abs().max() > 1e-3, name


@pytest.mark.parametrize("name", sorted(set(dial_table()) - {"causal"}))
def test_is_equivariant_to_the_order_of_keys(name):
    dials = dial_table()[name]
    q, k, v = inputs()
    order = torch.randperm(S)
    moved = dict(dials)
    for dial, axis in (("key_factor", -2), ("bias", -1)):
        if dial in moved:
            moved[dial] = moved[dial].index_select(axis, order)
    shuffled = attend(q, k[:, :, order], v[:, :, order], **moved)
    torch.testing.assert_close(shuffled, attend(q, k, v, **dials), rtol=0, atol=1e-12)


def test_causal_leaks_nothing_from_later_keys():
    q, k, v = inputs(keys=T)
    k.requires_grad_()
    factors = {"query_factor": torch.ones(1, 1).double(), "key_factor": torch.randn(T, 1).double()}
    out = attend(q, k, v, causal=True, **factors)
    for i in range(T):
        (grad,) = torch.autograd.grad(out[:, :, i].sum(), k, retain_graph=True)
        assert not grad[:, :, i + 1 :].any()
        if i:
            assert grad[:, :, : i + 1].all()


@pytest.mark.parametrize("blind", ["bool", "float", "factor"])
def test_a_query_that_sees_no_key_gets_zero_and_finite_gradients(blind):
    q, k, v = (x.requires_grad_() for x in inputs())
    hidden = torch.zeros(B, 1, T, S, dtype=torch.bool)
    if blind == "bool":
        dials = {"bias": hidden}
    elif blind == "float":
        dials = {"bias": torch.zeros(1, dtype=torch.float64).where(hidden, -torch.inf)}
    else:
        dials = {"query_factor": torch.ones(1, 1), "key_factor": torch.full((S, 1), -torch.inf)}
    out = attend(q, k, v, **dials)
    assert torch.equal(out, torch.zeros_like(out))
    out.sum().backward()
    assert all(x.grad.isfinite().all() for x in (q, k, v))


def test_value_may_be_narrower_or_wider_than_the_key():
    q, k, _ = inputs()
    factors = {"query_factor": torch.randn(T, 2).double(), "key_factor": torch.randn(S, 2).double()}
    for width in (1, D, D + 1, D + 5):
        v = torch.randn(B, H, S, width, dtype=torch.float64)
        fast, slow = attend(q, k, v, **factors), attend_obvious(q, k, v, **factors)
        assert fast.shape == (B, H, T, width)
        torch.testing.assert_close(fast, slow, rtol=0, atol=1e-12)


def test_empty_batch_and_single_token():
    q, k, v = inputs()
    assert attend(q[:0], k[:0], v[:0], gate=2.0, null_slot=True).shape == (0, H, T, D)
    alone = attend(q[:, :, :1], k[:, :, :1], v[:, :, :1], inverse_temperature=3.0)
    torch.testing.assert_close(alone, v[:, :, :1])


@pytest.mark.parametrize("size", [0.0, 300.0])
def test_bfloat16_factors_keep_their_precision(size):
    q, k, v = (x.bfloat16() for x in inputs(keys=64))
    a, b = torch.rand(H, T, 1) + 0.5, torch.randn(64, 1) + size
    exact = attend_obvious(q.double(), k.double(), v.double(), query_factor=a.double(), key_factor=b.double())
    split = attend(q, k, v, query_factor=a, key_factor=b)
    single = attend(q, k, v, query_factor=a.bfloat16(), key_factor=b.bfloat16())
    assert split.dtype == torch.bfloat16
    error = (split - exact).abs().mean()
    assert error < 0.004
    if size:
        assert error < (single - exact).abs().mean() / 5


def test_bfloat16_factors_can_remove_keys():
    q, k, v = (x.bfloat16() for x in inputs())
    b = torch.tensor([0.0, -torch.inf, 0.3, -torch.inf, 0.1, 0.2, -torch.inf])[:, None]
    a = torch.tensor([[1.1]])
    kept = b[:, 0].isfinite()
    fewer = attend(q, k[:, :, kept], v[:, :, kept], query_factor=a, key_factor=b[kept])
    torch.testing.assert_close(attend(q, k, v, query_factor=a, key_factor=b), fewer, rtol=0, atol=0.02)


def test_autocast_splits_the_factors_too():
    q, k, v = inputs(keys=64, dtype=torch.float32)
    a, b = torch.rand(H, T, 1) + 0.5, torch.randn(64, 1) + 300
    with torch.autocast("cpu", torch.bfloat16):
        out = attend(q, k, v, query_factor=a, key_factor=b)
    assert out.dtype == torch.bfloat16
    exact = attend_obvious(q, k, v, query_factor=a, key_factor=b)
    assert (out - exact).abs().mean() < 0.01


def test_dials_in_another_type_keep_the_type_of_the_query():
    q, k, v = (x.bfloat16() for x in inputs())
    out = attend(q, k, v, inverse_temperature=torch.ones(H, 1, 1), gate=torch.ones(H, 1, 1), bias=torch.zeros(S))
    assert out.dtype == torch.bfloat16
    assert torch.equal(out, attend(q, k, v))


def test_second_derivative_under_the_math_kernel():
    q, k, v = (x[:, :1, :2] for x in inputs())
    q.requires_grad_()
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        (grad,) = torch.autograd.grad(attend(q, k, v).pow(2).sum(), q, create_graph=True)
        (second,) = torch.autograd.grad(grad.sum(), q)
    (obvious,) = torch.autograd.grad(attend_obvious(q, k, v).pow(2).sum(), q, create_graph=True)
    (expected,) = torch.autograd.grad(obvious.sum(), q)
    torch.testing.assert_close(second, expected, rtol=0, atol=1e-12)


BAD = {
    "three axes": (lambda q, k, v: attend(q[0], k, v), "do not fit"),
    "widths": (lambda q, k, v: attend(q[..., 1:], k, v), "do not fit"),
    "key heads": (lambda q, k, v: attend(q, k[:, :3], v[:, :3]), "dividing H"),
    "no key heads": (lambda q, k, v: attend(q, k[:, :0], v[:, :0]), "dividing H"),
    "value count": (lambda q, k, v: attend(q, k, v[:, :, 1:]), "do not fit"),
    "batch": (lambda q, k, v: attend(q[:1], k, v), "do not fit"),
    "beta": (
        lambda q, k, v: attend(q, k, v, inverse_temperature=torch.ones(H)),
        r"\(2, 4, 5, 8\), got \(4,\)",
    ),
    "gate": (lambda q, k, v: attend(q, k, v, gate=torch.ones(H + 1, 1, 1)), "gate does not fit"),
    "beta of a larger batch": (
        lambda q, k, v: attend(q[:1], k[:1], v[:1], inverse_temperature=torch.ones(B, 1, 1, 1)),
        "inverse_temperature",
    ),
    "lone factor": (lambda q, k, v: attend(q, k, v, key_factor=torch.ones(S, 1)), "key_factor came alone"),
    "rank": (
        lambda q, k, v: attend(q, k, v, query_factor=torch.ones(T, 2), key_factor=torch.ones(S, 1)),
        "rank",
    ),
    "key factor": (
        lambda q, k, v: attend(q, k, v, query_factor=torch.ones(T, 1), key_factor=torch.ones(S + 1, 1)),
        "key_factor does not fit",
    ),
    "no scale": (
        lambda q, k, v: attend(q, k, v, query_factor=torch.ones(T, 1), key_factor=torch.ones(S, 1), scale=0),
        "scale is 0",
    ),
    "integer mask": (lambda q, k, v: attend(q, k, v, bias=torch.ones(T, S, dtype=torch.long)), "bias.bool"),
    "bias": (lambda q, k, v: attend(q, k, v, bias=torch.ones(T, S + 1)), "bias does not fit"),
    "null and causal": (lambda q, k, v: attend(q, k, v, null_slot=True, causal=True), "tril"),
    "null and causal, obvious": (
        lambda q, k, v: attend_obvious(q, k, v, null_slot=True, causal=True),
        "tril",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_shapes_say_what_is_wrong(case):
    call, message = BAD[case]
    with pytest.raises(ConfigError, match=message):
        call(*inputs(dtype=torch.float32))


def test_scores_and_softmax_written_out():
    q, k, _ = inputs()
    scores = attention_scores(q, k, scale=1.0)
    torch.testing.assert_close(scores[1, 2, 3, 4], (q[1, 2, 3] * k[1, 2, 4]).sum())
    blind = torch.full((2, 3), -torch.inf, requires_grad=True)
    softmax_or_zero(blind).sum().backward()
    assert torch.equal(blind.grad, torch.zeros(2, 3))
