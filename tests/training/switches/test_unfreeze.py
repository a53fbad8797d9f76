"""Gradual unfreezing: the order, the latest steps, the ratio, and what an interruption keeps."""

import pytest
import torch

from aet.errors import ConfigError
from aet.training.loop import fit
from aet.training.switches.unfreeze import Ratio

from .steps import made, run_of


def trained(model):
    """The layers, from the inputs up, that take a gradient."""
    starts = ("inputs.", "trunk.blocks.0.", "trunk.blocks.1.", ("trunk.norm.", "trunk.pool.", "output."))
    open_ = []
    for start in starts:
        (one,) = {p.requires_grad for name, p in model.named_parameters() if name.startswith(start)}
        open_.append(one)
    return open_


def test_from_the_output_downwards_by_step():
    model, batch = made(depth=2)
    run = run_of(model, batch, {"unfreeze": {"share": 0.6, "snr": 0.0}}, steps=10)
    counts = []
    for run.step in range(10):
        counts.append(sum(trained(model)))
        assert trained(model) == [False] * (4 - counts[-1]) + [True] * counts[-1]
        run.switches[0].gradient(run)
        run.switches[0].stepped(run)
    assert counts == [1, 1, 2, 2, 3, 3, 4, 4, 4, 4]  # after thirds of six steps
    assert run.switches[0].acted() == "kept parts frozen for 6 steps"


def noisy_gradients(model, mean, noise):
    for p in model.parameters():
        p.grad = mean + noise * torch.randn_like(p) if p.requires_grad else None


@pytest.mark.parametrize(("noise", "thaws"), [(1.0, 10), (0.1, None)])
def test_a_noisy_gradient_thaws_sooner(noise, thaws):
    """Mean 0.2: a ratio of 0.04 at noise 1, of 4 at noise 0.1."""
    torch.manual_seed(0)
    model, batch = made(depth=2)
    run = run_of(model, batch, {"unfreeze": {"share": 0.9, "snr": 0.5}}, steps=1000)
    steps = []
    for run.step in range(60):
        noisy_gradients(model, 0.2, noise)
        before = sum(trained(model))
        run.switches[0].gradient(run)
        run.switches[0].stepped(run)
        if sum(trained(model)) > before:
            steps.append(run.step + 1)
    assert steps == ([thaws, 2 * thaws, 3 * thaws] if thaws else [])


def test_the_ratio_is_right_on_the_mean():
    torch.manual_seed(0)
    values = []
    for _ in range(200):
        ratio = Ratio([torch.zeros(50), torch.zeros(50)])
        for _ in range(10):
            ratio.see([0.5 + torch.randn(50), torch.randn(50)])
        values.append(ratio.value())
    assert sum(values) / len(values) == pytest.approx(0.125, abs=0.02)  # half the elements have 0.25


def test_no_noise_and_no_gradient():
    ratio = Ratio([torch.zeros(2)])
    for _ in range(10):
        ratio.see([torch.zeros(2)])
    assert ratio.value() == float("inf")


def test_what_is_thawed_and_seen_outlives_an_interruption():
    torch.manual_seed(0)
    model, batch = made(depth=2)
    settings = {"unfreeze": {"share": 0.9, "snr": 0.5}}
    run = run_of(model, batch, settings, steps=1000)
    for run.step in range(15):
        noisy_gradients(model, 0.2, 1.0)
        run.switches[0].gradient(run)
        run.switches[0].stepped(run)
    other, _ = made(depth=2)
    taken = run_of(other, batch, settings, steps=1000)
    taken.switches[0].load_memory(run.switches[0].memory())
    assert trained(other) == trained(model) == [False, False, True, True]
    assert taken.switches[0].ratio.count == run.switches[0].ratio.count == 5
    assert taken.switches[0].ratio.value() == run.switches[0].ratio.value()


def test_frozen_weights_stand_still():
    """One step an epoch, the first thaw after 1.2 of them, the second after 2.4."""
    model, batch = made(epochs=4, batch_size=16, switches={"unfreeze": {"share": 0.6, "snr": 0.0}})
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    still = []

    def note(record):
        same = {name for name, p in model.named_parameters() if torch.equal(p, before[name])}
        still.append(
            [any(name.startswith(start) for name in same) for start in ("inputs.", "trunk.blocks.", "output.")]
        )

    fit(model, batch, batch, on_epoch=note)
    assert still == [[True, True, False], [True, True, False], [True, False, False], [False, False, False]]
    assert all(p.requires_grad for p in model.parameters())


def test_zero_thaws_all_at_once_and_is_an_error():
    model, batch = made(switches={"unfreeze": {"share": 0.0}})
    with pytest.raises(ConfigError, match="'unfreeze' was on and did nothing"):
        fit(model, batch, batch)
