"""What `aet tune` searches over: every switch on or off, its numbers around their defaults, and the learning rate.

A number of default d is searched in [d/4, 4d] on a logarithmic scale, one below 1 up to (1 + d)/2 at most, since it may
be a share; a count in [d/2, 2d]. Texts and mappings stay as they are. A switch is on in a quarter of the trials until
the search knows better; of two that exclude each other the one drawn first stays. The drift of training is not
searched: losses under different drifts cannot be compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from aet.config import Config
from aet.errors import ConfigError
from aet.training import switches as _known  # noqa: F401 (they register themselves)
from aet.training.optimizers import own_rate, recipe
from aet.training.schedule import SCHEDULES
from aet.training.switch import SWITCHES

if TYPE_CHECKING:
    from optuna.trial import Trial

REACH = 4.0
DECAY, DROPOUT = (1e-3, 0.3), 0.4
OFTEN = 3
"""A switch is on where 0..OFTEN gives OFTEN."""


def searchable() -> list[str]:
    """Switches that need nothing from the user and are meant for training from the start.

    >>> "sam" in searchable(), "density_ratio" in searchable()
    (True, False)
    """
    return [name for name in sorted(SWITCHES) if SWITCHES[name].searched and works_alone(name)]


def works_alone(name: str) -> bool:
    """Whether a switch needs no settings."""
    try:
        SWITCHES[name]()
    except ConfigError:
        return False
    return True


def suggest(trial: Trial, base: Config, names: Sequence[str]) -> Config:
    """The settings of one trial: those of `base`, changed."""
    read = base.model_dump()
    train = read["train"]
    lr = start(base)
    train["lr"] = trial.suggest_float("train.lr", lr / REACH, lr * REACH, log=True)
    train["weight_decay"] = trial.suggest_float("train.weight_decay", *DECAY, log=True)
    train["schedule"] = trial.suggest_categorical("train.schedule", schedules(base))
    read["model"]["dropout"] = trial.suggest_float("model.dropout", 0.0, DROPOUT)
    for name in names:
        if trial.suggest_int(f"switch.{name}", 0, OFTEN) == OFTEN and fits(name, train["switches"]):
            train["switches"][name] = settings(trial, name)
    return Config.checked("", read)


def start(base: Config) -> float:
    """The learning rate that the search begins at; that of the optimiser where it is to be found."""
    return own_rate(base.train.model_copy(update={"lr": None}) if base.train.lr == "auto" else base.train)


def schedules(base: Config) -> list[str]:
    """Courses of the learning rate that go with the optimiser."""
    return ["auto"] if recipe(base.train.optimizer).averages else ["auto", *sorted(SCHEDULES)]


def as_given(base: Config, names: Sequence[str]) -> dict[str, Any]:
    """The first trial: the settings given, as far as the search can express them.

    >>> as_given(Config(), ["sam"])["switch.sam"], as_given(Config(), [])["train.lr"]
    (0, 0.001)
    """
    return {
        "train.lr": start(base),
        "train.weight_decay": min(max(base.train.weight_decay, DECAY[0]), DECAY[1]),
        "train.schedule": base.train.schedule,
        "model.dropout": min(base.model.dropout, DROPOUT),
        **{f"switch.{name}": 0 for name in names},
    }


def fits(name: str, on: Sequence[str]) -> bool:
    """Whether nothing that is on excludes the switch, or is excluded by it."""
    return not any(other in SWITCHES[name].excludes or name in SWITCHES[other].excludes for other in on)


def settings(trial: Trial, name: str) -> dict[str, Any]:
    """Numbers of one switch."""
    found: dict[str, Any] = {}
    for setting, default in SWITCHES[name].defaults.items():
        label = f"switch.{name}.{setting}"
        if isinstance(default, bool) or not isinstance(default, int | float) or not default:
            continue
        if isinstance(default, int):
            found[setting] = trial.suggest_int(label, max(1, default // 2), 2 * default)
        else:
            most = min(default * REACH, (1 + default) / 2) if default < 1 else default * REACH
            found[setting] = trial.suggest_float(label, default / REACH, most, log=True)
    return found
