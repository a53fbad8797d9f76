import pytest
import torch

from aet.attention.attend import attend
from aet.attention.key_weights import key_weights
from aet.errors import ConfigError


def rows():
    torch.manual_seed(0)
    return torch.randn(3, 2, 4, 5, 8, dtype=torch.float64).unbind()


def test_weight_zero_removes_a_key():
    q, k, v = rows()
    weights = torch.tensor([1.0, 1.0, 0.0, 1.0, 0.0], dtype=torch.float64)
    fewer = attend(q, k[:, :, weights > 0], v[:, :, weights > 0])
    torch.testing.assert_close(attend(q, k, v, **key_weights(weights)), fewer, rtol=0, atol=1e-12)


def test_weight_two_is_the_key_given_twice():
    q, k, v = rows()
    weights = torch.tensor([[1.0, 2.0, 1.0, 1.0, 1.0], [3.0, 1.0, 1.0, 0.0, 1.0]], dtype=torch.float64)
    out = attend(q, k, v, **key_weights(weights))
    for row in range(2):
        often = torch.repeat_interleave(torch.arange(5), weights[row].long())
        expected = attend(q[[row]], k[[row]][:, :, often], v[[row]][:, :, often])
        torch.testing.assert_close(out[[row]], expected, rtol=0, atol=1e-12)


def test_equals_the_written_out_sum():
    q, k, v = rows()
    weights = torch.rand(2, 4, 5, dtype=torch.float64)
    terms = weights[:, :, None] * (q @ k.mT * 8**-0.5).exp()
    expected = terms @ v / terms.sum(-1, keepdim=True)
    torch.testing.assert_close(attend(q, k, v, **key_weights(weights)), expected, rtol=0, atol=1e-12)


def test_only_ratios_count():
    q, k, v = rows()
    weights = torch.rand(2, 5, dtype=torch.float64)
    one, thousand = (attend(q, k, v, **key_weights(weights * scale)) for scale in (1, 1000))
    torch.testing.assert_close(one, thousand, rtol=0, atol=1e-12)


def test_row_of_zeros_gives_zeros_and_gradients_stay_finite():
    q, k, v = (x.requires_grad_() for x in rows())
    weights = torch.ones(2, 5, dtype=torch.float64)
    weights[0] = 0
    weights.requires_grad_()
    out = attend(q, k, v, **key_weights(weights))
    assert torch.equal(out[0], torch.zeros_like(out[0]))
    out.pow(2).sum().backward()
    assert all(x.grad.isfinite().all() for x in (q, k, v, weights))
    assert torch.equal(weights.grad[0], torch.zeros(5, dtype=torch.float64))
    assert weights.grad[1].abs().max() > 0


@pytest.mark.parametrize("bad", [-1.0, float("nan")])
def test_bad_weights_are_refused(bad):
    with pytest.raises(ConfigError, match="0 or more"):
        key_weights(torch.tensor([1.0, bad]))
