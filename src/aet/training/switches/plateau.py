"""The learning rate falls where the validation loss stays (as ReduceLROnPlateau of PyTorch and Keras).

    η ← factor · η    after `patience` epochs in which no loss was below (1 - least) · the best so far

Epochs that end within the warm-up set the best loss, but are not waited for. After a cut the waiting begins anew. With
`train.schedule: auto` nothing else lowers the rate; with another schedule both do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from aet.errors import ConfigError
from aet.training.switch import SWITCHES, Run, Switch


@SWITCHES.register("plateau")
class Plateau(Switch):
    """Settings: `factor` in (0, 1); `patience` in epochs; `least` in [0, 1), by which share a better loss is lower."""

    name = "plateau"
    defaults: ClassVar[dict[str, Any]] = {"factor": 0.5, "patience": 5, "least": 0.0}
    fractions = ("factor", "least")

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        if not self.settings["factor"]:
            raise ConfigError(
                f"The setting factor of the switch {self.name!r} must be above 0: got 0, which would stop all "
                f"training. The default is {self.defaults['factor']:g}."
            )
        self.best, self.waited = float("inf"), 0

    def rate(self, run: Run) -> float:
        """All cuts so far."""
        return self.left()

    def validated(self, run: Run, record: Mapping[str, Any]) -> None:
        """Wait, or cut."""
        if record["valid_loss"] < (1 - float(self.settings["least"])) * self.best:
            self.best, self.waited = record["valid_loss"], 0
        elif run.step + 1 > round(run.steps * run.model.config.train.warmup):
            self.waited += 1
        if self.waited >= self.settings["patience"] and run.step + 1 < run.steps:
            self.calls, self.waited = self.calls + 1, 0

    def acted(self) -> str:
        """The cuts."""
        return f"cut the learning rate {self.calls:,} times, to {self.left():.3g} of it" if self.calls else ""

    def left(self) -> float:
        """What the cuts leave of the rate."""
        return float(self.settings["factor"]) ** self.calls

    def remedy(self, run: Run) -> str:
        """The loss went on falling."""
        return (
            f"The validation loss never stayed for {self.settings['patience']} epochs. Turn it off, lower patience, or "
            "raise train.epochs."
        )

    def memory(self) -> dict[str, Tensor]:
        """The best loss, and how long since."""
        return {"best": torch.tensor(self.best, dtype=torch.float64), "waited": torch.tensor(self.waited)}

    def load_memory(self, memory: Mapping[str, Tensor]) -> None:
        """Take them back."""
        self.best, self.waited = float(memory["best"]), int(memory["waited"])
