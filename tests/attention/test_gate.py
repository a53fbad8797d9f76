import torch

from aet.attention.attend import attend
from aet.attention.gate import OutputGate


def test_multiplies_the_output_head_by_head():
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 2, 4, 5, 3, dtype=torch.float64).unbind()
    x = torch.randn(2, 5, 12, dtype=torch.float64)
    for width in (1, 3):
        gate = OutputGate(dim=12, heads=4, width=width).double()
        torch.nn.init.normal_(gate.project.weight)
        out = attend(q, k, v, **gate(x))
        plain = attend(q, k, v)
        for h in range(4):
            rows = gate.project.weight[h * width : (h + 1) * width]
            expected = plain[:, h] * 2 / (1 + (-(x @ rows.T)).exp())
            torch.testing.assert_close(out[:, h], expected, rtol=0, atol=1e-12)


def test_starts_as_exactly_one_with_a_gradient():
    x = torch.randn(2, 5, 12)
    gate = OutputGate(dim=12, heads=4, width=3)
    value = gate(x)["gate"]
    assert torch.equal(value, torch.ones(2, 4, 5, 3))
    value.sum().backward()
    assert gate.project.weight.grad.abs().max() > 0.1
