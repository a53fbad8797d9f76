"""What a switch is: one adaptive part of training, turned on by name.

`fit` calls the hooks of every switch that is on, in the order they were named (those that lead come first); each is the
identity unless overridden. One step of training, with the hooks in capitals:

    PREPARE, optimiser, run, BEGIN
    for each step:
        for each batch:  tokens → TOKENS → trunk → logits → losses of the rows → LOSSES → mean + Σ TERM → backward
        GRADIENT, optimiser step, STEPPED
    EPOCH                                                                  # may name better weights to validate
    VALIDATED
    best weights, END

The learning rate of each step is that of the schedule times RATE of all.

A switch says what it did (`acted`). One that is on and did nothing is an error: nobody should believe in an effect that
was not there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
import torch
from torch import Tensor

from aet.batch import Batch
from aet.config import checked_settings
from aet.errors import ConfigError
from aet.model import Model
from aet.registry import Registry

SWITCHES: Registry[type[Switch]] = Registry("switch")


@dataclass
class Run:
    """What switches may look at and change while a model trains."""

    model: Model
    optimiser: torch.optim.Optimizer
    train: Batch
    """All training rows; `positions` are their places here, and stay with the rows of a batch."""
    valid: Batch
    steps: int
    """Optimiser steps of the whole run, if it is not stopped early."""
    backward: Callable[[], Tensor]
    """Adds the gradients of the current step's rows once more, without TERM."""
    step: int = 0
    rows: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.long))
    """Which training rows the current step takes."""
    mask: Tensor | None = None
    """Which tokens (B, T) of the current batch are real, None if all are; TOKENS may replace it."""
    concepts: Tensor | None = None
    """The concepts (B, T) that its tokens hold, None where nothing is known of any; TOKENS may replace it."""
    switches: Sequence[Switch] = ()
    """All that are on, in the order they were named."""
    frame: pd.DataFrame | None = None
    """The training rows as checked, in the order of `train`; None where the caller has only encoded rows."""
    folder: Path | None = None
    """Where the run keeps its checkpoint."""


@dataclass
class Pass:
    """One forward pass of a batch, as LOSSES and TERM see it."""

    batch: Batch
    tokens: Tensor  # (B, T, dim), after TOKENS
    mask: Tensor | None  # (B, T)
    logits: Tensor  # (B, width)
    losses: Tensor  # (B,), after LOSSES
    forward: Callable[..., Tensor]
    """Tokens and mask -> logits, once more; for other rows than the batch's with their concepts, or None."""

    def mean(self, rows: Tensor) -> Tensor:
        """(1/B) Σ w_i x_i: what a figure of each row (B,) adds to the loss."""
        return rows.mean() if self.batch.weight is None else (rows * self.batch.weight).mean()

    def again(self, run: Run, logits: Tensor) -> Tensor:
        """Losses (B,) of the same rows for other logits, through LOSSES of all switches."""
        assert self.batch.target is not None
        other = replace(self, logits=logits, losses=run.model.output.losses(logits, self.batch.target))
        for switch in run.switches:
            other.losses = switch.losses(run, other)
        return other.losses


