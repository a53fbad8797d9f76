"""Stochastic depth: rates by block, whole branches by row, the mean kept, nothing left behind."""

import pytest
import torch
from torch import nn

from aet.errors import ConfigError
from aet.training.loop import fit
from aet.training.switches.stochastic_depth import skipped

from .steps import made, run_of


def test_rows_skip_a_branch_as_a_whole_and_the_mean_stays():
    torch.manual_seed(0)
    branch = torch.rand(4000, 3, 2) + 1
    out = skipped(nn.Identity().train(), (), branch, rate=0.2)
    gone = (out == 0).flatten(1)
    assert torch.equal(gone.all(1), gone.any(1))
    assert float(gone.float().mean()) == pytest.approx(0.2, abs=0.02)
    torch.testing.assert_close(out[~gone.all(1)], branch[~gone.all(1)] / 0.8)
    assert float(out.mean()) == pytest.approx(float(branch.mean()), rel=0.03)


def test_the_rate_rises_with_the_blocks():
    model, batch = made(depth=4)
    run_of(model, batch, {"stochastic_depth": {"rate": 0.8}})
    rates = [
        [hook.keywords["rate"] for hook in part._forward_hooks.values()]
        for block in model.trunk.blocks
        for part in (block.attention, block.mlp)
    ]
    assert rates == [[pytest.approx(r)] for r in (0.2, 0.2, 0.4, 0.4, 0.6, 0.6, 0.8, 0.8)]


def test_only_training_skips_and_the_end_leaves_nothing():
    model, batch = made()
    plain = model.eval()(batch)
    run = run_of(model, batch, {"stochastic_depth": {"rate": 0.9}})
    assert torch.equal(model.eval()(batch), plain)
    torch.manual_seed(0)
    assert not torch.allclose(model.train()(batch), plain)
    run.switches[0].end(run)
    assert torch.equal(model(batch), plain)


def test_zero_is_an_error_since_it_does_nothing():
    model, batch = made(switches={"stochastic_depth": {"rate": 0.0}})
    with pytest.raises(ConfigError, match="'stochastic_depth' was on and did nothing"):
        fit(model, batch, batch)


def test_a_branch_cannot_always_be_skipped():
    with pytest.raises(ConfigError, match=r"expected at least 0 and below 1, got 1\.0"):
        run_of(*made(), {"stochastic_depth": {"rate": 1.0}})
