import math

import pytest
import torch

from aet.attention.entropy import attention_entropy
from aet.attention.obvious import attention_scores, softmax_or_zero
from aet.errors import ConfigError


def rows(heads=4, dtype=torch.float64):
    torch.manual_seed(0)
    return torch.randn(2, 4, 6, 8, dtype=dtype), torch.randn(2, heads, 6, 8, dtype=dtype)


def written_out(q, k, **dials):
    p = softmax_or_zero(attention_scores(q, k, **dials))
    return -torch.special.xlogy(p, p).sum(-1)


MASK = torch.tensor([[True, False, True, True, False, True]]).expand(6, -1).clone()
MASK[2] = False
CASES = {
    "plain": {},
    "scale": {"scale": 1.3},
    "beta": {"inverse_temperature": 4.0},
    "beta per head": {"inverse_temperature": torch.arange(4.0, dtype=torch.float64).view(4, 1, 1)},
    "causal": {"causal": True},
    "mask": {"bias": MASK},
    "mask per row": {"bias": torch.tensor([[True] * 6, [True] * 3 + [False] * 3])[:, None, None]},
    "mask and causal": {"bias": MASK, "causal": True},
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("heads", [4, 2])
def test_equals_the_written_out_entropy(case, heads):
    q, k = rows(heads)
    expected = written_out(q, k, **CASES[case])
    torch.testing.assert_close(attention_entropy(q, k, **CASES[case]), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("sharpness", [0.0, 1.0, 10.0, 30.0])
def test_float32_over_a_wide_range_of_scores(sharpness):
    q, k = rows(dtype=torch.float32)
    got = attention_entropy(q, k, inverse_temperature=sharpness)
    expected = written_out(q.double(), k.double(), inverse_temperature=sharpness)
    assert (got - expected).abs().max() < 2e-5 * (1 + sharpness)


def test_scores_out_of_reach_give_infinity_and_not_a_wrong_number():
    q, k = torch.full((1, 1, 1, 4), 30.0), torch.zeros(1, 1, 60, 4)
    k[0, 0, 0] = 10.0
    assert attention_entropy(q, k).item() == torch.inf


def test_narrow_types_and_autocast_compute_in_float32():
    q, k = rows(dtype=torch.bfloat16)
    expected = written_out(q.double(), k.double()).float()
    assert attention_entropy(q, k).dtype == torch.float32
    torch.testing.assert_close(attention_entropy(q, k), expected, rtol=0, atol=2e-3)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(attention_entropy(q.float(), k.float()), expected, rtol=0, atol=1e-5)


def test_uniform_attention_has_the_log_of_its_keys():
    q, k = rows()
    torch.testing.assert_close(attention_entropy(q * 0, k), torch.full((2, 4, 6), math.log(6)).double())


def test_gradient():
    q, k = (x[:1, :2, :3].requires_grad_() for x in rows())
    assert torch.autograd.gradcheck(lambda q, k: attention_entropy(q, k, causal=True), (q, k))
    # a query that sees nothing
    attention_entropy(q, k, bias=torch.eye(3, dtype=torch.bool) & (torch.arange(3) > 0)[:, None]).sum().backward()
    assert q.grad.isfinite().all()


def test_added_scores_are_refused():
    with pytest.raises(ConfigError, match="boolean bias"):
        attention_entropy(*rows(), bias=torch.zeros(6, 6))
