"""The range finder: by hand, on a problem with a known best rate, deterministic, and it leaves the model alone."""

from dataclasses import replace

import pytest
import torch

from aet.errors import ConfigError
from aet.training.loop import fit
from aet.training.lr_range import BETA, Sweep, find_lr, steepest
from aet.training.switch import Run

from .loops import bits, prepared, same


def test_it_leaves_the_model_and_finds_the_same_again():
    model, train, _ = prepared()
    before, config = bits(model), model.config
    torch.manual_seed(3)
    state = torch.random.get_rng_state()
    found = find_lr(model, train, steps=40)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert same(bits(model), before)
    assert model.config is config
    assert find_lr(model, train, steps=40) == found
    assert 1e-5 < found.lr < 0.5
    assert found.rates[0] == pytest.approx(1e-6)
    assert found.table().count("<- suggested") == 1


def test_the_rates_rise_evenly_and_the_losses_are_smoothed_by_hand():
    model, train, _ = prepared()
    sweep = Sweep(low=0.01, high=1.0, steps=3)
    run = Run(model, torch.optim.SGD(model.parameters()), train, train, 3, lambda: torch.zeros(()))
    sweep.begin(run)
    for run.step, loss in enumerate([2.0, 1.0]):
        sweep.pending += loss
        sweep.gradient(run)
        sweep.stepped(run)
    assert sweep.rates == pytest.approx([0.01, 0.1])
    assert sweep.smoothed == pytest.approx([2.0, (BETA * 0.1 * 2 + 0.1) / (1 - BETA**2)])


def test_it_ends_when_the_loss_explodes_or_is_no_number():
    model, train, _ = prepared(optimizer="sgd", clip=1e9)
    found = find_lr(model, train, high=1e6)
    assert len(found.rates) < 100
    assert found.lr < 100


def test_the_steepest_fall_is_before_the_least_loss():
    rates = [10 ** (place / 10) for place in range(60)]
    losses = [2 - 1 / (1 + 2.718 ** (20 - place)) for place in range(40)] + [5.0] * 20  # a step down at 20, then up
    assert steepest(rates, losses) == 20
    assert steepest(rates, [1.0 + place for place in range(60)]) is None
    assert steepest([], []) is None


def test_auto_chooses_before_training_and_says_so(caplog):
    with caplog.at_level("INFO", logger="aet"):
        model, train, valid = prepared(lr="auto", epochs=2)
        expected = find_lr(prepared(lr="auto", epochs=2)[0], train).lr
        history = fit(model, train, valid)
    assert model.report["lr"] == expected
    assert f"the learning rate is {expected:.3g}" in caplog.text
    plain, *rows = prepared(lr=expected, epochs=2)
    assert fit(plain, *rows)[-1]["lr"] == history[-1]["lr"]
    assert same(bits(model), bits(plain))


def test_a_target_that_nothing_predicts_and_bad_arguments():
    model, train, _ = prepared()
    with pytest.raises(ConfigError, match="low < high"):
        find_lr(model, train, low=1.0, high=0.1)
    with pytest.raises(ConfigError, match="No learning rate between"):
        find_lr(model, replace(train, weight=torch.zeros(len(train))), steps=20)
    model, train, _ = prepared(optimizer="prodigy")
    with pytest.raises(ConfigError, match="finds its learning rate itself"):
        find_lr(model, train)
