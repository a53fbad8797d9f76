import pytest
import torch

from aet.attention.attend import attend
from aet.attention.decay import decay
from aet.attention.key_weights import key_weights
from aet.attention.mechanisms import Dials, Mechanism, combine
from aet.attention.null_slot import null_slot
from aet.attention.obvious import attend_obvious
from aet.errors import ConfigError


def rows():
    torch.manual_seed(0)
    return torch.randn(3, 2, 4, 5, 8, dtype=torch.float64).unbind()


def test_combined_factors_add_their_scores():
    q, k, v = rows()
    weights, times = torch.rand(2, 5, dtype=torch.float64), torch.rand(2, 5, dtype=torch.float64)
    rate = torch.rand(4, dtype=torch.float64)
    both = combine(key_weights(weights), decay(times, rate))
    age = times[:, :, None] - times[:, None]  # (B, T, S)
    bias = weights.log()[:, None, None] - rate[:, None, None] * age[:, None]
    expected = attend_obvious(q, k, v, bias=bias, causal=True)
    torch.testing.assert_close(attend(q, k, v, **both), expected, rtol=0, atol=1e-12)


def test_combining_is_one_attend_whatever_the_order():
    q, k, v = rows()
    parts = [
        key_weights(torch.tensor([1.0, 0.0, 2.0, 1.0, 1.0], dtype=torch.float64)),
        null_slot(torch.zeros(4, dtype=torch.float64)),
        Dials(gate=0.5, inverse_temperature=2.0),
        Dials(gate=torch.rand(4, 1, 1), inverse_temperature=torch.rand(2, 4, 5, 1)),
    ]
    there, back = (attend(q, k, v, **combine(*order)) for order in (parts, parts[::-1]))
    torch.testing.assert_close(there, back, rtol=0, atol=1e-12)
    expected = attend(q, k, v, **combine(*parts[:2]), inverse_temperature=2 * parts[3]["inverse_temperature"])
    torch.testing.assert_close(there, expected * 0.5 * parts[3]["gate"], rtol=0, atol=1e-12)


def test_masks_intersect_and_scores_add():
    one, two = torch.tensor([True, True, False]), torch.tensor([True, False, True])
    scores = torch.tensor([0.5, 0.5, 0.5])
    assert combine(Dials(bias=one), Dials(bias=two))["bias"].tolist() == [True, False, False]
    for pair in ((one, scores), (scores, one)):
        assert combine(*(Dials(bias=b) for b in pair))["bias"].tolist() == [0.5, 0.5, -torch.inf]
    assert combine(Dials(bias=scores), Dials(bias=scores))["bias"].tolist() == [1.0, 1.0, 1.0]


def test_what_one_asks_for_holds_for_all():
    on, off = Dials(causal=True, null_slot=False), Dials(causal=False, null_slot=False)
    assert combine(on, off) == combine(off, on) == {"causal": True, "null_slot": False}


def test_two_scales_are_refused():
    assert combine(Dials(scale=0.5), Dials(scale=0.5)) == {"scale": 0.5}
    with pytest.raises(ConfigError, match=r"got 0.5 and 1.0"):
        combine(Dials(scale=0.5), Dials(scale=1.0))


def test_nothing_combines_to_nothing():
    assert combine() == {}


def test_a_mechanism_must_name_its_zero():
    with pytest.raises(NotImplementedError, match="Mechanism must say"):
        Mechanism.at_zero(8, 2)
