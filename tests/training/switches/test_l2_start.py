"""Decay to the start, by hand."""

import torch

from aet.training.loop import fit

from .steps import loss, made, run_of, seen


def test_by_hand():
    model, batch = made()
    run = run_of(model, batch, {"l2_start": {"alpha": 0.5}})
    plain = float(seen(run, batch).losses.detach().mean())
    assert abs(float(loss(run, batch).detach()) - plain) < 1e-6
    model.output.head.bias.data += torch.tensor([1.0, -2.0])
    moved = float(seen(run, batch).losses.mean())
    assert abs(float(loss(run, batch)) - (moved + 0.25 * 5)) < 1e-5


def test_zero_is_off():
    model, batch = made()
    run = run_of(model, batch, {"l2_start": {"alpha": 0.0}})
    assert run.switches[0].term(run, seen(run, batch)) is None
    assert not run.switches[0].acted()


def test_a_strong_pull_stays_near_the_start():
    away = []
    for alpha in (1e-4, 10.0):
        model, batch = made(epochs=3, switches={"l2_start": {"alpha": alpha}})
        start = [p.detach().clone() for p in model.parameters()]
        fit(model, batch, batch)
        away.append(sum(float((p - s).square().sum()) for p, s in zip(model.parameters(), start, strict=True)))
    assert away[1] < 0.5 * away[0]
