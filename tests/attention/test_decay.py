import pytest
import torch

from aet.attention.attend import attend
from aet.attention.decay import Decay, decay


def rows(tokens=6):
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 2, 4, tokens, 8, dtype=torch.float64).unbind()
    return q, k, v, torch.rand(2, tokens, dtype=torch.float64).cumsum(-1) * 5


def written_out(q, k, v, times, rate):
    age = times[:, None, :, None] - times[:, None, None]  # (B, 1, T, S)
    scores = q @ k.mT * q.shape[-1] ** -0.5 - rate[:, None, None] * age
    future = ~torch.ones(q.shape[2], q.shape[2], dtype=torch.bool).tril()
    return scores.masked_fill(future, -torch.inf).softmax(-1) @ v


def test_equals_the_written_out_form():
    q, k, v, times = rows()
    rate = torch.tensor([0.0, 0.1, 1.0, 30.0], dtype=torch.float64)
    expected = written_out(q, k, v, times, rate)
    torch.testing.assert_close(attend(q, k, v, **decay(times, rate)), expected, rtol=0, atol=1e-12)


def test_one_rate_for_all_heads():
    q, k, v, times = rows()
    rate = torch.tensor(0.7, dtype=torch.float64)
    expected = written_out(q, k, v, times, rate.expand(4))
    torch.testing.assert_close(attend(q, k, v, **decay(times, rate)), expected, rtol=0, atol=1e-12)


def test_half_life():
    q = torch.zeros(1, 1, 2, 4, dtype=torch.float64)
    v = torch.eye(2, 4, dtype=torch.float64)[None, None]
    out = attend(q, q, v, **decay(torch.tensor([[0.0, 3.0]]), torch.tensor(2.0, dtype=torch.float64).log() / 3))
    torch.testing.assert_close(out[0, 0, 1, :2], torch.tensor([1 / 3, 2 / 3], dtype=torch.float64))


def test_only_differences_of_times_count():
    q, k, v, _ = rows()
    rate = torch.rand(4, dtype=torch.float64)
    seconds = torch.tensor([[0, 2, 3, 7, 8, 20]]).expand(2, -1)
    near, epoch = (attend(q, k, v, **decay(seconds + start, rate)) for start in (0, 1_790_000_000))
    assert torch.equal(near, epoch)


def test_long_spans_in_bfloat16():
    """A decay of size hundreds in one narrow channel has a mean error of 0.026 (the split: 0.0013)."""
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 2, 4, 200, 32).bfloat16().unbind()
    times, rate = torch.arange(200.0).expand(2, -1) * 3, torch.rand(4) + 0.5
    expected = written_out(q.double(), k.double(), v.double(), times.double(), rate.double())
    assert (attend(q, k, v, **decay(times, rate)) - expected).abs().mean() < 0.004


def test_rate_learns_from_zero():
    q, k, v, times = rows()
    forget = Decay(heads=4).double()
    attend(q, k, v, **forget(times)).pow(2).sum().backward()
    assert (forget.rate.grad.abs() > 0).all()


def test_a_mask_of_ones_own():
    q, k, v, times = rows()
    rate = torch.rand(4, dtype=torch.float64)
    mask = torch.ones(6, 6, dtype=torch.bool).tril()
    by_hand = attend(q, k, v, **(decay(times, rate) | {"causal": False, "bias": mask}))
    torch.testing.assert_close(by_hand, attend(q, k, v, **decay(times, rate)), rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.int64, torch.float32])
def test_times_of_any_type(dtype):
    q, k, v, _ = rows()
    times = torch.tensor([0, 1, 1, 4, 5, 9], dtype=dtype)
    rate = torch.rand(4, dtype=torch.float64)
    expected = written_out(q, k, v, times.double().expand(2, -1), rate)
    torch.testing.assert_close(attend(q, k, v, **decay(times, rate)), expected, rtol=0, atol=1e-12)
