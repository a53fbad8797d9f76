"""What of a pretrained network trains: `inputs.text.tuning`, one name, or one name with its settings.

    full       all of its weights (the default)
    frozen     none
    lora       matrices of low rank beside its linear layers     Hu et al. 2021, 2106.09685       package peft
    adalora    the same, whose ranks move to where they are needed   Zhang et al. 2023, 2303.10512    package peft
    ia3        one factor a channel                               Liu et al. 2022, 2205.05638      package peft
    elastic    its elastic state alone, the smallest of them      this project

All but `full` and `frozen` leave its own weights alone while they train, and are folded into them at the end
(`aet.training.tunings`): a run holds plain weights, and loading it needs no peft.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aet.config import checked_settings
from aet.errors import ConfigError, nearest

FULL, FROZEN = "full", "frozen"
TUNINGS: dict[str, dict[str, Any]] = {
    FULL: {},
    FROZEN: {},
    "lora": {"rank": 8, "alpha": 16.0, "dropout": 0.0, "layers": "usual"},
    "adalora": {
        "rank": 4,
        "start": 8,
        "alpha": 32.0,
        "dropout": 0.0,
        "layers": "usual",
        "warm": 0.1,
        "settle": 0.3,
        "orthogonal": 0.5,
    },
    "ia3": {},
    "elastic": {},
}
"""Settings by name. `layers`: "usual", those that peft takes for the family (all where it knows none), or "all"."""

LAYERS = ("usual", "all")
SHARES = ("dropout", "warm", "settle")
RATES = {FULL: 0.05}
"""Learning rate over that of the rest, where it is not 1 by default: many weights that know much move little."""


def tuning(given: str | Mapping[str, Mapping[str, Any]], where: str = "inputs.text.tuning") -> dict[str, Any]:
    """`{"name": ..., "settings": ...}`; ConfigError for an unknown name or setting.

    >>> tuning({"lora": {"rank": 4}})["settings"]["rank"]
    4
    >>> tuning("prefix")
    Traceback (most recent call last):
    aet.errors.ConfigError: inputs.text.tuning='prefix' is refused: keys and values put before a text are in no ...
    """
    if not isinstance(given, str) and len(given) != 1:
        raise ConfigError(f"{where} takes one name, or one name with its settings; got {dict(given)!r:.60}.")
    name, settings = (given, {}) if isinstance(given, str) else next(iter(given.items()))
    if name == "prefix":
        raise ConfigError(
            f"{where}='prefix' is refused: keys and values put before a text are in no weight of the network, so they "
            "cannot be folded into it, and peft would be needed wherever the run is loaded. Take lora or ia3, which "
            "fold; or the switch prefix, which puts them into the blocks of aet's own trunk (model.depth of 1 or more)."
        )
    if name not in TUNINGS:
        raise ConfigError(f"{where} knows no {name!r}. {nearest(name, TUNINGS)}")
    chosen = checked_settings(f"{where} {name!r}", TUNINGS[name], settings or {})
    for share in SHARES:
        if chosen.get(share, 0) >= 1:
            raise ConfigError(f"{where}.{name}.{share} is a share: expected below 1, got {chosen[share]!r}.")
    if chosen.get("layers", LAYERS[0]) not in LAYERS:
        raise ConfigError(f"{where}.{name}.layers is one of {', '.join(LAYERS)}; got {chosen['layers']!r}.")
    if name == "adalora":
        check_ranks(chosen, where)
    return {"name": name, "settings": chosen}


def check_ranks(chosen: Mapping[str, Any], where: str) -> None:
    """ConfigError where no rank could move."""
    if chosen["rank"] >= chosen["start"]:
        raise ConfigError(
            f"{where}.adalora needs rank below start, or no rank would move; got rank={chosen['rank']}, "
            f"start={chosen['start']}. Lower rank, or take lora."
        )
    if chosen["warm"] + chosen["settle"] >= 1:
        raise ConfigError(
            f"{where}.adalora: warm and settle are shares of the steps that leave some between them: expected a sum "
            f"below 1, got {chosen['warm']} and {chosen['settle']}. Lower one of them."
        )
