"""Meta-Weight-Net: V by hand, its gradient against the clean loss after a step, what it learns of wrong labels."""

import math

import pytest
import torch

from aet.batch import Batch
from aet.training.loop import batch_loss, fit
from aet.training.row_weights import mean_one
from aet.training.switches.meta_weights import MetaWeights, weight_of

from ...made import signs
from ..loops import prepared
from .test_focus_variance import run_of


def test_the_network_by_hand():
    theta = torch.tensor([2.0, -1.0, 0.5, 1.0, 3.0, -2.0, 0.25])  # a, b, u of two units, c
    hidden = [max(0, 2 * 0.5 + 0.5), max(0, -0.5 + 1.0)]
    expected = 1 / (1 + math.exp(-(3 * hidden[0] - 2 * hidden[1] + 0.25)))
    assert float(weight_of(torch.tensor([0.5]), theta)) == pytest.approx(expected)


def test_it_starts_with_all_rows_alike_and_moves_once_a_step():
    model, train, valid = prepared()
    run, switch = run_of(model, train, valid), MetaWeights()
    switch.begin(run)
    assert mean_one(weight_of(torch.rand(5), switch.theta), None).tolist() == [1.0] * 5
    run.rows = torch.arange(48)
    for _ in range(3):  # the second and the third time as a repeated pass of the same rows
        batch_loss(run, [switch], model.trunk, train[run.rows])
    assert switch.calls == 1
    switch.stepped(run)
    batch_loss(run, [switch], model.trunk, train[run.rows])
    assert switch.calls == 2
    assert not model.output.head._forward_pre_hooks


def test_theta_falls_along_the_clean_loss_after_a_step_of_the_head():
    """d/dθ of the clean loss at w - ε Σ w_i(θ) g_i / n, found by autograd through that step."""
    torch.manual_seed(3)
    model, train, valid = prepared(signs(150), dropout=0.0)
    model.double().eval()
    train, valid = (b.map(lambda t: t.double() if t.is_floating_point() else t) for b in (train, valid))
    run, switch = run_of(model, train, valid), MetaWeights(hidden=4, share=1.0)
    switch.begin(run)
    switch.theta = torch.randn(13, dtype=torch.float64)
    switch.first, switch.second = torch.zeros_like(switch.theta), torch.zeros_like(switch.theta)
    start = switch.theta.requires_grad_()
    rows, run.rows = train[torch.arange(10)], torch.arange(10)
    losses = model.output.losses(model(rows), rows.target)
    weights = mean_one(weight_of(losses.detach(), start), None)
    head = model.output.head
    slopes = [torch.autograd.grad(loss, (head.weight, head.bias), retain_graph=True) for loss in losses]
    step = [sum(w * g[i] for w, g in zip(weights, slopes, strict=True)) / 10 for i in range(2)]
    summary = model.trunk(*model.tokens(switch.clean)).detach()
    logits = torch.nn.functional.linear(
        summary, head.weight.detach() - 1e-6 * step[0], head.bias.detach() - 1e-6 * step[1]
    )
    expected = torch.autograd.grad(model.output.losses(logits, switch.clean.target).mean(), start)[0] / 1e-6
    switch.theta = start.detach()
    batch_loss(run, [switch], model.trunk, rows)
    torch.testing.assert_close(switch.first / 0.1, expected, rtol=1e-3, atol=1e-6)


def test_a_count_of_two_is_the_row_given_twice_and_of_zero_the_row_left_out():
    model, train, valid = prepared()
    model.eval()
    run, moved = run_of(model, train, valid), []
    three = train[torch.arange(3)]
    counted = Batch(three.values, three.target, torch.tensor([2.0, 0.0, 1.0]))
    for batch in (counted, three[torch.tensor([0, 0, 2])]):
        torch.manual_seed(0)
        switch = MetaWeights(share=1.0)
        switch.begin(run)
        run.rows = torch.arange(3)
        moved.append((batch_loss(run, [switch], model.trunk, batch).detach(), switch.theta))
    torch.testing.assert_close(moved[0], moved[1], rtol=1e-4, atol=1e-5)


def test_it_learns_that_large_losses_are_wrong_labels():
    model, train, valid = prepared(signs(150), epochs=6, lr=0.02, drift=0.0, dropout=0.0)
    fit(model, train, valid)
    wrong = torch.arange(len(train)) % 4 == 0
    noisy = Batch(train.values, torch.where(wrong, 1 - train.target, train.target))
    run, switch = run_of(model, train, valid), MetaWeights()
    switch.begin(run)
    run.rows = torch.arange(len(train))
    for _ in range(40):
        batch_loss(run, [switch], model.trunk, noisy)
        switch.stepped(run)
    small, large = weight_of(torch.tensor([0.1, 2.0]), switch.theta).tolist()
    assert large < 0.8 * small
    assert "learned from 40 batches" in switch.acted()
