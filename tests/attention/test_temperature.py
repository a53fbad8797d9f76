import math

import pytest
import torch

from aet.attention.attend import attend
from aet.attention.entropy import attention_entropy
from aet.attention.temperature import FITTED, QASSMax, SSMax, adaptive_temperature, ssmax


def rows(tokens=6):
    torch.manual_seed(0)
    return torch.randn(3, 2, 4, tokens, 8, dtype=torch.float64).unbind()


def test_ssmax_equals_the_scaled_query_and_is_causal_aware():
    q, k, v = rows()
    s = torch.rand(4, dtype=torch.float64) + 0.2
    n = torch.arange(1, 7, dtype=torch.float64)
    expected = attend(q * s[:, None, None] * n.log()[:, None], k, v, causal=True)
    torch.testing.assert_close(attend(q, k, v, causal=True, **ssmax(n, s)), expected, rtol=0, atol=1e-12)


def test_ssmax_is_n_to_the_power_of_the_scaled_score():
    """SSMax: n^{s z_i} / Σ n^{s z_j}."""
    q, k, v = rows()
    terms = 6 ** (0.43 * (q @ k.mT) * 8**-0.5)
    expected = terms @ v / terms.sum(-1, keepdim=True)
    dials = ssmax(6, torch.tensor(0.43, dtype=torch.float64))
    torch.testing.assert_close(attend(q, k, v, **dials), expected, rtol=0, atol=1e-12)


def test_ssmax_moves_with_s_and_with_n():
    """A port that subtracts s·log n from all scores would not move at all."""
    q, k, v = rows()
    outs = [attend(q, k, v, **ssmax(n, torch.tensor(s).double())) for n, s in ((6, 0.4), (6, 0.8), (60, 0.4))]
    assert (outs[0] - outs[1]).abs().max() > 0.05
    assert (outs[0] - outs[2]).abs().max() > 0.05


@pytest.mark.parametrize(
    ("lengths", "shape"),
    [(5, (1, 4, 1, 1)), (torch.arange(1, 7), (1, 4, 6, 1)), (torch.ones(2, 1), (2, 4, 1, 1))],
)
def test_lengths_by_number_by_query_and_by_row(lengths, shape):
    assert ssmax(lengths, torch.ones(4))["inverse_temperature"].shape == shape


def test_a_query_that_sees_no_key_has_a_finite_temperature():
    assert ssmax(0, torch.ones(4))["inverse_temperature"].abs().max() == 0


def test_ssmax_learns_from_its_start():
    q, k, v = rows()
    scaled = SSMax(heads=4).double()
    attend(q, k, v, **scaled(torch.full((2, 6), 6.0))).pow(2).sum().backward()
    assert (scaled.slope.grad.abs() > 0).all()


def test_qassmax_equals_its_formula():
    q, k, v = rows()
    torch.manual_seed(1)
    module = QASSMax(heads=4, width=8, hidden=5).double()
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    log_n = torch.full((1, 1), math.log(9), dtype=torch.float64)
    base = module.base(log_n).view(1, 4, 1, 8)
    expected = attend(q * base * (1 + torch.tanh(module.gate(q))), k, v)
    torch.testing.assert_close(attend(q, k, v, **module(q, 9)), expected, rtol=0, atol=1e-12)


def test_qassmax_starts_as_one_with_a_gradient_in_both_parts():
    q, k, v = rows()
    module = QASSMax(heads=4, width=8).double()
    dials = module(q, torch.full((2, 6), 6))
    assert torch.equal(dials["inverse_temperature"], torch.ones(2, 4, 6, 8, dtype=torch.float64))
    attend(q, k, v, **dials).pow(2).sum().backward()
    assert module.base[-1].weight.grad.abs().max() > 0
    assert module.gate[-1].weight.grad.abs().max() > 0


def test_qassmax_takes_a_length_for_each_query():
    torch.manual_seed(1)
    module = QASSMax(heads=4, width=8).double()
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    q, _, _ = rows()
    each = module(q, torch.arange(1, 7))["inverse_temperature"]
    torch.testing.assert_close(each[:, :, 3], module(q, 4)["inverse_temperature"][:, :, 3])
    assert (each[:, :, 3] - module(q, 5)["inverse_temperature"][:, :, 3]).abs().max() > 1e-3


# At an entropy of 1 both orders of the coefficients agree; the others tell them apart.
@pytest.mark.parametrize(("entropy", "beta"), [(1.0, 1.270), (1.5, 1.846), (2.0, 2.099), (3.0, 2.250), (4.0, 2.389)])
def test_adaptive_temperature_reads_its_coefficients_from_the_highest_power(entropy, beta):
    got = adaptive_temperature(torch.tensor([[[entropy]]], dtype=torch.float64))["inverse_temperature"]
    assert got.item() == pytest.approx(beta, abs=6e-4)


def test_adaptive_temperature_never_acts_below_half_and_never_softens():
    entropy = torch.linspace(0, 9, 200).view(1, 1, -1)
    beta = adaptive_temperature(entropy)["inverse_temperature"][..., 0]
    assert torch.equal(beta[entropy <= 0.5], torch.ones_like(beta[entropy <= 0.5]))
    assert (beta >= 1).all()
    assert beta.max() > 2
    assert len(FITTED) == 5


def test_adaptive_temperature_with_other_coefficients():
    entropy = torch.tensor([0.4, 0.5, 0.6, 3.0]).view(1, 1, -1)
    beta = adaptive_temperature(entropy, (1.0, 2.0))["inverse_temperature"]
    torch.testing.assert_close(beta.flatten(), torch.tensor([1.0, 1.0, 2.6, 5.0]))


def test_adaptive_temperature_sharpens_attention():
    q, k, v = rows()
    before = attention_entropy(q, k)
    dials = adaptive_temperature(before)
    after = attention_entropy(q, k, inverse_temperature=dials["inverse_temperature"])
    assert (after <= before + 1e-12).all()
    assert after.mean() < before.mean() - 0.1
    assert (attend(q, k, v, **dials) - attend(q, k, v)).abs().max() > 0.01
