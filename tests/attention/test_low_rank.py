import pytest
import torch

from aet.attention.attend import attend
from aet.attention.low_rank import ConceptBias
from aet.attention.obvious import attend_obvious
from aet.errors import ConfigError


def rows():
    torch.manual_seed(0)
    return torch.randn(3, 2, 4, 5, 8, dtype=torch.float64).unbind()


def trained():
    torch.manual_seed(1)
    bias = ConceptBias(concepts=6, heads=4, rank=3).double()
    torch.nn.init.normal_(bias.key_table)
    return bias


def test_equals_a_dense_table_of_concept_pairs():
    q, k, v = rows()
    bias, c = trained(), torch.randint(6, (2, 5))
    table = torch.einsum("ahr,bhr->hab", bias.query_table, bias.key_table)  # (H, concepts, concepts)
    dense = table[:, c[:, :, None], c[:, None]].transpose(0, 1)  # (B, H, T, S)
    expected = attend_obvious(q, k, v, bias=dense)
    torch.testing.assert_close(attend(q, k, v, **bias(c)), expected, rtol=0, atol=1e-12)


def test_keys_may_have_concepts_of_their_own():
    q, k, v = rows()
    bias, c, d = trained(), torch.randint(6, (2, 5)), torch.randint(6, (2, 5))
    for i in range(5):
        one = attend(q[:, :, [i]], k, v, **bias(c[:, [i]], d))
        torch.testing.assert_close(one, attend(q, k, v, **bias(c, d))[:, :, [i]], rtol=0, atol=1e-12)


def test_starts_without_effect_but_with_a_gradient():
    q, k, v = rows()
    bias = ConceptBias(concepts=6, heads=4).double()
    out = attend(q, k, v, **bias(torch.randint(6, (2, 5))))
    torch.testing.assert_close(out, attend(q, k, v), rtol=0, atol=1e-12)
    out.pow(2).sum().backward()
    assert bias.key_table.grad.abs().max() > 1e-4


@pytest.mark.parametrize("concept", [-1, 6])
def test_unknown_concepts_are_refused(concept):
    with pytest.raises(ConfigError, match="from 0 to 5"):
        trained()(torch.tensor([[0, concept]]))
