"""Optimisers by name: today's bits for adamw, exact resume for all, clear refusals."""

import builtins

import pytest
import torch

from aet.config import Config, TrainConfig
from aet.errors import ConfigError
from aet.training import loop
from aet.training.loop import fit, parameter_groups
from aet.training.optimizers import OPTIMIZERS, make_optimizer, own_rate, own_schedule, recipe, to_average, to_train

from .loops import Interrupt, after, bits, figures, prepared, same

OTHERS = ("lion", "adan", "schedulefreeradam", "dadaptadam", "splus")


def two_groups():
    torch.manual_seed(0)
    return [
        {"params": [torch.randn(3, 2, requires_grad=True)], "weight_decay": 0.05},
        {"params": [torch.randn(3, requires_grad=True)], "weight_decay": 0.0},
    ]


@pytest.mark.parametrize("name", [*OPTIMIZERS, *OTHERS])
def test_an_interrupted_run_goes_on_exactly(name, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "SAVE_EVERY", -1.0)
    settings = {"optimizer": name, "lr": None, "epochs": 3}
    whole, *rows = prepared(**settings)
    history = fit(whole, *rows)
    model, *rows = prepared(**settings)
    with pytest.raises(Interrupt):
        fit(model, *rows, tmp_path, after(1))
    model, *rows = prepared(**settings)
    assert figures(fit(model, *rows, tmp_path)) == figures(history)
    assert same(bits(model), bits(whole))
    plain, *rows = prepared(**{**settings, "optimizer": "adamw"})
    fit(plain, *rows)
    assert (name == "adamw") == same(bits(model), bits(plain))


def test_adamw_is_the_one_of_pytorch():
    groups = parameter_groups(prepared()[0], 0.05)
    optimiser = make_optimizer(TrainConfig(), groups)
    assert type(optimiser) is torch.optim.AdamW
    assert [group["weight_decay"] for group in optimiser.param_groups] == [0.05, 0.0]
    assert {group["lr"] for group in optimiser.param_groups} == {1e-3}


def test_settings_reach_the_optimiser():
    settings = TrainConfig(optimizer="sgd", optimizer_settings={"momentum": 0.5}, lr=0.2)
    optimiser = make_optimizer(settings, two_groups())
    assert [(g["momentum"], g["nesterov"], g["lr"]) for g in optimiser.param_groups] == [(0.5, True, 0.2)] * 2
    assert [group["weight_decay"] for group in optimiser.param_groups] == [pytest.approx(5e-4), 0.0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"optimizer": "lio"}, "Did you mean 'lion'"),
        ({"optimizer": "adam_w"}, "Did you mean 'adamw'"),
        ({"optimizer": "sam"}, "turn on the switch sam instead"),
        ({"optimizer": "bsam"}, "turn on the switch sam instead"),
        ({"optimizer": "sophiah"}, "second derivatives"),
        ({"optimizer": "adahessian"}, "second derivatives"),
        ({"optimizer": "lbfgs"}, "a closure: choose another"),
        ({"optimizer": "alig"}, "a closure: choose another"),
        ({"optimizer": "adammini"}, "cannot train here .* plain gradients"),
        ({"optimizer": "conda"}, "which no checkpoint can hold"),
        ({"optimizer": "a2grad"}, "no learning rate of its own. Set train.lr"),
        ({"optimizer": "fromage"}, "Set train.weight_decay: 0"),
        ({"optimizer_settings": {"beta": 1}}, "no setting 'beta'. Did you mean 'betas'"),
        ({"optimizer_settings": {"lr": 1}}, "optimizer_settings.lr is not set there: set train.lr"),
        ({"optimizer": "sgd", "optimizer_settings": {"momentum": -1}}, "cannot train here with its settings"),
        ({"optimizer": "schedulefree", "switches": {"ema": {}}}, "'ema': it averages the weights itself"),
        ({"optimizer": "schedulefree", "switches": {"plateau": {}}}, "instead of lowering its rate"),
        ({"optimizer": "prodigy", "switches": {"layer_decay": {}}}, "one size of step for all"),
        ({"optimizer": "schedulefree", "schedule": "cosine"}, "expected train.schedule 'auto' or 'constant'"),
    ],
)
def test_what_does_not_fit_is_refused(settings, message):
    config = TrainConfig(**settings)
    with pytest.raises(ConfigError, match=message):
        own_schedule(config), make_optimizer(config, two_groups())


