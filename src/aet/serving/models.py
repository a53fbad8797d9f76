"""Models that are served, by name and version."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from aet.adaptation.storage import fingerprint
from aet.errors import ConfigError, nearest
from aet.model import Model
from aet.serving.refusals import Unknown
from aet.serving.versions import Roles, Version, Versions


@dataclass(frozen=True)
class Served:
    """A version of a model under the model's name; a canary beside it answers for a share of the streams."""

    name: str
    version: str
    model: Model
    registry: Versions | None = field(default=None, compare=False)
    """Where it was loaded from."""
    canary: Served | None = None
    share: float = 0.0

    def of(self, owner: str, stream: str) -> Served:
        """The version that answers a stream: wholly one or the other, by a hash of its name.

        h(owner, stream) < share, where h is uniform on [0, 1): a larger share takes streams in and lets none out.
        """
        if self.canary is None:
            return self
        digest = hashlib.sha256(f"{owner}\n{stream}".encode()).digest()
        return self.canary if int.from_bytes(digest[:8], "big") < self.share * 2**64 else self

    @cached_property
    def mark(self) -> str:
        """The model's fingerprint, computed once: a served model never changes, and its streams are saved often."""
        return fingerprint(self.model)

    @property
    def all(self) -> list[Served]:
        """The serving version, and the canary if there is one."""
        return [self] if self.canary is None else [self, self.canary]


def load_models(runs: Sequence[Path]) -> dict[str, Served]:
    """The serving versions of run or registry folders, by the folders' names.

    Raises ConfigError where two have one name.
    """
    served: dict[str, Served] = {}
    for run in runs:
        name = run.resolve().name
        if name in served:
            raise ConfigError(f"Two runs are named {name!r}: expected a name for each. Rename one of the folders.")
        registry = Versions(run)
        served[name] = lined_up(name, registry, registry.roles)
    return served


def lined_up(name: str, registry: Versions, roles: Roles, before: Served | None = None) -> Served:
    """Who answers by these roles; what was loaded `before` is not loaded again.

    Raises ConfigError for versions that read or answer other columns: clients and streams are of one table.
    """
    loaded = {} if before is None else {int(one.version): one.model for one in before.all}

    def model_of(version: Version) -> Model:
        return loaded[version.number] if version.number in loaded else version.load()

    first = registry.serving if roles.serving is None else registry.version(roles.serving)
    serving = Served(name, str(first.number), model_of(first), registry)
    canary = None
    if roles.canary is not None:
        second = registry.version(roles.canary)
        canary = Served(name, str(second.number), model_of(second), registry)
    for other in (before, canary):
        if other is not None:
            check_alike(other, serving)
    return Served(name, serving.version, serving.model, registry, canary, roles.share if canary else 0.0)


def check_alike(one: Served, other: Served) -> None:
    """ConfigError for versions that read other columns or answer another target."""
    a, b = one.model.schema, other.model.schema
    if (set(a.input_columns), a.targets, a.output) != (set(b.input_columns), b.targets, b.output):
        raise ConfigError(
            f"Versions {one.version} and {other.version} of {one.name!r} read or answer other columns: the streams of "
            "this server cannot go from one to the other. Serve it as a run of its own, under another name."
        )


def chosen(models: Mapping[str, Served], name: str | None, version: str | None = None) -> Served:
    """The model of that name, the only one without a name; raises Unknown."""
    if name is None and len(models) == 1:
        return next(iter(models.values()))
    if name is None:
        raise Unknown(f"This server has {len(models)} models: say which. {nearest('', models)}")
    if name not in models:
        raise Unknown(f"There is no model {name[:80]!r}. {nearest(name[:80], models)}")
    if version is None:
        return models[name]
    for one in models[name].all:
        if one.version == version:
            return one
    known = ", ".join(one.version for one in models[name].all)
    raise Unknown(f"The model {name!r} has no version {version[:80]!r} that answers now. Those that do: {known}.")
