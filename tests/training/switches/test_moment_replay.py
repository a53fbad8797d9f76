"""Statistics-only replay: the term by hand, frozen inputs, and where the moments come from."""

import torch

from aet.training.gather import gather
from aet.training.loop import fit
from aet.training.switches.lwf import distance
from aet.training.switches.moment_replay import token_moments

from .steps import made, rows, run_of, seen


def test_by_hand():
    model, batch = made()
    run = run_of(model, batch, {"moment_replay": {"alpha": 0.5, "rows": 7}})
    switch = run.switches[0]
    torch.manual_seed(1)
    assert abs(float(switch.term(run, seen(run, batch)))) < 1e-6, "the same at the start"
    model.output.head.bias.data[0] += 1.0
    torch.manual_seed(1)
    found = switch.term(run, seen(run, batch))
    torch.manual_seed(1)
    tokens, mask = switch.moments.draw(7)
    now = model.output(model.trunk(tokens, mask))
    expected = 0.5 * distance("label", now - torch.tensor([1.0, 0.0]), now).mean()
    torch.testing.assert_close(found, expected)
    assert float(found) > 0.01


def test_moments_of_the_statistics_come_before_those_of_the_rows():
    model, batch = made()
    model.eval()
    model.statistics = gather(model, rows()[["a", "b", "y"]], batch, batch)
    few = batch[torch.arange(3)]
    switch = run_of(model, few, {"moment_replay": {}}).switches[0]
    assert torch.equal(switch.moments.centres, model.statistics.tokens.centres)
    assert not torch.equal(switch.moments.centres, token_moments(model, few).centres)


def test_inputs_are_frozen_while_it_trains_and_then_no_more():
    model, batch = made(epochs=2, switches={"moment_replay": {}})
    inputs = [p.detach().clone() for p in model.inputs.parameters()]
    head = model.output.head.weight.detach().clone()
    fit(model, batch, batch)
    assert all(torch.equal(p, was) for p, was in zip(model.inputs.parameters(), inputs, strict=True))
    assert not torch.equal(model.output.head.weight, head)
    assert all(p.requires_grad for p in model.parameters())


def test_zero_is_off():
    model, batch = made()
    run = run_of(model, batch, {"moment_replay": {"alpha": 0.0}})
    assert run.switches[0].term(run, seen(run, batch)) is None
    assert not run.switches[0].acted()
