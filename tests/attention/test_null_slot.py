import pytest
import torch

from aet.attention.attend import attend
from aet.attention.null_slot import attend_with_null_mass, null_slot, softmax_off_by_one


def rows(heads=4):
    torch.manual_seed(0)
    q = torch.randn(2, 4, 5, 8, dtype=torch.float64)
    return q, *torch.randn(2, 2, heads, 7, 8, dtype=torch.float64).unbind()


def test_equals_softmax_off_by_one():
    q, k, v = rows()
    expected = softmax_off_by_one(q @ k.mT * 8**-0.5) @ v
    torch.testing.assert_close(attend(q, k, v, **null_slot()), expected, rtol=0, atol=1e-12)


def test_softmax_off_by_one_is_its_formula_and_does_not_overflow():
    scores = torch.randn(3, 6, dtype=torch.float64)
    terms = scores.exp()
    torch.testing.assert_close(softmax_off_by_one(scores), terms / (1 + terms.sum(-1, keepdim=True)))
    torch.testing.assert_close(softmax_off_by_one(scores, 0), terms / (1 + terms.sum(0)))
    assert softmax_off_by_one(torch.tensor([800.0, -800.0])).tolist() == [1.0, 0.0]
    assert softmax_off_by_one(torch.tensor([-800.0, -torch.inf])).tolist() == [0.0, 0.0]
    assert softmax_off_by_one(torch.full((2,), -torch.inf)).tolist() == [0.0, 0.0]


def test_learned_score_is_a_sink():
    q, k, v = rows()
    z = torch.tensor([-1.0, 0.0, 1.0, 3.0], dtype=torch.float64)
    scores = q @ k.mT * 8**-0.5
    sink = z[:, None, None].expand(2, 4, 5, 1)
    expected = torch.cat([scores, sink], -1).softmax(-1)[..., :-1] @ v
    torch.testing.assert_close(attend(q, k, v, **null_slot(z)), expected, rtol=0, atol=1e-12)


def test_without_keys_everything_goes_to_nothing():
    q, k, v = rows()
    hidden = torch.zeros(5, 7, dtype=torch.bool)
    out, mass = attend_with_null_mass(q, k, v, bias=hidden)
    assert torch.equal(out, torch.zeros_like(out))
    assert torch.equal(mass, torch.ones_like(mass))


@pytest.mark.parametrize("heads", [4, 2])
def test_mass_equals_the_written_out_weight(heads):
    q, k, v = rows(heads)
    dials = {"inverse_temperature": torch.rand(2, 4, 5, 8).double(), "gate": torch.rand(4, 1, 1).double()}
    dials |= {"bias": torch.randn(5, 7).double()}
    dials |= {"query_factor": torch.randn(4, 5, 2).double(), "key_factor": torch.randn(7, 2).double()}
    out, mass = attend_with_null_mass(q, k, v, **dials)
    torch.testing.assert_close(out, attend(q, k, v, null_slot=True, **dials), rtol=0, atol=1e-12)
    scores = (q * dials["inverse_temperature"]) @ k.repeat_interleave(4 // heads, 1).mT * 8**-0.5
    scores = scores + dials["bias"] + dials["query_factor"] @ dials["key_factor"].mT
    torch.testing.assert_close(mass, 1 - softmax_off_by_one(scores).sum(-1), rtol=0, atol=1e-12)


def test_mass_has_a_gradient():
    q, k, v = (x[:1, :1, :2].requires_grad_() for x in rows())
    assert torch.autograd.gradcheck(attend_with_null_mass, (q, k, v))
