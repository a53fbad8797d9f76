"""The parts of training that are on by name, and the settings of the same run without one of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aet.config import Config
from aet.errors import ConfigError
from aet.training import switches as _known  # noqa: F401 (they register themselves)
from aet.training.switch import SWITCHES

CHOICES = ("train.optimizer", "train.schedule")
"""Settings that count as a part where they differ from their default."""

ALL = "all"
"""Name of the run without any part."""

Switches = Mapping[str, Mapping[str, Any]] | Sequence[str]
"""Names, with their settings or without."""


def turned_on(config: Config, given: Switches) -> Config:
    """The settings with more switches on; raises ConfigError for unknown names and settings.

    >>> turned_on(Config(), {"sam": {"rho": 0.1}, "ema": {}}).train.switches
    {'sam': {'rho': 0.1}, 'ema': {}}
    >>> turned_on(Config(), ["emma"])
    Traceback (most recent call last):
    aet.errors.ConfigError: There is no switch 'emma'. Did you mean 'ema'? Known: ...
    """
    if isinstance(given, str) or not isinstance(given, Mapping | Sequence):
        raise ConfigError(f"switches takes a list of names, or a mapping of names to settings; got {given!r:.60}.")
    read = config.model_dump()
    for name in given:
        settings = given[name] if isinstance(given, Mapping) else {}
        SWITCHES[name](**settings)
        read["train"]["switches"][name] = dict(settings)
    return Config.checked("", read)


def without(config: Config) -> dict[str, Config]:
    """The same settings without each part that is on, by its name; `all` without any, where several are on.

    >>> config = turned_on(Config(), ["ema", "sam"])
    >>> {name: list(other.train.switches) for name, other in without(config).items()}
    {'ema': ['sam'], 'sam': ['ema'], 'all': []}
    """
    plain, found = Config().model_dump(), {}
    read = config.model_dump()
    changes: dict[str, tuple[tuple[str, str], Any]] = {}
    for name in read["train"]["switches"]:
        rest = {other: settings for other, settings in read["train"]["switches"].items() if other != name}
        changes[name] = (("train", "switches"), rest)
    for path in CHOICES:
        section, _, name = path.partition(".")
        if read[section][name] != plain[section][name]:
            changes[f"{name}={read[section][name]}"] = ((section, name), plain[section][name])
    for part, ((section, name), value) in changes.items():
        found[part] = Config.checked("", {**read, section: {**read[section], name: value}})
    if len(changes) > 1:
        bare = {section: dict(read[section]) for section in ("model", "train")}
        for (section, name), _ in changes.values():
            bare[section][name] = plain[section][name]
        found[ALL] = Config.checked("", {**read, **bare})
    return found
