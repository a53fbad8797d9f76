import pytest
import torch

from aet.attention.attend import attend
from aet.attention.multiplicative import Multiplicative
from aet.errors import ConfigError


@pytest.mark.parametrize("key_width", [3, 6])
def test_equals_the_general_score_written_out(key_width):
    torch.manual_seed(0)
    q = torch.randn(2, 4, 5, 6, dtype=torch.float64)
    k, v = torch.randn(2, 2, 4, 7, key_width, dtype=torch.float64).unbind()
    luong = Multiplicative(heads=4, query_width=6, key_width=key_width).double()
    torch.nn.init.normal_(luong.weight)
    scores = torch.einsum("bhtd,hde,bhse->bhts", q, luong.weight, k)
    expected = (scores * key_width**-0.5).softmax(-1) @ v
    torch.testing.assert_close(attend(luong(q), k, v), expected, rtol=0, atol=1e-12)


def test_starts_as_the_dot_score_to_the_bit():
    q = torch.randn(2, 4, 5, 6)
    assert torch.equal(Multiplicative(heads=4, query_width=6)(q), q)


def test_a_foreign_query_is_refused():
    with pytest.raises(ConfigError, match=r"Expected \(B, 4, T, 6\)"):
        Multiplicative(heads=4, query_width=6)(torch.randn(2, 4, 5, 7))
