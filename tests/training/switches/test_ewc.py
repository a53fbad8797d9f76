"""Elastic weight consolidation: F by hand, where it comes from, what it holds."""

import pytest
import torch

from aet.training.loop import fit
from aet.training.reservoir import Reservoir
from aet.training.switches.ewc import fisher, unit

from .steps import loss, made, run_of, seen


@pytest.mark.parametrize("output", ["label", "number", "multilabel"])
def test_fisher_by_hand(output):
    """The head's bias: its gradient is that of the logits."""
    model, batch = made(output)
    model.eval()
    logits = model(batch).detach().requires_grad_()
    slopes = torch.autograd.grad(model.output.losses(logits, batch.target).sum(), logits)[0]
    found = fisher(model, batch, count=100)
    torch.testing.assert_close(found["output.head.bias"], slopes.square().mean(0))
    assert not model.training


def test_rows_count_by_their_weight():
    model, batch = made()
    twice = batch[torch.tensor([0, 0, 1])]
    one = fisher(model, twice, 100)
    other = fisher(model, type(batch)(batch.values, batch.target, torch.tensor([2.0, 1.0] + [0.0] * 14)), 100)
    assert all(torch.allclose(one[name], other[name], atol=1e-7) for name in one)


def test_by_hand():
    model, batch = made()
    run = run_of(model, batch, {"ewc": {"strength": 0.5}})
    known = unit(list(fisher(model, batch, 128).values()))
    place = [name for name, _ in model.named_parameters()].index("output.head.bias")
    model.output.head.bias.data += torch.tensor([1.0, -2.0])
    expected = float(seen(run, batch).losses.mean()) + 0.25 * float(known[place] @ torch.tensor([1.0, 4.0]))
    assert abs(float(loss(run, batch)) - expected) < 1e-5
    assert abs(sum(float(t.sum()) for t in known) / sum(t.numel() for t in known) - 1) < 1e-4


def test_kept_rows_come_before_a_kept_f_and_that_before_the_training_rows():
    model, batch = made()
    model.fisher = {name: torch.full_like(p, 3.0) for name, p in model.named_parameters()}
    ones = run_of(model, batch, {"ewc": {}}).switches[0].fisher
    assert all(torch.equal(t, torch.ones_like(t)) for t in ones)
    model.reservoir = Reservoir.empty(4).take(batch, False, 0, 0)
    (rows,) = (run_of(model, batch, {"ewc": {}}).switches[0].fisher,)
    expected = unit(list(fisher(model, model.reservoir.part(held=False), 128).values()))
    assert all(torch.equal(a, b) for a, b in zip(rows, expected, strict=True))


def test_where_nothing_matters_all_weights_do():
    assert unit([torch.zeros(2), torch.zeros(1)])[0].tolist() == [1.0, 1.0]


def test_zero_is_off():
    model, batch = made()
    run = run_of(model, batch, {"ewc": {"strength": 0.0}})
    assert run.switches[0].term(run, seen(run, batch)) is None
    assert not run.switches[0].acted()


def test_a_strong_pull_stays_near_the_start():
    away = []
    for strength in (1e-4, 100.0):
        model, batch = made(epochs=3, switches={"ewc": {"strength": strength}})
        start = [p.detach().clone() for p in model.parameters()]
        fit(model, batch, batch)
        away.append(sum(float((p - s).square().sum()) for p, s in zip(model.parameters(), start, strict=True)))
    assert away[1] < 0.7 * away[0]
