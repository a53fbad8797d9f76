"""Sample attention: running losses, moments and weights by hand, rows that count, warm-up, wrong labels."""

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from aet.batch import Batch
from aet.errors import ConfigError
from aet.training.loop import fit
from aet.training.row_weights import mean_one
from aet.training.switches.sample_attention import SampleAttention

from ...made import signs
from ..loops import prepared


def begun(target, **settings):
    """A switch that knows these training answers."""
    switch = SampleAttention(**{"warmup": 0.0, **settings})
    values = torch.zeros(len(target), 1)
    switch.begin(SimpleNamespace(train=Batch({"x": values}, target=torch.as_tensor(target))))
    return switch


def weighed(switch, losses, target=None, counts=None, step=9, positions=None):
    """Losses of the first rows, after the switch."""
    losses = torch.as_tensor(losses)
    target = torch.zeros(len(losses)) if target is None else torch.as_tensor(target)
    places = torch.arange(len(losses)) if positions is None else torch.tensor(positions)
    weight = None if counts is None else torch.tensor(counts)
    batch = Batch({"x": losses}, target=target, weight=weight, positions=places)
    return switch.losses(SimpleNamespace(step=step, steps=10), SimpleNamespace(losses=losses, batch=batch))


def test_weights_and_moments_by_hand():
    switch = begun([0.0, 0.0], temperature=0.5, momentum=0.25, pace=0.5)
    assert weighed(switch, [1.0, 3.0]).tolist() == [1.0, 3.0]  # no scale is known yet
    switch.stepped(None)
    assert switch.moments.flatten().tolist() == [2.0, 5.0]  # deviation 1
    own = [0.75, 2.5]  # halfway from 1 to 0.5 and from 3 to 2
    e = [math.exp(-(h - 2) / 0.5) for h in own]
    expected = [2 * e[0] / sum(e) * 0.5, 2 * e[1] / sum(e) * 2.0]
    torch.testing.assert_close(weighed(switch, [0.5, 2.0]), torch.tensor(expected))
    switch.stepped(None)
    first, second = sum(own) / 2, sum(h * h for h in own) / 2
    torch.testing.assert_close(switch.moments[:, 0], torch.tensor([2 + 0.25 * (first - 2), 5 + 0.25 * (second - 5)]))


def test_a_row_is_known_by_its_place():
    switch = begun([0.0] * 4, pace=0.5)
    weighed(switch, [1.0, 3.0], positions=[2, 0])
    switch.stepped(None)
    weighed(switch, [5.0, 5.0], positions=[0, 1])
    assert switch.history.tolist()[:3] == [4.0, 5.0, 1.0]
    assert math.isnan(switch.history[3])


def test_a_class_that_is_learned_late_is_not_given_up():
    losses, target = [0.1, 0.3, 4.1, 4.3], [0, 0, 1, 1]
    switch = begun(target, momentum=1.0)
    weighed(switch, losses, target)
    switch.stepped(None)
    weights = weighed(switch, losses, target) / torch.tensor(losses)
    torch.testing.assert_close(weights[:2], weights[2:], rtol=1e-3, atol=1e-3)
    assert weights[0] > 2 * weights[1]


def test_a_class_that_is_not_in_a_step_keeps_its_moments():
    switch = begun([0, 1, 1], momentum=0.5)
    weighed(switch, [1.0, 2.0, 4.0], [0, 1, 1])
    switch.stepped(None)
    before = switch.moments.clone()
    weighed(switch, [3.0], [0])
    switch.stepped(None)
    assert switch.moments[:, 1].equal(before[:, 1])
    assert not switch.moments[:, 0].equal(before[:, 0])


def test_weights_have_mean_one_and_no_gradient():
    switch = begun(torch.zeros(6))
    switch.moments = torch.tensor([[0.0], [1.0]])
    losses = torch.rand(6).requires_grad_()
    batch = Batch({"x": losses}, target=torch.zeros(6), positions=torch.arange(6))
    out = switch.losses(SimpleNamespace(step=0, steps=1), SimpleNamespace(losses=losses, batch=batch))
    weights = torch.autograd.grad(out.sum(), losses)[0]
    torch.testing.assert_close(out, weights * losses)
    assert float(weights.mean()) == pytest.approx(1)


def test_a_count_of_two_is_the_row_given_twice_and_of_zero_the_row_left_out():
    outs = []
    for losses, counts in (([1.0, 2.0, 5.0], [2.0, 0.0, 1.0]), ([1.0, 1.0, 5.0], None)):
        switch = begun(torch.zeros(3))
        weighed(switch, losses, counts=counts)
        switch.stepped(None)
        out = weighed(switch, losses, counts=counts)
        outs.append((switch.moments, out if counts is None else out * torch.tensor(counts)))
    torch.testing.assert_close(outs[0][0], outs[1][0])
    torch.testing.assert_close(outs[0][1].sum(), outs[1][1].sum())
    torch.testing.assert_close(outs[0][1][0], outs[1][1][:2].sum())
    assert mean_one(torch.zeros(3), None).tolist() == [0, 0, 0]


def test_it_waits_for_its_warmup():
    switch = begun(torch.zeros(2), warmup=0.5)
    switch.moments = torch.tensor([[0.0], [1.0]])
    assert weighed(switch, [1.0, 3.0], step=4).tolist() == [1.0, 3.0]
    assert switch.acted() == ""
    switch.stepped(None)
    assert weighed(switch, [1.0, 3.0], step=5).tolist() != [1.0, 3.0]
    assert "1 batches weighed" in switch.acted()


def test_wrong_labels_weigh_less_than_right_ones():
    model, train, valid = prepared(signs(150), epochs=8, lr=0.02, drift=0.0, switches={"sample_attention": {}})
    wrong = torch.arange(len(train)) % 4 == 0
    target = torch.where(wrong, 1 - train.target, train.target)
    fit(model, replace(train, target=target), valid)
    losses = model.output.losses(model.logits(train), target).detach()
    switch = begun(target, momentum=1.0)
    weighed(switch, losses, target)
    switch.stepped(None)
    weights = weighed(switch, losses, target) / losses
    assert weights[wrong].mean() < 0.5 * weights[~wrong].mean()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"temperature": 0.0}, "temperature"),
        ({"warmup": 1.0}, "warmup"),
        ({"momentum": 1.5}, "momentum"),
        ({"pace": 0.0}, "pace"),
    ],
)
def test_wrong_settings(settings, sentence):
    with pytest.raises(ConfigError, match=sentence):
        SampleAttention(**settings)
