"""Each layer's learning rate, in the optimiser and in what moves."""

import pytest
import torch

from aet.errors import ConfigError
from aet.training.loop import fit, parameter_groups

from .steps import made, run_of


def test_rates_by_hand():
    model, batch = made(depth=2)
    run = run_of(model, batch, {"layer_decay": {"decay": 0.5}})
    found = {
        p: (group["scale"], group["weight_decay"]) for group in run.optimiser.param_groups for p in group["params"]
    }
    decays = {p: group["weight_decay"] for group in parameter_groups(model, 0.05) for p in group["params"]}
    scales = {
        "inputs": 0.125,
        "trunk.blocks.0": 0.25,
        "trunk.blocks.1": 0.5,
        "trunk.norm": 1,
        "trunk.pool": 1,
        "output": 1,
    }
    named = dict(model.named_parameters())
    assert len(found) == len(named)
    for name, p in named.items():
        (scale,) = [scale for start, scale in scales.items() if name.startswith(start)]
        assert found[p] == (scale, decays[p]), name


def test_the_loop_multiplies_the_schedule_by_the_scale(monkeypatch):
    rates, step = [], torch.optim.AdamW.step

    def noted(self):
        rates.append(sorted({group["lr"] for group in self.param_groups}))
        return step(self)

    monkeypatch.setattr(torch.optim.AdamW, "step", noted)
    for switches in ({}, {"layer_decay": {"decay": 0.5}}):
        model, batch = made(epochs=3, batch_size=16, lr=0.01, warmup=0.5, switches=switches)
        fit(model, batch, batch)
    assert len(rates) == 6
    for (plain,), scaled in zip(rates[:3], rates[3:], strict=True):
        assert scaled == pytest.approx(sorted({0.25 * plain, 0.5 * plain, plain}))


def test_at_zero_only_what_follows_the_blocks_moves():
    model, batch = made(switches={"layer_decay": {"decay": 0.0}})
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    fit(model, batch, batch)
    for name, p in model.named_parameters():
        assert torch.equal(p, before[name]) == name.startswith(("inputs.", "trunk.blocks.")), name


def test_one_would_change_nothing():
    with pytest.raises(ConfigError, match="below 1"):
        run_of(*made(), {"layer_decay": {"decay": 1.0}})
