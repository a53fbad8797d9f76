"""Weights & Biases: a run in `wandb/` beside the run folder, offline. Send it when you want to with

    wandb sync runs/wandb/offline-run-*

The setting `mode: online`, or WANDB_MODE, sends while it trains. Error reports of the package itself are off unless
WANDB_ERROR_REPORTING says otherwise.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, ClassVar

from aet.training.tracker import TRACKERS, Start, Tracker


@TRACKERS.register("wandb")
class Wandb(Tracker):
    """A run of Weights & Biases, offline unless told otherwise."""

    name = "wandb"
    defaults: ClassVar[dict[str, Any]] = {"project": "aet", "mode": ""}

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        self.library = self.package("wandb")
        self.failures = (*self.failures, self.library.errors.Error)

    def begin(self, start: Start) -> str:
        """A run, or a further part of the one that was interrupted."""
        place = start.folder.resolve()
        place.mkdir(parents=True, exist_ok=True)
        self.run = self.library.init(
            project=self.settings["project"],
            name=start.name,
            dir=str(place),
            config=dict(start.settings),
            mode=self.settings["mode"] or os.environ.get("WANDB_MODE", "offline"),
            id=start.earlier,
            resume=None if start.earlier is None else "allow",
            reinit="create_new",
            settings=self.library.Settings(silent=True, console="off"),
        )
        return str(self.run.id)

    def epoch(self, number: int, figures: Mapping[str, float], said: Mapping[str, str]) -> None:
        """One line of its history."""
        self.run.log({**figures, **{f"acted/{name}": words for name, words in said.items()}}, step=number)

    def end(self, figures: Mapping[str, float]) -> None:
        """Figures of its summary, under `final/`."""
        self.run.summary.update({f"final/{name}": value for name, value in figures.items()})

    def close(self, done: bool) -> None:
        """Write what waits, and its state."""
        self.run.finish(exit_code=0 if done else 1)
