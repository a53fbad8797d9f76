"""Turning parts on by name, and the same settings without them."""

import pytest

from aet.config import Config
from aet.errors import ConfigError
from aet.training.parts import ALL, turned_on, without


def test_names_with_and_without_settings():
    config = turned_on(Config(), ["ema"])
    config = turned_on(config, {"sam": {"rho": 0.2}, "ema": {"decay": 0.5}})
    assert config.train.switches == {"ema": {"decay": 0.5}, "sam": {"rho": 0.2}}


def test_nothing_given_changes_nothing():
    assert turned_on(Config(), {}) == Config()
    assert without(Config()) == {}


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("ema", "list of names"),
        (3, "list of names"),
        (["emma"], "Did you mean 'ema'"),
        ({"ema": {"decai": 1}}, "Did you mean 'decay'"),
        ({"ema": {"decay": "much"}}, "decay"),
    ],
)
def test_what_cannot_be_turned_on_is_named(given, sentence):
    with pytest.raises(ConfigError, match=sentence):
        turned_on(Config(), given)


def test_each_run_lacks_one_part_and_the_last_all():
    config = turned_on(Config.read({"train": {"schedule": "linear", "epochs": 3}, "seed": 4}), ["ema", "sam"])
    runs = without(config)
    assert list(runs) == ["ema", "sam", "schedule=linear", ALL]
    assert runs["ema"].train.switches == {"sam": {}}
    assert runs["schedule=linear"].train.schedule == Config().train.schedule
    assert runs["schedule=linear"].train.switches == config.train.switches
    assert runs[ALL].train.switches == {}
    assert runs[ALL].train.schedule == Config().train.schedule
    assert all((other.train.epochs, other.seed) == (3, 4) for other in runs.values())


def test_one_part_needs_no_run_without_all():
    assert list(without(turned_on(Config(), ["ema"]))) == ["ema"]
