"""Entropy focus: the formula by hand, in the pooling and, from the fused kernel, in the blocks."""

import math

import pytest
import torch

from aet.attention.layer import ElasticAttention
from aet.attention.state import ElasticState, applied, name_elastic
from aet.errors import ConfigError
from aet.training.switches.focus_entropy import FocusEntropy

from ..loops import prepared
from .test_focus_variance import run_of, term


def test_the_formula_by_hand():
    switch = FocusEntropy(target=0.25)
    weights = torch.tensor([[1.0, 0.0, 0.0], [1 / 3, 1 / 3, 1 / 3], [0.5, 0.5, 0.0]])
    share = torch.tensor([0.0, 1.0, math.log(2) / math.log(3)])
    torch.testing.assert_close(switch.pooled(weights, None), (share - 0.25).square())
    mask = torch.tensor([[True, False, False], [True, True, True], [True, True, False]])
    torch.testing.assert_close(switch.pooled(weights, mask), torch.tensor([0.0, 0.5625, 0.5625]))


def test_padding_has_a_finite_slope_of_zero():
    scores = torch.tensor([[1.0, 2.0, -torch.inf]], requires_grad=True)
    mask = torch.tensor([[True, True, False]])
    slope = torch.autograd.grad(FocusEntropy().pooled(scores.softmax(-1), mask).sum(), scores)[0]
    assert slope[0, :2].abs().min() > 0
    assert slope[0, 2] == 0


@pytest.mark.parametrize("moved", [False, True])
def test_the_blocks_have_the_loss_of_the_weights_written_out(moved):
    torch.manual_seed(0)
    layer = name_elastic(ElasticAttention(8, 2).double())
    x = 2 * torch.randn(3, 5, 8, dtype=torch.float64)
    mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2, [True] + [False] * 4])
    state = ElasticState.zeros(layer).map(lambda _, t: t + 0.3 * moved)
    switch = FocusEntropy(target=0.3)
    with applied(state):
        got = switch.block(layer, x, mask)
        weights = layer.weights(x, mask[:, None, None])
    for row in range(3):
        real = mask[row]
        a = weights[row][:, real][..., real]  # (H, t, t)
        count = int(real.sum())
        if count == 1:
            assert got[row] == 0
        else:
            share = torch.special.entr(a).sum(-1) / math.log(count)
            torch.testing.assert_close(got[row], (share - 0.3).square().mean())
    slopes = torch.autograd.grad(got.sum(), layer.qkv.weight)[0]
    assert slopes[:16].abs().sum() > 0  # queries and keys
    assert slopes[16:].abs().sum() == 0  # values have no part in it


def test_it_pulls_towards_the_target_from_both_sides():
    for target, start in ((0.2, 0.0), (0.9, 4.0)):
        scores = (start * torch.eye(4)[:1] + 0.01 * torch.randn(1, 4)).requires_grad_()
        switch = FocusEntropy(target=target)
        optimiser = torch.optim.Adam([scores], lr=0.1)
        for _ in range(100):
            optimiser.zero_grad()
            switch.pooled(scores.softmax(-1), None).sum().backward()
            optimiser.step()
        entropy = torch.special.entr(scores.softmax(-1)).sum() / math.log(4)
        assert float(entropy.detach()) == pytest.approx(target, abs=0.02)


def test_the_term_is_added_to_the_loss():
    model, *rows = prepared()
    model.eval()
    switch = FocusEntropy(strength=3.0, target=0.5)
    added = term(switch, model, rows[0], run_of(model, *rows))
    assert float(added.detach()) == pytest.approx(3 * 0.25, rel=1e-4)  # pooling starts as the mean: entropy log T


def test_a_target_above_one():
    with pytest.raises(ConfigError, match=r"target .* share of log T"):
        FocusEntropy(target=1.5)
