"""The bias of known relations: zero at the start, the formula, the kernel."""

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from aet.attention.attend import attend
from aet.attention.relation_bias import PACE, Dense, GraphBias, LowRank, RuleBias

B, H, T, D, C, R = 2, 2, 5, 4, 3, 6


def scene(rows=B):
    torch.manual_seed(0)
    q, k, v = torch.randn(3, rows, H, T, D, dtype=torch.float64).unbind()
    near, far = torch.randn(2, rows, T, R, dtype=torch.float64).unbind()
    cores = torch.randn(C, R, R, dtype=torch.float64)
    low = LowRank(near, far, cores)
    return (q, k, v), low, Dense(torch.einsum("bir,crs,bjs->bijc", near, cores, far))


def moved():
    bias = GraphBias(["one", "two", "three"], H).double()
    torch.nn.init.normal_(bias.moved, std=0.05)
    return bias


@pytest.mark.parametrize("form", [1, 2])
def test_zero_is_plain_attention_and_no_trap(form):
    parts = scene()
    bias = GraphBias(["one", "two", "three"], H).double()
    out = attend(*parts[0], **bias(parts[form]))
    torch.testing.assert_close(out, attend(*parts[0]), rtol=0, atol=1e-12)
    out.square().sum().backward()
    assert bias.moved.grad.abs().min() > 0
    assert bias(None) == {}


def test_both_forms_are_the_formula():
    (q, k, v), low, dense = scene()
    bias = moved()
    s = PACE * bias.moved
    scores = q @ k.mT / D**0.5 + torch.einsum("bijc,ch->bhij", dense.pairs, s)
    expected = scores.softmax(-1) @ v
    torch.testing.assert_close(attend(q, k, v, **bias(low)), expected)
    torch.testing.assert_close(attend(q, k, v, **bias(dense)), expected)
    alone = LowRank(low.near[1:], low.far[1:], low.cores)
    torch.testing.assert_close(attend(q[1:], k[1:], v[1:], **bias(alone)), expected[1:])


def test_gradients():
    (q, k, v), low, _ = scene()
    bias = moved()

    def run(q, moved):
        return attend(q, k, v, **torch.func.functional_call(bias, {"moved": moved}, (low,)))

    leaves = q.requires_grad_(), bias.moved.detach().clone().requires_grad_()
    assert torch.autograd.gradcheck(run, leaves, fast_mode=True)


def test_rules_start_where_they_are_told():
    (q, k, v), low, dense = scene()
    rules = RuleBias(["one", "two", "three"], H, [1.5, 0.0, -0.5]).double()
    expected = q @ k.mT / D**0.5 + (dense.pairs * torch.tensor([1.5, 0.0, -0.5])).sum(-1)[:, None]
    torch.testing.assert_close(attend(q, k, v, **rules(low)), expected.softmax(-1) @ v)
    learned = rules.learned()
    assert all(bool((now == start).all()) for now, start in learned.values())
    assert [start for _, start in learned.values()] == [1.5, 0.0, -0.5]


def test_the_fused_kernel():
    (q, k, v), low, _ = scene()
    q, k, v = (x.float() for x in (q, k, v))
    bias = moved().float()
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        attend(q, k, v, **bias(LowRank(*(x.float() for x in low)))).sum().backward()
    ran = {event.key for event in seen.key_averages()}
    assert "aten::_scaled_dot_product_flash_attention_for_cpu" in ran
    assert bias.moved.grad.abs().sum() > 0
