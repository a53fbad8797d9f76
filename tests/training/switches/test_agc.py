"""Adaptive gradient clipping by hand, unit by unit."""

import pytest
import torch

from aet.errors import ConfigError
from aet.training.switches.agc import unit_norms

from .steps import made, run_of


def set_to(p, weights, slope):
    p.data = torch.as_tensor(weights).expand_as(p).clone()
    p.grad = torch.as_tensor(slope).expand_as(p).clone()


def test_by_hand():
    model, batch = made()  # dim 8
    run = run_of(model, batch, {"agc": {"clip": 0.1}})
    out = model.trunk.blocks[0].attention.out
    set_to(out.weight, 1.0, 0.05)  # within 0.1 of the weights
    set_to(out.bias, 0.0, 1.0)  # zero weights count as 0.001
    slopes = torch.ones(8, 1)
    slopes[0] = 0.01
    mlp = model.trunk.blocks[0].mlp[3]  # (8, 16)
    set_to(mlp.weight, 2.0, slopes)
    set_to(model.output.head.weight, 1.0, 100.0)
    run.switches[0].gradient(run)
    assert (out.weight.grad == 0.05).all()
    torch.testing.assert_close(out.bias.grad.norm(), torch.tensor(0.1 * 1e-3))
    torch.testing.assert_close(mlp.weight.grad, torch.where(slopes == 1, 0.1 * 2.0, slopes).expand(8, 16))
    assert (model.output.head.weight.grad == 100).all()
    assert run.switches[0].calls == 1 + 7
    assert run.switches[0].acted() == "clipped the gradient of a unit 8 times"


def test_units_of_all_shapes():
    weights = torch.arange(24.0).view(2, 3, 2, 2)
    torch.testing.assert_close(unit_norms(weights).flatten(), weights.flatten(1).norm(dim=1))
    assert unit_norms(torch.tensor(-3.0)) == 3


def test_small_gradients_stay_and_that_is_nothing_done():
    model, batch = made()
    run = run_of(model, batch, {"agc": {}})
    for p in model.parameters():
        p.grad = torch.full_like(p, 1e-9)
    run.switches[0].gradient(run)
    assert all((p.grad == 1e-9).all() for p in model.parameters())
    assert run.switches[0].acted() == ""


def test_zero_would_stop_all_training():
    with pytest.raises(ConfigError, match="must be above 0"):
        run_of(*made(), {"agc": {"clip": 0.0}})
