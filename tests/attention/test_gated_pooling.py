import torch

from aet.attention.gated_pooling import GatedPooling


def test_equals_the_formula_instance_by_instance():
    torch.manual_seed(0)
    module = GatedPooling(dim=6, hidden=4).double()
    torch.nn.init.normal_(module.score)
    bag = torch.randn(1, 5, 6, dtype=torch.float64)
    terms = []
    for h in bag[0]:
        content = torch.tanh(module.content.weight @ h + module.content.bias)
        gate = 1 / (1 + torch.exp(-(module.gate.weight @ h + module.gate.bias)))
        terms.append((module.score @ (content * gate)).exp())
    expected = torch.stack(terms) / sum(terms)
    pooled, weights = module(bag)
    torch.testing.assert_close(weights[0], expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(pooled[0], expected @ bag[0], rtol=0, atol=1e-12)
