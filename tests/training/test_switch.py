"""What every switch promises, whatever it does; a new one is tested the day it is added."""

from pathlib import Path

import pytest
import torch

from aet.errors import ConfigError
from aet.training import loop
from aet.training.gather import gather
from aet.training.loop import fit
from aet.training.switch import SWITCHES, Switch, switched_on

from ..made import mixed
from .loops import Interrupt, after, bits, figures, prepared, same

NEEDED: dict[str, dict] = {}
"""Settings without which a switch has nothing to do here."""
NEEDED["focus_target"] = {"importances": {"number": 2, "text": 1}}
NEEDED["density_ratio"] = {"file": str(Path(__file__).parent / "switches" / "target.csv")}
NEEDED["plateau"] = {"patience": 1, "least": 0.9}
NEEDED["pretrain"] = {"epochs": 2}
NEEDED["pseudo_labels"] = {"file": NEEDED["density_ratio"]["file"], "threshold": 0.5, "start": 0.0}

GROWING = ("adapters", "prefix")
"""Switches whose parts stay in the model."""


@pytest.fixture(scope="module", autouse=True)
def teacher(tmp_path_factory):
    """A model that teaches in `distill`."""
    model, train, valid = prepared(epochs=1)
    fit(model, train, valid)
    model.statistics = gather(model, model.check(mixed(150)).frame[:120], train, valid)
    NEEDED["distill"] = {"teacher": str(model.save(tmp_path_factory.mktemp("teacher")))}


def run(name, **changes):
    model, *rows = prepared(epochs=3, switches={name: NEEDED.get(name, {})}, **changes)
    history = fit(model, *rows)
    return model, history


@pytest.fixture(params=list(SWITCHES))
def name(request):
    return request.param


def test_it_trains_and_changes_the_outcome(name):
    plain, *rows = prepared(epochs=3)
    fit(plain, *rows)
    model, history = run(name)
    assert all(torch.isfinite(t).all() for t in model.state_dict().values() if t.is_floating_point())
    assert not same(bits(model), bits(plain))
    assert len(history) == 3


def test_the_model_is_left_as_it_was_found(name):
    plain, *_ = prepared(epochs=3)
    model, _ = run(name)
    assert (model.state_dict().keys() - plain.state_dict().keys() != set()) == (name in GROWING)
    assert plain.state_dict().keys() <= model.state_dict().keys()
    assert all(p.requires_grad for p in model.parameters())
    hooks = [m for m in model.modules() if m._forward_hooks or m._forward_pre_hooks or m._backward_hooks]
    assert not hooks


def test_the_same_seed_gives_the_same_bits(name):
    one, first = run(name)
    torch.manual_seed(77)
    two, second = run(name)
    assert same(bits(one), bits(two))
    assert figures(first) == figures(second)


def test_an_interrupted_run_goes_on_exactly(name, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "SAVE_EVERY", -1.0)
    whole, history = run(name)
    model, *rows = prepared(epochs=3, switches={name: NEEDED.get(name, {})})
    with pytest.raises(Interrupt):
        fit(model, *rows, folder=tmp_path, on_epoch=after(1))
    model, *rows = prepared(epochs=3, switches={name: NEEDED.get(name, {})})
    assert figures(fit(model, *rows, folder=tmp_path)) == figures(history)
    assert same(bits(model), bits(whole))


def test_gradients_in_pieces_are_those_of_the_whole_step(name):
    model, _ = run(name, accumulate=2)
    assert all(torch.isfinite(t).all() for t in model.state_dict().values() if t.is_floating_point())


def test_settings_are_checked(name):
    with pytest.raises(ConfigError, match="no setting 'nonsense'"):
        SWITCHES[name](nonsense=1)
    for setting, default in SWITCHES[name].defaults.items():
        wrong = -1 if isinstance(default, int | float) and not isinstance(default, bool) else object()
        with pytest.raises(ConfigError, match=setting):
            SWITCHES[name](**{setting: wrong})


def test_it_is_described(name):
    kind = SWITCHES[name]
    assert kind.name == name
    assert kind.__doc__
    module = __import__(kind.__module__, fromlist=["x"])
    assert len(module.__doc__) > 100, "formula and source stand at the top of the file"


class Idle(Switch):
    """Does nothing."""

    name = "idle"


def test_a_switch_that_does_nothing_is_an_error(monkeypatch):
    monkeypatch.setitem(SWITCHES._entries, "idle", Idle)
    model, *rows = prepared(epochs=2, switches={"idle": {}})
    with pytest.raises(ConfigError, match="'idle' was on and did nothing"):
        fit(model, *rows)


def test_unknown_switches():
    with pytest.raises(ConfigError, match="Did you mean 'sam'"):
        switched_on({"samm": {}})


def test_switches_that_exclude_each_other(monkeypatch):
    other = type("Other", (Idle,), {"name": "other", "excludes": ("sam",)})
    monkeypatch.setitem(SWITCHES._entries, "other", other)
    with pytest.raises(ConfigError, match="exclude each other"):
        switched_on({"sam": {}, "other": {}})
