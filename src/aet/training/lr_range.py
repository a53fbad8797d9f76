"""The learning-rate range test (Smith 2017, 1506.01186): one short run over rising rates, and the best place in it.

    η_i = low · (high / low)^(i / (n - 1)),    i = 0 ... n - 1

one step each, on a copy of the model, with the optimiser, the switches and the rows of the run to come. The step's loss
l_i is smoothed over the steps, L_i = (1 - β) Σ_j β^(i-j) l_j / (1 - β^(i+1)) with β = 0.9, and the test ends where L
exceeds four times its least so far. The rate to train with is where L falls fastest over log η, its slope taken by
least squares over the 2k + 1 places around, from the first step to the least L.
"""

from __future__ import annotations

import contextlib
import copy
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from aet.batch import Batch
from aet.errors import ConfigError
from aet.model import Model
from aet.training.loop import fit
from aet.training.optimizers import recipe
from aet.training.switch import Pass, Run, Switch

BETA = 0.9
"""Of the smoothing."""
DIVERGED = 4.0
"""Times the least loss at which the test ends."""
WIDTH = 5
"""k of the slope."""


@dataclass(frozen=True)
class LrRange:
    """What a test saw.

    >>> LrRange([0.1, 0.2], [2.0, 1.0], 0.1).table()
    'rate 0.1    loss 2 <- suggested\\nrate 0.2    loss 1'
    """

    rates: list[float]
    losses: list[float]
    """Smoothed, one a rate."""
    lr: float
    """The rate to train with."""

    def table(self, lines: int = 12) -> str:
        """Some of the rates, the suggested one among them, for a person to read."""
        best = self.rates.index(self.lr)
        every = max(1, len(self.rates) // lines)
        shown = sorted({*range(best % every, len(self.rates), every), best})
        return "\n".join(
            f"rate {self.rates[place]:<6.3g} loss {self.losses[place]:.4g}" + " <- suggested" * (place == best)
            for place in shown
        )


class Ended(Exception):
    """The test has seen enough."""


class Sweep(Switch):
    """Raises the rate step by step, and notes the losses."""

    name = "lr_range"
    defaults: ClassVar[dict[str, Any]] = {"low": 1e-6, "high": 1.0, "steps": 100}

    def begin(self, run: Run) -> None:
        """Nothing is seen yet."""
        self.rates: list[float] = []
        self.smoothed: list[float] = []
        self.running, self.pending = 0.0, torch.zeros((), device=run.model.device)

    def rate(self, run: Run) -> float:
        """η_i over the last rate, which is the run's."""
        ratio = self.settings["high"] / self.settings["low"]
        return float(ratio ** (run.step / (self.settings["steps"] - 1) - 1))

    def losses(self, run: Run, seen: Pass) -> Tensor:
        """Note them, as they came."""
        with torch.no_grad():
            self.pending += seen.mean(seen.losses) * len(seen.losses) / len(run.rows)
        return seen.losses

    def gradient(self, run: Run) -> None:
        """The loss of the step that is about to be taken; what other switches make of the step is not looked at."""
        self.running = BETA * self.running + (1 - BETA) * float(self.pending)
        self.pending = torch.zeros_like(self.pending)
        loss = self.running / (1 - BETA ** (run.step + 1))
        if not loss < DIVERGED * min([loss, *self.smoothed]) + 1e-12:
            raise Ended
        self.rates.append(self.settings["high"] * self.rate(run))
        self.smoothed.append(loss)

    def stepped(self, run: Run) -> None:
        """Losses that other switches asked for within the step do not count; the last step ends the test."""
        self.pending = torch.zeros_like(self.pending)
        if run.step + 1 >= self.settings["steps"]:
            raise Ended


def find_lr(model: Model, train: Batch, low: float = 1e-6, high: float = 1.0, steps: int = 100) -> LrRange:
    """The learning rate to train `model` with on the encoded rows `train`; the model stays as it is.

    The same model, rows and seed give the same rate. `train.lr: auto` does this before training.

    Raises ConfigError if the loss falls nowhere between the two rates, or the optimiser finds its rate itself.
    """
    settings = model.config.train
    if not 0 < low < high or steps < 4 * WIDTH:
        raise ConfigError(
            f"A learning-rate range test needs 0 < low < high and at least {4 * WIDTH} steps; got low={low!r}, "
            f"high={high!r}, steps={steps!r}. The defaults are 1e-6, 1 and 100."
        )
    if recipe(settings.optimizer).finds:
        raise ConfigError(
            f"The optimiser {settings.optimizer!r} finds its learning rate itself: train.lr is a factor on it. Leave "
            "train.lr out."
        )
    rows = settings.batch_size * settings.accumulate
    epochs = -(-steps // -(-len(train) // rows))
    changes = {"lr": float(high), "warmup": 0.0, "schedule": "constant", "epochs": epochs, "patience": epochs}
    switches = {name: given for name, given in settings.switches.items() if name != "plateau"}
    changed = settings.model_copy(update={**changes, "switches": switches})
    tried = copy.deepcopy(model)
    tried.config = model.config.model_copy(update={"train": changed})
    sweep = Sweep(low=low, high=high, steps=steps)
    with contextlib.suppress(Ended):
        fit(tried, train, train[torch.arange(1)], more=[sweep])
    best = steepest(sweep.rates, sweep.smoothed)
    if best is None:
        raise ConfigError(
            f"No learning rate between {low:g} and {high:g} lets the loss fall in a test of {steps} steps. Set "
            "train.lr to a number, or look at the target: it may not depend on the inputs."
        )
    return LrRange(sweep.rates, sweep.smoothed, sweep.rates[best])


def steepest(rates: list[float], losses: list[float]) -> int | None:
    """Where the loss falls fastest over the log of the rate, before its least; None if it falls nowhere.

    >>> steepest([10.0**i for i in range(20)], [9.0] * 8 + [8.0, 6.0, 3.0, 2.0] + [1.9] * 4 + [5.0] * 4)
    9
    """
    x, y = torch.tensor(rates, dtype=torch.float64).log(), torch.tensor(losses, dtype=torch.float64)
    least = int(y.argmin()) if len(y) else 0
    slopes: dict[int, float] = {}
    for place in range(least + 1):
        near = slice(max(0, place - WIDTH), place + WIDTH + 1)
        across = x[near] - x[near].mean()
        if len(across) > WIDTH:
            slopes[place] = float((across * y[near]).sum() / across.square().sum())
    best = min(slopes, key=slopes.__getitem__, default=None)
    return best if best is not None and slopes[best] < 0 else None
