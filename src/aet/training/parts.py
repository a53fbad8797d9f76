"""The parts of training that are on by name, and the settings of the same run without one of them.

A name is that of a switch (`train.switches`) or of a mechanism of attention (`model.attention`); of the other settings
those in `CHOICES` count as parts too, where they are not as they are by default.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aet.attention.chosen import usable
from aet.config import Config
from aet.errors import ConfigError, nearest
from aet.training import switches as _known  # noqa: F401 (they register themselves)
from aet.training.switch import SWITCHES
from aet.trunk import DYNAMIC, check_attention

CHOICES: dict[str, tuple[str, ...]] = {
    "train.optimizer": ("train.optimizer", "train.optimizer_settings", "train.lr"),
    "train.schedule": ("train.schedule",),
    "model.members": ("model.members",),
    "columns.gate": ("columns.gate",),
}
"""Settings that count as a part where they differ from their default, and what goes with each."""

ALL = "all"
"""Name of the run without any part."""

SHUFFLED = "graph (over shuffled)"
"""Name of the run with a wrong graph of the same form in the place of the graph."""

Switches = Mapping[str, Mapping[str, Any]] | Sequence[str]
"""Names, with their settings or without."""

Places = dict[tuple[str, str], Any]
"""Section and name of settings, and what they are without a part."""


def mechanisms() -> list[str]:
    """Names for `model.attention`."""
    return [*usable(), DYNAMIC]


def turned_on(config: Config, given: Switches) -> Config:
    """The settings with more parts on; raises ConfigError for unknown names and settings.

    >>> turned_on(Config(), {"sam": {"rho": 0.1}, "ema": {}}).train.switches
    {'sam': {'rho': 0.1}, 'ema': {}}
    >>> turned_on(Config(), ["ssmax"]).model.attention
    {'ssmax': {}}
    >>> turned_on(Config(), ["emma"])
    Traceback (most recent call last):
    aet.errors.ConfigError: There is no switch 'emma'. Did you mean 'ema'? Known: ...
    """
    if isinstance(given, str) or not isinstance(given, Mapping | Sequence):
        raise ConfigError(f"switches takes a list of names, or a mapping of names to settings; got {given!r:.60}.")
    read = config.model_dump()
    for name in given:
        settings = dict(given[name]) if isinstance(given, Mapping) else {}
        if name in SWITCHES:
            SWITCHES[name](**settings)
            read["train"]["switches"][name] = settings
        elif name in mechanisms():
            check_attention({name: settings})
            read["model"]["attention"][name] = settings
        else:
            known = [*SWITCHES, *mechanisms()]
            raise ConfigError(f"There is no switch {name!r}. {nearest(name, known)}")
    return Config.checked("", read)


def known_beforehand(config: Config) -> dict[str, dict[str, Any]]:
    """The settings of the graph and of the rules, where there are any, by their names."""
    found: dict[str, dict[str, Any]] = {}
    if config.graph is not None:
        found["graph"] = config.graph.model_dump(exclude={"edges", "shuffled"})
    if config.rules:
        found["rules"] = {f"{rule['from']} to {rule['to']}": rule["weight"] for rule in config.rules}
    return found


def without(config: Config) -> dict[str, Config]:
    """The same settings without each part that is on, by its name; `all` without any, where several are on.

    >>> config = turned_on(Config(), ["ema", "ssmax"])
    >>> {name: (list(c.train.switches), list(c.model.attention)) for name, c in without(config).items()}
    {'ema': ([], ['ssmax']), 'ssmax': (['ema'], []), 'all': ([], [])}
    """
    read, plain = config.model_dump(), Config().model_dump()
    plain[""] = plain
    parts: dict[str, Places] = {}
    for section, key in (("train", "switches"), ("model", "attention")):
        for name in read[section][key]:
            parts[name] = {(section, key): {n: s for n, s in read[section][key].items() if n != name}}
    for path, beside in CHOICES.items():
        section, _, key = path.partition(".")
        if read[section][key] != plain[section][key]:
            pairs = [tuple(one.split(".")) for one in beside]
            parts[f"{key}={read[section][key]}"] = {(s, k): plain[s][k] for s, k in pairs}
    for key in ("graph", "rules"):
        if read[key]:
            parts[key] = {("", key): plain[key]}
    found = {name: changed(read, places) for name, places in parts.items()}
    if read["graph"]:
        found[SHUFFLED] = changed(read, {("graph", "shuffled"): True})
    if len(parts) > 1:
        found[ALL] = changed(read, {(s, k): plain[s][k] for places in parts.values() for s, k in places})
    return found


def changed(read: Mapping[str, Any], places: Places) -> Config:
    """The settings with others in these places."""
    new = {name: dict(part) if isinstance(part, Mapping) else part for name, part in read.items()}
    for (section, key), value in places.items():
        (new[section] if section else new)[key] = value
    return Config.checked("", new)
