"""Versions of models change while a server runs: promote, roll back, shadow, canary.

    load beside -> finish what began -> save every stream under its version -> write the change down -> swap

Requests that began are answered by the version they began with; those that come wait at the gate for the swap, and
their streams are opened on the version that then serves. Where anything fails, all stays as it was.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aet.adaptation.given import truth
from aet.adaptation.together import Part
from aet.errors import AetError, ConfigError
from aet.outputs.label import LabelOutput
from aet.serving.cells import plain_cell
from aet.serving.learning import Learner
from aet.serving.models import Served, chosen, lined_up
from aet.serving.residents import Resident, Residents
from aet.serving.shadow import Shadow
from aet.serving.store import Label
from aet.serving.versions import Roles, Versions, listed

log = logging.getLogger(__name__)


class Releases:
    """Who serves, in memory and in the registry; thread-safe.

    Args:
        residents: the streams, and the models.
        learner: what they learn after their answers.
        left: told of streams that another version answers from now on.
    """

    def __init__(self, residents: Residents, learner: Learner, left: Callable[[Sequence[Resident]], None]) -> None:
        self.residents, self.learner, self.left = residents, learner, left
        self.shadows: dict[str, Shadow] = {}
        self._turn = threading.Lock()

    @property
    def models(self) -> dict[str, Served]:
        """By name."""
        return self.residents.models

    def record(self, name: str) -> dict[str, Any]:
        """The versions of a model and who answers; of the shadow, how it does beside the serving one."""
        served, shadow = chosen(self.models, name), self.shadows.get(name)
        return {
            "model": name,
            "serving": served.version,
            "canary": served.canary.version if served.canary else None,
            "share": served.share,
            "shadow": shadow.record() if shadow else None,
            "versions": self.versions(served),
        }

    def versions(self, served: Served) -> list[dict[str, Any]]:
        """A line each: number, role, accuracy on held-out rows, made, note."""
        if served.registry is None:
            figure = (served.model.report.get("valid") or {}).get(served.model.output.metric)
            return [{"number": served.version, "role": "serving", "accuracy": figure, "made": None, "note": ""}]
        return [{**line, "number": str(line["number"])} for line in listed(served.registry)]

    def promote(self, name: str, number: int, reason: str = "") -> dict[str, Any]:
        """Let a version serve from now on."""
        return self._change(name, "promote", number, lambda known: known.promote(number, reason, loaded=True))

    def back(self, name: str, reason: str = "") -> dict[str, Any]:
        """Let the version serve that served before."""
        return self._change(name, "roll back", None, lambda known: known.roll_back(reason, loaded=True))

    def shadow(self, name: str, number: int | None, reason: str = "") -> dict[str, Any]:
        """Let a version answer unseen; None ends it."""
        return self._change(name, "shadow", number, lambda known: known.shadow(number, reason, loaded=True))

    def canary(self, name: str, number: int | None, share: float = 0.0, reason: str = "") -> dict[str, Any]:
        """Let a version answer a share of the streams; None ends it."""
        return self._change(
            name, "canary", number, lambda known: known.canary(number, share, reason, loaded=True), share
        )

    def follow(self) -> None:
        """Take over what other programs changed in the registries."""
        for name, served in list(self.models.items()):
            if served.registry is not None and self._differs(name, served.registry.roles):
                with self._turn:
                    self._release(name, served.registry, served.registry.roles, lambda: None)

    def follow_quietly(self) -> None:
        """What cannot be taken over is logged, and the versions that serve go on."""
        try:
            self.follow()
        except AetError as error:
            log.error("The versions that serve stay as they are: %s", error)

    def answered(self, resident: Resident, part: Part, said: Sequence[Mapping[str, Any]]) -> None:
        """Rows were answered: the shadow answers them later, where answers do not wait for it."""
        shadow = self._shadow_of(resident)
        if shadow is None:
            return
        given = [said[part.given.start + place] for place in part.kept.tolist()]
        if not self.learner.later(
            resident, lambda: shadow.answer(resident.line.number, part.checked.frame, given), part.rows
        ):
            shadow.passed_over += part.rows

    def labelled(self, resident: Resident, labels: Sequence[Label]) -> None:
        """Labels were learned, or will be in their turn: the shadow is judged by them after it has answered."""
        shadow, model = self._shadow_of(resident), resident.stream.model
        if shadow is None or not isinstance(model.output, LabelOutput):
            return
        ids, targets = truth(model, [label.id for label in labels], [label.label for label in labels])
        names = [plain_cell(model.output.classes[int(target)]) for target in targets]
        true = dict(zip(ids, names, strict=True))
        self.learner.later(resident, lambda: shadow.label(resident.line.number, true), None)

    def _shadow_of(self, resident: Resident) -> Shadow | None:
        shadow = self.shadows.get(resident.line.model)
        return shadow if shadow is not None and shadow.beside == resident.served.version else None

    def _differs(self, name: str, roles: Roles) -> bool:
        served, shadow = self.models[name], self.shadows.get(name)
        now = (served.version, served.canary.version if served.canary else None, served.share)
        wanted = (str(roles.serving), None if roles.canary is None else str(roles.canary), roles.share)
        return now != wanted or (shadow.version if shadow else None) != (
            None if roles.shadow is None else str(roles.shadow)
        )

    def _change(
        self, name: str, act: str, number: int | None, commit: Callable[[Versions], object], share: float = 0.0
    ) -> dict[str, Any]:
        served = chosen(self.models, name)
        if (registry := served.registry) is None:
            raise ConfigError(f"The model {name!r} was not loaded from a folder, so it has one version only.")
        with self._turn:
            roles = registry.roles
            if act == "roll back" and not roles.before:
                raise ConfigError("There is no version to roll back to: none served before this one.")
            roles.follow({"act": act, "version": number, "share": share})
            wanted = roles.serving if act == "roll back" else number
            if wanted is not None and str(wanted) in self._in_memory(name):
                registry.version(wanted).load()  # its files may have been damaged since
            self._release(name, registry, roles, lambda: commit(registry))
        return self.record(name)

    def _in_memory(self, name: str) -> set[str]:
        """Versions that a change of roles does not load."""
        shadow = self.shadows.get(name)
        return {one.version for one in self.models[name].all} | ({shadow.version} if shadow else set())

    def _release(self, name: str, registry: Versions, roles: Roles, commit: Callable[[], object]) -> None:
        before = self.models[name]
        after = lined_up(name, registry, roles, before)
        shadow = self._made_shadow(name, registry, roles, after)
        self._check_streams(after)
        if (after.version, after.canary, after.share) == (before.version, before.canary, before.share):
            commit()
        else:
            self._swap(after, commit)
        if shadow is None:
            self.shadows.pop(name, None)
        else:
            self.shadows[name] = shadow

    def _swap(self, after: Served, commit: Callable[[], object]) -> None:
        """All but the last rows are learned and saved before the gate closes, so that it is not closed for long."""
        self._settle(after)
        with self.residents.gate.closed():
            gone = self._settle(after)
            commit()
            self.models[after.name] = after
            self.residents.reopen(gone)
            self.left(gone)

    def _settle(self, after: Served) -> list[Resident]:
        """Streams that another version is to answer, with all that they were given learned and saved."""
        self.learner.wait()
        gone = []
        for one in self.residents.all():
            if one.line.model == after.name and after.of(one.line.owner, one.line.name).version != one.served.version:
                self.residents.save(one, f"version {one.served.version} no longer answers this stream")
                gone.append(one)
        return gone

    def _made_shadow(self, name: str, registry: Versions, roles: Roles, after: Served) -> Shadow | None:
        if roles.shadow is None:
            return None
        known, number = self.shadows.get(name), str(roles.shadow)
        if known is not None and (known.version, known.beside) == (number, after.version):
            return known
        return Shadow(number, registry.version(roles.shadow).load(), after.version)

    def _check_streams(self, after: Served) -> None:
        """ConfigError for a version on which a stream that there is could not be opened."""
        lines = [line for line in self.residents.store.streams() if line.model == after.name]
        kinds = {json.dumps(line.settings, sort_keys=True): line for line in lines}
        for one in after.all:
            one.model.stream(**self.residents.settings)
            for line in kinds.values():
                try:
                    one.model.stream(**line.settings)
                except AetError as error:
                    raise ConfigError(
                        f"Version {one.version} cannot answer the stream {line.name!r}, with its settings: {error}"
                    ) from error