class Switch:
    """Base of all switches.

    Args:
        settings: `defaults` of the switch, overridden; a wrong name or a value of another type raises ConfigError.
    """

    name: ClassVar[str]
    defaults: ClassVar[dict[str, Any]] = {}
    excludes: ClassVar[tuple[str, ...]] = ()
    """Switches that cannot be on beside this one."""
    leads: ClassVar[bool] = False
    """Whether it comes before the others, because it makes the weights that they start from."""
    fractions: ClassVar[tuple[str, ...]] = ()
    """Settings that must be below 1."""
    monitors: ClassVar[str] = "loss"
    """What should choose the best epoch where the settings leave it open: "loss", or "metric" or "agreement" where
    wrong labels among the validation rows make the loss punish a model for being sure of the right answer."""
    reads: ClassVar[tuple[str, ...]] = ("summary", "tokens", "last", "steps")
    """Outputs beside which it makes sense, by what they read (`Output.reads`)."""
    holds_inputs: ClassVar[bool] = False
    """Whether what makes tokens of columns stays as it is while it is on."""
    searched: ClassVar[bool] = True
    """Whether `aet tune` tries it; not where it goes on from a trained model, or asks for more than any table has."""

    def __init__(self, **settings: Any) -> None:
        self.settings = checked_settings(f"switch {self.name!r}", self.defaults, settings)
        for setting in self.fractions:
            if self.settings[setting] >= 1:
                raise ConfigError(
                    f"The setting {setting} of the switch {self.name!r} is a share: expected at least 0 and below 1, "
                    f"got {self.settings[setting]!r}. The default is {self.defaults[setting]!r}."
                )
        self.calls = 0
        """How often the switch changed something; kept over an interruption."""

    def prepare(self, model: Model) -> None:
        """Before the optimiser is made: change which weights there are, and which of them train."""

    def begin(self, run: Run) -> None:
        """Before the first step, and again when a run is taken up."""

    def rate(self, run: Run) -> float:
        """A factor on the step's learning rate."""
        return 1.0

    def tokens(self, run: Run, tokens: Tensor, batch: Batch) -> Tensor:
        """Change the input tokens (B, T, dim) of a batch; `run.mask` may be replaced with them."""
        return tokens

    def losses(self, run: Run, seen: Pass) -> Tensor:
        """Change the rows' losses (B,)."""
        return seen.losses

    def term(self, run: Run, seen: Pass) -> Tensor | None:
        """A scalar that is added to the mean loss."""
        return None

    def gradient(self, run: Run) -> None:
        """Change the gradients before the step."""

    def stepped(self, run: Run) -> None:
        """After a step."""

    def epoch(self, run: Run) -> AbstractContextManager[None]:
        """Within the context the weights are those to validate and, if they are the best, to keep."""
        return nullcontext()

    def validated(self, run: Run, record: Mapping[str, Any]) -> None:
        """After each validation; `record` holds the epoch's figures, `valid_loss` among them."""

    def end(self, run: Run) -> None:
        """After the last step, the best weights loaded: leave the model as it was found but for its weights."""

    def acted(self) -> str:
        """What it did, in words; empty if nothing."""
        return f"{self.calls:,} times" if self.calls else ""

    def remedy(self, run: Run) -> str:
        """What to do about having done nothing."""
        return "Turn it off, or change them so that it acts."

    def memory(self) -> dict[str, Tensor]:
        """What must outlive an interruption, beside `calls`; tensors that are never written in place."""
        return {}

    def load_memory(self, memory: Mapping[str, Tensor]) -> None:
        """Take back what `memory` gave."""


def refuse_unsuited(switches: Sequence[Switch], model: Model) -> None:
    """ConfigError for a switch that has no meaning beside the model's output."""
    for switch in switches:
        if model.output.reads not in switch.reads:
            raise ConfigError(
                f"The switch {switch.name!r} has no meaning beside the output {model.output.kind!r}, which answers for "
                "each word or place, or word by word: expected another kind of output. Turn it off."
            )


def switched_on(given: Mapping[str, Mapping[str, Any]]) -> list[Switch]:
    """The switches of a configuration; ConfigError for unknown names and settings, and for two that exclude others."""
    made = sorted((SWITCHES[name](**settings) for name, settings in given.items()), key=lambda made: not made.leads)
    for switch in made:
        for other in made:
            if other is not switch and other.name in switch.excludes:
                raise ConfigError(
                    f"The switches {switch.name!r} and {other.name!r} exclude each other: both change the same thing. "
                    "Turn one of them off."
                )
    return made


def need_blocks(name: str, model: Model) -> None:
    """ConfigError for a switch that works on the trunk's blocks where there are none."""
    if not len(model.trunk.blocks):
        raise ConfigError(
            f"The switch {name!r} works on the trunk's blocks, and there are none: expected model.depth of 1 or more, "
            "got 0. Set model.depth, or turn the switch off."
        )
