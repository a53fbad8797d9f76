"""Variance focus: the formula by hand, masks, blocks, weights that count rows, the learned weight."""

import math

import pytest
import torch

from aet.batch import Batch
from aet.errors import ConfigError
from aet.training.focus import real_mean
from aet.training.loop import batch_loss, fit
from aet.training.switch import Run
from aet.training.switches.focus_variance import FocusVariance, missing_variance

from ...made import signs
from ..loops import prepared


def run_of(model, train, valid, steps=10):
    return Run(model, None, train, valid, steps, lambda: torch.zeros(()))


def term(switch, model, batch, run):
    """What the switch adds to the loss of a batch."""
    whole = batch_loss(run, [switch], model.trunk, batch)
    return whole - batch_loss(run, [switch], model.trunk, batch, terms=False)


@torch.no_grad()
def attention(model, batch):
    """The pooling's weights, (B, T)."""
    heard = []
    handle = model.trunk.pool.register_forward_hook(lambda _, given, gives: heard.append(gives[1]))
    model(batch)
    handle.remove()
    return heard[0]


def test_the_formula_by_hand():
    a = torch.tensor([0.5, 0.3, 0.2, 0.0], dtype=torch.float64)
    variance = (0.25 + 0.09 + 0.04) / 4 - (1 / 4) ** 2
    assert float(missing_variance(a)) == pytest.approx(3 / 16 - variance)
    assert float(a.var(unbiased=False)) == pytest.approx(variance)


def test_its_gradient_is_that_of_minus_the_variance():
    scores = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    weights = scores.softmax(-1)
    one = torch.autograd.grad(missing_variance(weights).sum(), scores, retain_graph=True)[0]
    two = torch.autograd.grad(-weights.var(-1, unbiased=False).sum(), scores)[0]
    torch.testing.assert_close(one, two)


def test_padding_is_as_if_it_were_not_there():
    short = torch.tensor([[0.7, 0.3]])
    padded, mask = torch.tensor([[0.7, 0.3, 0.0]]), torch.tensor([[True, True, False]])
    torch.testing.assert_close(missing_variance(padded, mask), missing_variance(short))
    x = torch.tensor([[[1.0, 2.0, 50.0], [3.0, 4.0, 50.0]]])
    torch.testing.assert_close(real_mean(x, mask), torch.tensor([2.5]))


@pytest.mark.parametrize("where", ["pooled", "blocks", "both"])
def test_the_term_is_that_of_the_weights_which_the_model_used(where):
    model, *rows = prepared(depth=2)
    model.eval()
    batch = rows[0][torch.arange(7)]
    torch.nn.init.normal_(model.trunk.pool.score)
    tokens, mask = model.tokens(batch)
    bias, losses, x = mask[:, None, None], [], tokens
    for block in model.trunk.blocks:
        weights = block.attention.weights(block.norm_attention(x), bias)  # (B, H, T, T)
        row = [
            torch.stack([missing_variance(w[q, m]) for w in head for q in m.nonzero().flatten()]).mean()
            for head, m in zip(weights, mask, strict=True)
        ]
        losses.append(torch.stack(row))
        x = block(x, bias)
    pooled = model.trunk.pool(model.trunk.norm(x), mask)[1]
    pool = torch.stack([missing_variance(w[m]) for w, m in zip(pooled, mask, strict=True)])
    expected = {"pooled": [pool], "blocks": losses, "both": [*losses, pool]}[where]
    switch = FocusVariance(strength=2.0, where=where)
    got = term(switch, model, batch, run_of(model, *rows))
    torch.testing.assert_close(got, 2 * torch.stack(expected).mean(), rtol=1e-4, atol=1e-6)
    assert not [m for m in model.modules() if m._forward_hooks or m._forward_pre_hooks]


def test_a_weight_of_two_is_the_row_given_twice_and_of_zero_the_row_left_out():
    model, *rows = prepared()
    model.eval()
    torch.nn.init.normal_(model.trunk.pool.score)
    run, switch = run_of(model, *rows), FocusVariance(where="both")
    three = rows[0][torch.arange(3)]
    weighted = Batch(three.values, three.target, torch.tensor([2.0, 0.0, 1.0]))
    given = three[torch.tensor([0, 0, 2])]
    torch.testing.assert_close(term(switch, model, weighted, run), term(switch, model, given, run))


def test_attention_gets_sharper():
    levels = []
    for strength in (1e-9, 30.0):
        switches = {"focus_variance": {"strength": strength}}
        model, *rows = prepared(signs(150), epochs=8, lr=0.03, drift=0.0, switches=switches)
        fit(model, *rows)
        levels.append(float(attention(model, rows[1]).var(-1).mean()))
    assert levels[0] < 0.02
    assert levels[1] > 0.06


def test_a_learned_weight_goes_towards_one_over_the_loss():
    model, *rows = prepared()
    run, switch = run_of(model, *rows), FocusVariance(strength=1.0, weight="learned", rate=0.5)
    for _ in range(60):
        before = float(switch.log_variance)
        added = float(term(switch, model.eval(), rows[0], run).detach())
        switch.stepped(run)
        loss = float(switch.level[1])
        assert added == pytest.approx(math.exp(-before) * loss, rel=1e-3)
        assert float(switch.log_variance) == pytest.approx(before - 0.5 * (1 - math.exp(-before) * loss), abs=1e-5)
    assert math.exp(-float(switch.log_variance)) == pytest.approx(1 / loss, rel=0.01)


def test_a_rising_weight():
    model, *rows = prepared()
    run, switch = run_of(model, *rows, steps=4), FocusVariance(strength=2.0, weight="rising")
    weights = []
    for run.step in range(4):
        weights.append(switch.weight_at(run))
    assert weights == [0.5, 1.0, 1.5, 2.0]


def test_zero_strength_and_single_tokens_are_not_acts():
    model, *rows = prepared(switches={"focus_variance": {"strength": 0.0}})
    with pytest.raises(ConfigError, match="did nothing"):
        fit(model, *rows)
    model, *rows = prepared(signs(150)[["a", "y"]], switches={"focus_variance": {}})
    with pytest.raises(ConfigError, match="did nothing"):
        fit(model, *rows)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"weight": "learnt"}, r"weight .* 'learnt'. Did you mean 'learned'"),
        ({"where": "pool"}, r"where .* Did you mean 'pooled'"),
        ({"weight": "learned", "strength": 0.0}, "cannot learn a weight from strength 0"),
    ],
)
def test_wrong_settings(settings, sentence):
    with pytest.raises(ConfigError, match=sentence):
        FocusVariance(**settings)
