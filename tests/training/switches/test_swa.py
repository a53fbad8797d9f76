"""The mean of the last weights, and of those alone."""

import pytest
import torch

from aet.errors import ConfigError
from aet.training import loop
from aet.training.loop import fit
from aet.training.switch import switched_on

from .steps import made, run_of


def test_by_hand():
    model, batch = made()
    run = run_of(model, batch, {"swa": {"share": 0.3}}, steps=10)
    swa, weight, places = run.switches[0], model.output.head.weight, []
    for run.step in range(10):
        weight.data += 0.1 * (run.step + 1)
        swa.stepped(run)
        places.append(weight.detach().clone())
        own, place = weight.detach().clone(), weight.data_ptr()
        with swa.epoch(run):
            last = places[7:] or [own]
            torch.testing.assert_close(weight.data, torch.stack(last).mean(0))
        assert weight.data_ptr() == place
        assert torch.equal(weight, own)
    assert swa.acted() == "averaged the weights of 3 steps"


def test_the_mean_is_kept_in_training():
    model, batch = made(epochs=8, batch_size=16, switches={"swa": {"share": 0.5}})
    plain, _ = made(epochs=8, batch_size=16)
    with_it, without = fit(model, batch, batch), fit(plain, batch, batch)
    assert [a["loss"] for a in with_it] == [b["loss"] for b in without]  # training goes on from the weights themselves
    assert [a["valid_loss"] == b["valid_loss"] for a, b in zip(with_it, without, strict=True)] == [True] * 5 + [
        False
    ] * 3


def test_a_run_that_ends_before_is_an_error():
    model, batch = made(epochs=4, switches={"swa": {"share": 0.0}})
    with pytest.raises(ConfigError, match="'swa' was on and did nothing"):
        fit(model, batch, batch)


def test_ema_is_another_way_of_the_same():
    with pytest.raises(ConfigError, match="exclude each other"):
        switched_on({"swa": {}, "ema": {}})


def test_patience_that_comes_first_says_what_to_do(monkeypatch):
    losses = iter([1.0, 2.0, 3.0, 4.0])
    monkeypatch.setattr(loop, "validate", lambda *_: {"valid_loss": next(losses), "valid_metric": 0.0})
    model, batch = made(epochs=40, batch_size=16, patience=2, switches={"swa": {}})
    with pytest.raises(ConfigError, match=r"begin at step 31 of 40, but train.patience ended .* Lower train.epochs"):
        fit(model, batch, batch)
