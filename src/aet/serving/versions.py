"""Model versions: a folder of run folders, and which of them serves.

    runs/gas/versions.jsonl        every change, a line each; who serves is read off it
    runs/gas/versions/2/           a run folder, and card.md

A plain run folder is a registry of one version, 1; later ones lie in `versions` inside it.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from aet.errors import ConfigError, RunError
from aet.run import VERSIONS, check_one, load, read_description
from aet.serving.cards import CARD, card, figures

if TYPE_CHECKING:
    from aet.model import Model
    from aet.serving.compared import Comparison

FOLDER, DESCRIPTION = "versions", "schema.json"


@dataclass(frozen=True)
class Version:
    """One version; `metrics` are those of the rows held out of its training."""

    number: int
    path: Path
    made: datetime
    note: str
    metrics: dict[str, float]

    def load(self) -> Model:
        """The model; RunError if its folder is missing or damaged."""
        return load(self.path)


@dataclass
class Roles:
    """Who answers: `serving`; `shadow` answers beside it unseen; `canary` answers a `share` of the streams."""

    serving: int | None = None
    shadow: int | None = None
    canary: int | None = None
    share: float = 0.0
    before: list[int] = field(default_factory=list)
    """Versions that served before, the last one at the end."""

    def follow(self, change: dict[str, Any]) -> None:
        """What a line of the log changes."""
        act, number = change["act"], change["version"]
        if act == "shadow":
            self.shadow = number
        elif act == "canary":
            self.canary, self.share = number, change["share"]
        elif act == "roll back":
            self.serving = self.before.pop()
        elif self.serving is None:
            self.serving = number
        elif act == "promote" and number != self.serving:
            self.before.append(self.serving)
            self.serving = number
        if self.shadow == self.serving:
            self.shadow = None
        if self.canary == self.serving:
            self.canary, self.share = None, 0.0


class Versions:
    """The registry of a folder; every look reads it anew, so that servers and `aet retrain` see each other's changes.

    >>> import tempfile, numpy as np, pandas as pd, aet
    >>> x = np.random.default_rng(0).normal(size=(120, 2))
    >>> frame = pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "sign": np.where(x.sum(1) > 0, "plus", "minus")})
    >>> run = aet.train(frame, target="sign", config={"train": {"epochs": 2}}).save(tempfile.mkdtemp())
    >>> versions = Versions(run)
    >>> added = versions.add(run, note="the same once more")
    >>> versions.serving.number, added.number, versions.promote(2).number, versions.roll_back().number
    (1, 2, 2, 1)
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._turn = Lock()

    def all(self) -> list[Version]:
        """Every version, oldest first."""
        return [self.version(number) for number in sorted(self._folders())]

    def version(self, number: int) -> Version:
        """One version; ConfigError for one that is not there."""
        folders = self._folders()
        if number not in folders:
            known = ", ".join(map(str, sorted(folders))) or "none"
            raise ConfigError(f"There is no version {number!r} in {self.folder}. Known: {known}.")
        path, added = folders[number], self._added(number)
        made = added["at"] if added else (path / DESCRIPTION).stat().st_mtime
        moment = datetime.fromisoformat(made) if isinstance(made, str) else datetime.fromtimestamp(made, UTC)
        return Version(number, path, moment, added["reason"] if added else "", figures(path))

    @property
    def roles(self) -> Roles:
        """Who answers now."""
        found = Roles(serving=1 if self._own() else None)
        for change in self.log():
            found.follow(change)
        return found

    @property
    def serving(self) -> Version:
        """The version that serves; RunError in a folder without any."""
        number = self.roles.serving
        if number is None:
            check_one(self.folder)
            raise RunError(
                f"{self.folder} holds no model: expected the folder that `aet train --out` wrote, or one with versions."
            )
        return self.version(number)

    def log(self) -> list[dict[str, Any]]:
        """Every change, oldest first: at, act, version, share, reason."""
        path = self.folder / VERSIONS
        if not path.is_file():
            return []
        try:
            return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        except ValueError as error:
            raise RunError(
                f"{path} is damaged ({error}). Mend or remove the line, or copy the folder again."
            ) from error

    def add(self, run: str | Path, note: str = "", beside: Comparison | None = None) -> Version:
        """Copy a run folder in as a new version, once it has been loaded; the first one serves at once.

        Raises RunError for a folder that is no whole run, and then nothing is added.
        """
        run = Path(run)
        load(run)
        with self._turn, _written(self.folder):
            place = self.folder / FOLDER
            place.mkdir(parents=True, exist_ok=True)
            number = max(self._folders(), default=0) + 1
            part = place / f"{number}.part"
            shutil.rmtree(part, ignore_errors=True)  # of a copy that was interrupted
            part.mkdir()
            for file in files_of_run(run):
                shutil.copy2(file, part)
            load(part)
            at = datetime.now(UTC)
            title = f"{self.folder.resolve().name}, version {number}"
            text = card(part, title, at.strftime("%Y-%m-%d %H:%M UTC"), note, beside)
            (part / CARD).write_text(text, encoding="utf-8")
            for file in part.rglob("*"):
                _to_disk(file)
            part.rename(place / str(number))
            _to_disk(place)
            self._write("add", number, note, at=at)
        return self.version(number)

    def promote(self, number: int, reason: str = "", loaded: bool = False) -> Version:
        """Let this version serve, from the next look on.

        It is loaded first, here as in the methods below, so that a damaged one never comes to serve; unless the caller
        has `loaded` it just now.
        """
        return self._change("promote", number, reason, loaded)

    def roll_back(self, reason: str = "", loaded: bool = False) -> Version:
        """Let the version serve that served before; ConfigError if there was none."""
        before = self.roles.before
        if not before:
            raise ConfigError("There is no version to roll back to: none served before this one.")
        return self._change("roll back", before[-1], reason, loaded)

    def shadow(self, number: int | None, reason: str = "", loaded: bool = False) -> None:
        """Let this version answer beside the serving one, unseen; None ends it."""
        self._change("shadow", number, reason, loaded)

    def canary(self, number: int | None, share: float = 0.0, reason: str = "", loaded: bool = False) -> None:
        """Let this version answer a share of the streams, above 0 and below 1; None ends it."""
        if number is not None and not 0 < share < 1:
            raise ConfigError(f"A canary's share of the streams lies between 0 and 1; got {share}.")
        self._change("canary", number, reason, loaded, share if number is not None else 0.0)

    def card(self, number: int) -> str:
        """The version's card, in Markdown."""
        version = self.version(number)
        path = version.path / CARD
        if path.is_file():
            return path.read_text(encoding="utf-8")
        title = f"{self.folder.resolve().name}, version {number}"
        return card(version.path, title, version.made.strftime("%Y-%m-%d %H:%M UTC"))

    def _change(self, act: str, number: int | None, reason: str, loaded: bool, share: float = 0.0) -> Version:
        with self._turn, _written(self.folder):
            if number is not None:
                version = self.version(number)
                if not loaded:
                    load(version.path)
                if act in ("shadow", "canary") and number == self.roles.serving:
                    raise ConfigError(f"Version {number} serves already: it cannot be its own {act}. Name another one.")
            self._write(act, number, reason, share)
        return self.serving

    def _write(self, act: str, number: int | None, reason: str, share: float = 0.0, at: datetime | None = None) -> None:
        """Add a line to the log: the whole file is written aside and put in its place, so that no half is ever read."""
        at = at or datetime.now(UTC)
        change = {"at": at.isoformat(), "act": act, "version": number, "share": share, "reason": reason}
        path, aside = self.folder / VERSIONS, self.folder / f"{VERSIONS}.part"
        before = path.read_text(encoding="utf-8") if path.is_file() else ""
        aside.write_text(before + json.dumps(change) + "\n", encoding="utf-8")
        _to_disk(aside)
        aside.replace(path)
        _to_disk(self.folder)

    def _own(self) -> bool:
        """Whether the folder itself is version 1."""
        return (self.folder / DESCRIPTION).is_file()

    def _folders(self) -> dict[int, Path]:
        """Where each version lies; a copy that was interrupted is none."""
        found = {1: self.folder} if self._own() else {}
        place = self.folder / FOLDER
        for path in place.iterdir() if place.is_dir() else ():
            if path.name.isdecimal() and (path / DESCRIPTION).is_file():
                found[int(path.name)] = path
        return found

    def _added(self, number: int) -> dict[str, Any] | None:
        return next((line for line in self.log() if line["act"] == "add" and line["version"] == number), None)


