"""Sample attention: weights and moments by hand, rows that count, warm-up, wrong labels."""

import math
from types import SimpleNamespace

import pytest
import torch

from aet.batch import Batch
from aet.errors import ConfigError
from aet.training.loop import fit
from aet.training.row_weights import mean_one
from aet.training.switches.sample_attention import SampleAttention

from ...made import signs
from ..test_loop import prepared


def weighed(switch, losses, counts=None, step=9):
    """Losses after the switch."""
    losses = torch.as_tensor(losses)
    batch = Batch({"x": losses}, weight=None if counts is None else torch.tensor(counts))
    return switch.losses(SimpleNamespace(step=step, steps=10), SimpleNamespace(losses=losses, batch=batch))


def test_weights_and_moments_by_hand():
    switch = SampleAttention(temperature=0.5, warmup=0.0, momentum=0.25)
    first = weighed(switch, [1.0, 3.0])
    assert first.tolist() == [1.0, 3.0]  # no scale is known yet
    switch.stepped(None)
    assert switch.moments.tolist() == [2.0, 5.0]  # deviation 1, so tau 0.5
    e = [math.exp(-1.0), math.exp(-4.0)]
    expected = [2 * e[0] / sum(e) * 0.5, 2 * e[1] / sum(e) * 2.0]
    torch.testing.assert_close(weighed(switch, [0.5, 2.0]), torch.tensor(expected))
    switch.stepped(None)
    torch.testing.assert_close(switch.moments, torch.tensor([2 + 0.25 * (1.25 - 2), 5 + 0.25 * (2.125 - 5)]))


def test_weights_have_mean_one_and_no_gradient():
    switch = SampleAttention(warmup=0.0)
    switch.moments = torch.tensor([0.0, 1.0])
    losses = torch.rand(6).requires_grad_()
    batch = Batch({"x": losses})
    out = switch.losses(SimpleNamespace(step=0, steps=1), SimpleNamespace(losses=losses, batch=batch))
    weights = torch.autograd.grad(out.sum(), losses)[0]
    torch.testing.assert_close(out, weights * losses)
    assert float(weights.mean()) == pytest.approx(1)


def test_a_count_of_two_is_the_row_given_twice_and_of_zero_the_row_left_out():
    outs = []
    for losses, counts in (([1.0, 2.0, 5.0], [2.0, 0.0, 1.0]), ([1.0, 1.0, 5.0], None)):
        switch = SampleAttention(warmup=0.0)
        weighed(switch, losses, counts)
        switch.stepped(None)
        out = weighed(switch, losses, counts)
        outs.append((switch.moments, out if counts is None else out * torch.tensor(counts)))
    torch.testing.assert_close(outs[0][0], outs[1][0])
    torch.testing.assert_close(outs[0][1].sum(), outs[1][1].sum())
    torch.testing.assert_close(outs[0][1][0], outs[1][1][:2].sum())
    assert mean_one(torch.zeros(3), None).tolist() == [0, 0, 0]


def test_it_waits_for_its_warmup():
    switch = SampleAttention(warmup=0.5)
    switch.moments = torch.tensor([0.0, 1.0])
    assert weighed(switch, [1.0, 3.0], step=4).tolist() == [1.0, 3.0]
    assert switch.acted() == ""
    assert weighed(switch, [1.0, 3.0], step=5).tolist() != [1.0, 3.0]
    assert "1 batches weighed" in switch.acted()


def test_wrong_labels_weigh_less_than_right_ones():
    model, train, valid = prepared(signs(150), epochs=8, lr=0.02, drift=0.0, switches={"sample_attention": {}})
    wrong = torch.arange(len(train)) % 4 == 0
    target = torch.where(wrong, 1 - train.target, train.target)
    fit(model, Batch(train.values, target), valid)
    switch = SampleAttention(warmup=0.0)
    losses = model.output.losses(model.logits(train), target).detach()
    switch.moments = torch.stack([losses.mean(), losses.square().mean()])
    weights = weighed(switch, losses.tolist()) / losses
    assert weights[wrong].mean() < 0.5 * weights[~wrong].mean()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [({"temperature": 0.0}, "temperature"), ({"warmup": 1.0}, "warmup"), ({"momentum": 1.5}, "momentum")],
)
def test_wrong_settings(settings, sentence):
    with pytest.raises(ConfigError, match=sentence):
        SampleAttention(**settings)
