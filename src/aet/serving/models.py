"""Models that are served, by name and version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from aet.errors import ConfigError, nearest
from aet.model import Model
from aet.serving.refusals import Unknown


@dataclass(frozen=True)
class Served:
    """A model under its name."""

    name: str
    version: str
    model: Model


def load_models(runs: Sequence[Path]) -> dict[str, Served]:
    """Run folders by their names; raises ConfigError where two have one name."""
    import aet

    served: dict[str, Served] = {}
    for run in runs:
        name = run.resolve().name
        if name in served:
            raise ConfigError(f"Two runs are named {name!r}: expected a name for each. Rename one of the folders.")
        model = aet.load(run)
        served[name] = Served(name, "1", model)
    return served


def chosen(models: Mapping[str, Served], name: str | None, version: str | None = None) -> Served:
    """The model of that name, the only one without a name; raises Unknown."""
    if name is None and len(models) == 1:
        return next(iter(models.values()))
    if name is None:
        raise Unknown(f"This server has {len(models)} models: say which. {nearest('', models)}")
    if name not in models:
        raise Unknown(f"There is no model {name[:80]!r}. {nearest(name[:80], models)}")
    if version is not None and models[name].version != version:
        raise Unknown(f"The model {name!r} has no version {version[:80]!r}. Known: {models[name].version!r}.")
    return models[name]