def listed(versions: Versions) -> list[dict[str, Any]]:
    """A line for each version: number, role ("" for none), accuracy on held-out rows, made, note."""
    from aet.outputs.base import OUTPUTS

    roles, found = versions.roles, []
    for version in versions.all():
        names = ("serving", "shadow", "canary")
        role = ", ".join(name for name in names if getattr(roles, name) == version.number)
        metric = OUTPUTS[read_description(version.path)["schema"]["output"]].metric
        found.append(
            {
                "number": version.number,
                "role": role,
                "accuracy": version.metrics.get(metric),
                "made": version.made.isoformat(timespec="seconds"),
                "note": version.note,
            }
        )
    return found


def files_of_run(run: Path) -> list[Path]:
    """What belongs to a run: not the versions, stores and cards that lie in the same folder."""
    named = [DESCRIPTION, *read_description(run)["sha256"], "metrics.jsonl", "report.html", "stream.html"]
    return [run / name for name in dict.fromkeys(named) if (run / name).is_file()]


@contextmanager
def _written(folder: Path) -> Iterator[None]:
    """Errors of the disk in words."""
    try:
        yield
    except OSError as error:
        raise RunError(
            f"The versions in {folder} cannot be written ({error.strerror or error}), and stay as they were. Free some "
            "space, or give the right to write there, and try again."
        ) from error


def _to_disk(path: Path) -> None:
    """Wait until a file, or a folder's list of files, is on disk."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
