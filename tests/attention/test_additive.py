import pytest
import torch

from aet.attention.additive import AdditivePooling
from aet.errors import ConfigError


def trained(query_dim=0):
    torch.manual_seed(0)
    module = AdditivePooling(dim=6, hidden=4, query_dim=query_dim).double()
    torch.nn.init.normal_(module.score)
    return module


def test_equals_bahdanaus_formula_token_by_token():
    module = trained(query_dim=3)
    x, q = torch.randn(2, 5, 6, dtype=torch.float64), torch.randn(2, 3, dtype=torch.float64)
    energy = torch.zeros(2, 5, dtype=torch.float64)
    for row in range(2):
        for j in range(5):
            inside = module.key.weight @ x[row, j] + module.query.weight @ q[row] + module.key.bias
            energy[row, j] = module.score @ torch.tanh(inside)
    pooled, weights = module(x, query=q)
    torch.testing.assert_close(weights, energy.softmax(1), rtol=0, atol=1e-12)
    torch.testing.assert_close(pooled, (energy.softmax(1)[..., None] * x).sum(1), rtol=0, atol=1e-12)


def test_the_query_decides_where_to_look():
    module = trained(query_dim=3)
    x = torch.randn(1, 5, 6, dtype=torch.float64)
    one, two = (module(x, query=q.double())[1] for q in (torch.ones(1, 3), -3 * torch.ones(1, 3)))
    assert (one - two).abs().max() > 0.01


def test_learns_to_find_a_marked_token():
    torch.manual_seed(0)
    module = AdditivePooling(dim=4, hidden=8)
    optimiser = torch.optim.Adam(module.parameters(), 0.05)
    x = torch.randn(128, 6, 4)
    marked = torch.randint(6, (128,))
    x[torch.arange(128), marked, 0] = 4.0
    for _ in range(60):
        loss = -module(x)[1][torch.arange(128), marked].clamp(min=1e-9).log().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert (module(x)[1].argmax(1) == marked).float().mean() > 0.95


def test_query_given_exactly_when_built_for_one():
    x = torch.randn(1, 5, 6, dtype=torch.float64)
    with pytest.raises(ConfigError, match="expected a query, got none"):
        trained(query_dim=3)(x)
    with pytest.raises(ConfigError, match="expected no query, got one"):
        trained()(x, query=torch.randn(1, 3).double())
