"""Projected gradient descent stays in the ball, climbs, and is the fast gradient method at one move from nowhere."""

import torch

from aet.training.switches import pgd
from aet.training.switches.adversarial import attacked, lengths

from .steps import loss, made, run_of, seen


def test_each_move_stays_in_the_ball_and_climbs():
    model, batch = made()
    run = run_of(model, batch)
    one = seen(run, batch)
    places = []
    forward = one.forward
    one.forward = lambda tokens, mask: (places.append(tokens.detach() - one.tokens.detach()), forward(tokens, mask))[1]
    reach = 0.3 * lengths(one.tokens.detach())
    losses = [one.losses, *attacked(run, one, torch.zeros_like(one.tokens), reach, 0.5 * reach, 4)]
    sizes = torch.stack([lengths(place) / reach for place in places]).squeeze()  # (5, B)
    torch.testing.assert_close(sizes[:2], torch.tensor([0.0, 0.5])[:, None].expand(2, len(batch)))
    assert sizes.max() <= 1 + 1e-5
    means = [loss.mean().item() for loss in losses]
    assert means[0] < means[1] < means[-1]


def test_the_loss_is_the_mean_over_the_places(monkeypatch):
    model, batch = made()
    run = run_of(model, batch, {"pgd": {"weight": 2.0, "radius": 0.4, "pace": 0.25, "steps": 2}})
    given = {}

    def known(run, seen, start, reach, pace, steps):
        given.update(start=start, reach=reach, pace=pace, steps=steps)
        return iter([torch.full((len(batch),), 1.0), torch.full((len(batch),), 4.0)])

    monkeypatch.setattr(pgd, "attacked", known)
    torch.testing.assert_close(loss(run, batch), seen(run, batch).losses.mean() + 2 * 2.5)
    assert given["steps"] == 2
    torch.testing.assert_close(given["reach"], 0.4 * lengths(model.tokens(batch)[0].detach()))
    torch.testing.assert_close(given["pace"], 0.25 * given["reach"])
    sizes = (lengths(given["start"]) / given["reach"]).flatten()
    assert 0 < sizes.min() < sizes.max() < 1


def test_one_move_from_nowhere_is_the_fast_gradient_method(monkeypatch):
    model, batch = made()
    monkeypatch.setattr(torch, "randn_like", torch.zeros_like)
    totals = [
        loss(run_of(model, batch, switches), batch) for switches in ({"pgd": {"steps": 1, "pace": 1.0}}, {"fgm": {}})
    ]
    torch.testing.assert_close(*totals)


def test_padding_does_not_move():
    model, batch = made()
    run = run_of(model, batch[:2], {"pgd": {}})
    one = seen(run, batch[:2])
    one.mask = torch.tensor([[True, True], [True, False]])
    one.tokens = one.tokens.detach().masked_fill(~one.mask[..., None], torch.nan)
    moved = []
    one.forward = lambda tokens, mask: (moved.append(tokens), model.output(model.trunk(tokens.nan_to_num(0), mask)))[1]
    assert torch.isfinite(run.switches[0].term(run, one))
    assert all(tokens[1, 1].isnan().all() and tokens[0].isfinite().all() for tokens in moved)


def test_zero_changes_nothing_and_says_so():
    model, batch = made()
    run = run_of(model, batch, {"pgd": {"radius": 0.0}})
    assert torch.equal(loss(run, batch), seen(run, batch).losses.mean())
    assert run.switches[0].acted() == ""
