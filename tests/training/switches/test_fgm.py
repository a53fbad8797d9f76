"""The fast gradient method against a move worked out by hand."""

from dataclasses import replace

import pytest
import torch

from aet.errors import ConfigError
from aet.training.switch import switched_on

from .steps import loss, made, run_of, seen


@pytest.mark.parametrize("output", ["label", "multilabel", "number"])
def test_by_hand(output):
    model, batch = made(output)
    batch = replace(batch, weight=torch.linspace(0, 2, len(batch)))
    run = run_of(model, batch, {"fgm": {"radius": 0.2, "weight": 0.5}})
    one = seen(run, batch)
    (slope,) = torch.autograd.grad(one.losses.sum(), one.tokens)
    moves = torch.stack([0.2 * x.norm() * g / g.norm() for x, g in zip(one.tokens.detach(), slope, strict=True)])
    logits = model.output(model.trunk(one.tokens.detach() + moves))
    moved = model.output.losses(logits, batch.target)
    expected = ((seen(run, batch).losses + 0.5 * moved) * batch.weight).mean()
    torch.testing.assert_close(loss(run, batch), expected)
    assert (moved >= one.losses).float().mean() > 0.9  # the moves are for the worse


def test_padding_does_not_move():
    model, batch = made()
    run = run_of(model, batch[:4], {"fgm": {}})
    one = seen(run, batch[:4])
    one.mask = torch.tensor([[True, True], [True, True], [True, False], [True, False]])
    short = run.switches[0].term(run, one)
    one.tokens = one.tokens.detach().masked_fill(~one.mask[..., None], 7.0)
    torch.testing.assert_close(run.switches[0].term(run, one), short)


def test_the_weights_learn_from_the_moved_rows():
    model, batch = made()
    run = run_of(model, batch, {"fgm": {}})
    seen(run, batch).losses.mean().backward()
    reached = [p for p in model.parameters() if p.grad is not None]
    plain = [p.grad for p in reached]
    model.zero_grad()
    run.switches[0].term(run, seen(run, batch)).backward()
    assert [p for p in model.parameters() if p.grad is not None] == reached
    assert not any(torch.equal(p.grad, slope) for p, slope in zip(reached, plain, strict=True) if slope.any())


@pytest.mark.parametrize("settings", [{"radius": 0.0}, {"weight": 0.0}])
def test_zero_changes_nothing_and_says_so(settings):
    model, batch = made()
    run = run_of(model, batch, {"fgm": settings})
    assert torch.equal(loss(run, batch), seen(run, batch).losses.mean())
    assert run.switches[0].acted() == ""


def test_the_loss_of_the_moved_rows_is_that_of_the_other_switches():
    model, batch = made()
    run = run_of(model, batch, {"fgm": {}, "label_smoothing": {"epsilon": 0.9}})
    one = seen(run, batch)
    assert not torch.equal(one.again(run, one.logits), one.losses)
    torch.testing.assert_close(one.again(run, one.logits), run.switches[1].losses(run, one))


def test_pgd_is_another_way_of_the_same():
    with pytest.raises(ConfigError, match="exclude each other"):
        switched_on({"fgm": {}, "pgd": {}})
