"""The trackers of one training, together: told the same, and none of them able to end it."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aet.config import Config
from aet.ranks import leads
from aet.training import trackers as _known  # noqa: F401 (they register themselves)
from aet.training.tracker import TRACKERS, Start, Tracker

REFERENCES = "tracking.json"
"""In the run folder while it trains: where each tracker's run is, so that an interrupted one goes on there."""
RUNS = Path("runs")
"""Where logs lie of a training that has no run folder."""


Track = str | Sequence[str] | Mapping[str, Mapping[str, Any]]
"""Names of trackers, with their settings or without."""


class TrackerWarning(UserWarning):
    """A tracker has failed; training goes on without it."""


class Tracking:
    """What is told to all trackers of a training; a context that closes them where training is interrupted.

    Args:
        given: trackers by name with their settings, `train.track`; ConfigError for unknown ones, MissingPackage.
        folder: the run folder, if there is one.
        settings: those of the training, flat (`flat`).

    >>> Tracking({"tensorbord": {}}, None, {})
    Traceback (most recent call last):
    aet.errors.ConfigError: There is no tracker 'tensorbord'. Did you mean 'tensorboard'? Known: ...
    """

    def __init__(self, given: Mapping[str, Mapping[str, Any]], folder: Path | None, settings: Mapping[str, Any]):
        made = [TRACKERS[name](**given[name]) for name in given]
        self.trackers = {tracker.name: tracker for tracker in made} if leads() else {}
        """Those that have not failed."""
        self.records = [{"name": name, "where": None, "failed": None} for name in self.trackers]
        self.folder, self.settings = folder, settings
        self.begun = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is not None and self.begun:
            self._each(lambda tracker: tracker.close(done=False))
            self.trackers = {}

    def epoch(self, record: Mapping[str, Any]) -> None:
        """Tell a line of metrics.jsonl."""
        self._begin(int(record["epoch"]))
        figures = {name: float(value) for name, value in record.items() if is_number(value) and name != "epoch"}
        said = {str(name): str(words) for name, words in record.get("acted", {}).items()}
        self._each(lambda tracker: tracker.epoch(int(record["epoch"]), figures, said))

    def end(self, report: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Tell the figures of the finished model; gives a record a tracker: name, where, and why it failed or None."""
        self._begin(len(report["history"]) + 1)
        figures = final_figures(report)

        def finish(tracker: Tracker) -> None:
            tracker.end(figures)
            tracker.close(done=True)

        self._each(finish)
        if self.folder is not None and leads():
            (self.folder / REFERENCES).unlink(missing_ok=True)
        return self.records

    def _begin(self, epoch: int) -> None:
        """Open all runs, at the first epoch that is told: only then is it known whether an interrupted run goes on."""
        if self.begun or not self.trackers:
            return
        self.begun = True
        earlier = self._references() if epoch > 1 else {}
        place, name = (RUNS, fresh_name()) if self.folder is None else beside(self.folder)
        where: dict[str, str] = {}

        def begin(tracker: Tracker) -> None:
            start = Start(name, place, self.settings, epoch, earlier.get(tracker.name))
            where[tracker.name] = tracker.begin(start)

        self._each(begin)
        for record in self.records:
            record["where"] = where.get(str(record["name"]))
        if self.folder is not None:
            with suppress(OSError):  # a full disk is the checkpoint's to report; a tracker then begins a run of its own
                (self.folder / REFERENCES).write_text(json.dumps(where), encoding="utf-8")

    def _references(self) -> dict[str, str]:
        file = None if self.folder is None else self.folder / REFERENCES
        if file is None or not file.is_file():
            return {}
        try:
            return {str(name): str(where) for name, where in json.loads(file.read_text(encoding="utf-8")).items()}
        except (ValueError, AttributeError):  # damaged: a tracker then begins anew, which it shows itself
            return {}

    def _each(self, tell: Callable[[Tracker], None]) -> None:
        """Tell every tracker that has not failed; one that fails now is told no more."""
        for name, tracker in list(self.trackers.items()):
            try:
                tell(tracker)
            except tracker.failures as error:
                del self.trackers[name]
                why = f"{type(error).__name__}: {shortened(str(error))}"
                next(record for record in self.records if record["name"] == name)["failed"] = why
                warnings.warn(
                    f"The tracker {name!r} failed and is told no more ({why}). Training goes on, and metrics.jsonl "
                    "gets every figure.",
                    TrackerWarning,
                    stacklevel=3,
                )


def followed(config: Config, track: Track | None) -> Config:
    """The settings with these trackers in place of those they name; None leaves them.

    >>> followed(Config(), ["mlflow"]).train.track
    {'mlflow': {}}
    """
    if track is None:
        return config
    read = config.model_dump()
    read["train"]["track"] = track
    return Config.checked("", read)


def beside(folder: Path) -> tuple[Path, str]:
    """Where the runs beside a run folder lie, and the name of this one."""
    return folder.parent, folder.name or folder.resolve().name


def fresh_name() -> str:
    """A name for a run without a folder."""
    return datetime.now().strftime("run-%Y%m%d-%H%M%S-%f")


def is_number(value: Any) -> bool:
    """Whether a value is a figure."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def shortened(text: str, most: int = 200) -> str:
    """One line, without what an address may hold of a password.

    >>> shortened("no answer from https://me:secret@host/x\\nretry")
    'no answer from https://...@host/x retry'
    """
    return " ".join(re.sub(r"//[^/\s@]+@", "//...@", text).split())[:most]


def flat(config: Config, rows: int) -> dict[str, str | int | float | bool]:
    """Settings as `section.name`, those that hold several values as JSON; what is None is left out.

    >>> flat(Config.read({"train": {"switches": {"sam": {"rho": 0.1}}}}), 80)["train.switches"]
    '{"sam": {"rho": 0.1}}'
    """
    found: dict[str, str | int | float | bool] = {"data.rows": rows, "seed": config.seed}
    for section, part in config.model_dump(mode="json").items():
        for name, value in part.items() if isinstance(part, dict) else ():
            if value is not None and value != {} and (section, name) != ("train", "track"):
                found[f"{section}.{name}"] = value if isinstance(value, str | int | float) else json.dumps(value)
    return found


def final_figures(report: Mapping[str, Any]) -> dict[str, float]:
    """Figures of the report: those of the rows held out, rows, seconds, and what each part that was on was worth."""
    whole = {name: report.get(name) for name in ("rows", "quarantined", "seconds", "lr")}
    worth: Sequence[Mapping[str, Any]] = report.get("worth") or ()
    compared = {f"worth_{name_of(record['part'])}": record["difference"] for record in worth}
    figures = {**report.get("valid", {}), **whole, **compared}
    return {name: float(value) for name, value in figures.items() if is_number(value)}


def name_of(part: str) -> str:
    """A part's name as all trackers take it.

    >>> name_of("optimizer=sgd")
    'optimizer-sgd'
    """
    return re.sub(r"[^\w.-]", "-", part)
