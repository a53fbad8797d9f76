"""What a tracker is: one place more where the figures of a training go, beside `metrics.jsonl`, turned on by name.

    BEGIN                 once, with the settings, when the first epoch is done
    EPOCH                 what a line of metrics.jsonl holds: losses, metrics, learning rate; what each switch did
    END                   the final figures
    CLOSE

A tracker is a guest: where it fails, training goes on without it, says so once, and the report keeps why (`Tracking`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from aet.config import checked_settings
from aet.optional import optional
from aet.registry import Registry

TRACKERS: Registry[type[Tracker]] = Registry("tracker")
EXTRA = "pip install 'attention-elastic-training[track]'"


@dataclass(frozen=True)
class Start:
    """What a tracker is told first."""

    name: str
    """Of the run: that of its folder."""
    folder: Path
    """Where runs lie side by side; what a tracker keeps on this machine goes there, not into the run itself."""
    settings: Mapping[str, str | int | float | bool]
    """Settings and data, flat: `train.lr`, `data.rows`."""
    epoch: int
    """The first epoch that will be told; above 1 where an interrupted run goes on."""
    earlier: str | None = None
    """What `begin` gave before the interruption."""


class Tracker:
    """Base of all trackers.

    Args:
        settings: `defaults` of the tracker, overridden; a wrong name or a value of another type raises ConfigError.

    Raises MissingPackage where its package is not installed: before a row is read, not after an hour.
    """

    name: ClassVar[str]
    defaults: ClassVar[dict[str, Any]] = {}

    failures: tuple[type[Exception], ...] = (OSError, RuntimeError, ValueError, TypeError, AssertionError)
    """What it may raise under way; `__init__` adds its package's own."""

    def __init__(self, **settings: Any) -> None:
        self.settings = checked_settings(f"tracker {self.name!r}", self.defaults, settings)

    def package(self, module: str) -> Any:
        """A module of the tracker's package."""
        return optional(module, f"The tracker {self.name!r}", EXTRA, "leave it out: metrics.jsonl has the same figures")

    def begin(self, start: Start) -> str:
        """Open a run, or go on with an earlier one; gives what finds it again: a folder, an id."""
        raise NotImplementedError

    def epoch(self, number: int, figures: Mapping[str, float], said: Mapping[str, str]) -> None:
        """One epoch: its figures by name, and in words what each switch has done so far."""
        raise NotImplementedError

    def end(self, figures: Mapping[str, float]) -> None:
        """The figures of the finished model."""
        raise NotImplementedError

    def close(self, done: bool) -> None:
        """Let go of the run; not `done` where training was interrupted or failed."""
        raise NotImplementedError
