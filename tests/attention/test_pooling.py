import pytest
import torch

from aet.attention.pooling import pool
from aet.errors import ConfigError


def test_equals_the_written_out_mean():
    torch.manual_seed(0)
    scores, weights = torch.randn(3, 5, dtype=torch.float64), torch.rand(3, 5, dtype=torch.float64)
    tokens, mask = torch.randn(3, 5, 2, dtype=torch.float64), torch.rand(3, 5) > 0.3
    terms = weights * scores.exp() * mask
    expected = terms / terms.sum(1, keepdim=True)
    pooled, got = pool(scores, tokens, mask, weights)
    torch.testing.assert_close(got, expected)
    torch.testing.assert_close(pooled, (expected[..., None] * tokens).sum(1))


def test_weight_zero_has_a_finite_gradient():
    weights = torch.tensor([[0.0, 1.0, 2.0]], requires_grad=True)
    pool(torch.zeros(1, 3), torch.randn(1, 3, 4), None, weights)[0].sum().backward()
    assert weights.grad.isfinite().all()
    assert weights.grad[0, 1:].abs().min() > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mask": torch.ones(2, 4, dtype=torch.bool)}, r"mask does not fit.*\(2, 3\), got \(2, 4\)"),
        ({"mask": torch.ones(2, 3)}, "mask.bool"),
        ({"key_weights": torch.full((2, 3), -1.0)}, "0 or more"),
        ({"key_weights": torch.ones(3)}, "key_weights does not fit"),
    ],
)
def test_refusals(options, message):
    with pytest.raises(ConfigError, match=message):
        pool(torch.zeros(2, 3), torch.zeros(2, 3, 5), **options)