@pytest.mark.parametrize("name", ["schedulefree", "prodigy", "lion"])
def test_a_missing_package_names_the_extra(name, monkeypatch):
    def missing(module, package=None):
        raise ImportError(module)

    monkeypatch.setattr("aet.optional.import_module", missing)
    with pytest.raises(ConfigError, match=r'pip install "attention-elastic-training\[optimizers\]"'):
        recipe(name)


def test_no_package_is_imported_for_adamw(monkeypatch):
    real = builtins.__import__

    def guarded(name, *rest, **named):
        assert name.split(".")[0] not in ("schedulefree", "prodigyopt", "pytorch_optimizer")
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", guarded)
    assert own_rate(TrainConfig()) == 1e-3
    assert own_schedule(TrainConfig()) == "cosine"


def test_auto_is_constant_where_the_optimiser_averages():
    assert own_schedule(TrainConfig(optimizer="schedulefree")) == "constant"
    assert own_schedule(TrainConfig(optimizer="schedulefreesgd")) == "constant"
    assert own_schedule(TrainConfig(optimizer="prodigy")) == "cosine"
    assert own_schedule(TrainConfig(schedule="linear", switches={"plateau": {}})) == "linear"


def test_the_rate_is_the_optimisers_own_unless_set():
    rates = {name: own_rate(TrainConfig(optimizer=name)) for name in (*OPTIMIZERS, "lion")}
    assert rates == {"adamw": 1e-3, "sgd": 0.1, "schedulefree": 0.0025, "prodigy": 1.0, "lion": 1e-4}
    assert own_rate(TrainConfig(optimizer="lion", lr=1)) == 1.0
    with pytest.raises(ConfigError, match="greater than 0"):
        Config.read({"train": {"lr": "fast"}})


def test_schedule_free_steps_are_averaged_as_in_the_paper():
    """z ← z - γ·g/√v̂, x ← (1 - c)x + c·z, c = 1/(t + 1) at a constant rate; the weights kept are x."""
    w = torch.zeros(1, 1, requires_grad=True)
    settings = TrainConfig(optimizer="schedulefree", lr=0.1)
    optimiser = make_optimizer(settings, [{"params": [w], "weight_decay": 0.0}])
    z = x = 0.0
    for step in range(5):
        to_train(optimiser)
        assert w.item() == pytest.approx(0.9 * x + 0.1 * z, abs=1e-6)  # y, the place of the gradient
        w.grad = torch.ones(1, 1)  # v̂ = 1
        optimiser.step()
        z -= 0.1
        x += (z - x) / (step + 1)
        to_average(optimiser)
        assert w.item() == pytest.approx(x, abs=1e-5)


def test_the_averaged_weights_are_validated_and_kept():
    model, train, valid = prepared(optimizer="schedulefree", epochs=3)
    history = fit(model, train, valid)
    worn = loop.worlds(model, valid, model.config.train.drift, torch.Generator().manual_seed(0))
    best = min(history, key=lambda record: record["valid_loss"])
    assert loop.validate(model, valid, worn)["valid_loss"] == pytest.approx(best["valid_loss"], rel=1e-6)
    assert len({record["lr"] for record in history[1:]}) == 1


def test_layer_decay_scales_the_rate_of_any_optimiser():
    model, *rows = prepared(optimizer="lion", epochs=2, switches={"layer_decay": {"decay": 0.0}})
    before = bits(model)
    fit(model, *rows)
    moved = {name for name, t in bits(model).items() if not torch.equal(t, before[name])}
    assert moved
    assert not [name for name in moved if name.startswith(("inputs.", "trunk.blocks."))]
