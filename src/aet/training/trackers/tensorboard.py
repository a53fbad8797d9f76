"""TensorBoard: event files in `tensorboard/<run>` beside the run folder. Look at them, and at all runs there, with

    tensorboard --logdir runs/tensorboard

Scalars are losses, metrics and the learning rate by epoch; the settings, and what each switch did, are texts. Nothing
leaves the machine.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from aet.training.tracker import TRACKERS, Start, Tracker


@TRACKERS.register("tensorboard")
class TensorBoard(Tracker):
    """Event files beside the run folder."""

    name = "tensorboard"

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.package("tensorboard")
        self.library = self.package("torch.utils.tensorboard")

    def begin(self, start: Start) -> str:
        """A writer whose first entry hides what an interrupted or replaced run has written of later epochs."""
        folder = start.folder / "tensorboard" / start.name
        self.writer = self.library.SummaryWriter(str(folder), purge_step=start.epoch)
        self.writer.add_text("settings", f"```json\n{json.dumps(dict(start.settings), indent=1)}\n```", start.epoch)
        self.last = start.epoch
        return str(folder)

    def epoch(self, number: int, figures: Mapping[str, float], said: Mapping[str, str]) -> None:
        """Scalars and texts, on disk at once."""
        for name, value in figures.items():
            self.writer.add_scalar(name, value, number)
        for name, words in said.items():
            self.writer.add_text(f"acted/{name}", words, number)
        self.last = number
        self.writer.flush()

    def end(self, figures: Mapping[str, float]) -> None:
        """Scalars under `final/`."""
        for name, value in figures.items():
            self.writer.add_scalar(f"final/{name}", value, self.last)

    def close(self, done: bool) -> None:
        """Write what waits."""
        self.writer.close()
