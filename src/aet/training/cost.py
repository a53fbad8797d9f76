"""What retraining and an update cost, counted in rows that pass forward through the model, everything included.

    training      epochs · (5 · rows + 2 · held-out rows): a step takes its rows forward and back and moves the weights;
                  the held-out rows are answered plain and drifted
    statistics    one pass for the activations, one that writes the attention out, the slopes of at most 512 rows, and
                  17 passes over at most 256 held-out rows
    rehearsals    worlds · 300: each answers its rows for the source and, moved, for the proposal, equal rows once

An update may cost `SHARE` of retraining on everything for as many epochs as the training took. Rehearsals get at most a
quarter of that, but 20 worlds, fewer of which say nothing; statistics take what they take; training gets the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aet.adaptation import rehearsed
from aet.adaptation.rehearse import rehearsable
from aet.config import TrainConfig
from aet.model import Model
from aet.training import dial_fisher, gather

SHARE = 0.16
"""What an update costs, of retraining on everything."""
STEP, WORLD = 5.0, 300
FOR_REHEARSALS = 0.25
SWITCHES = {"lwf": 1 / 3, "moment_replay": 4 / 3}
"""What a switch adds to the cost of a row: a forward is a third of it; drawn rows are as many as a batch has."""


@dataclass(frozen=True)
class Rows:
    """How many rows are trained on, and how many are held out."""

    train: int
    held: int

    def epoch(self, switches: float = 0.0) -> float:
        """One epoch; `switches` is what they add to a row."""
        return STEP * (1 + switches) * self.train + 2 * self.held

    def statistics(self) -> float:
        """What is gathered after the last epoch."""
        some, few = min(self.train, gather.ROWS), min(self.train, dial_fisher.ROWS)
        return 2 * some + STEP * few + (1 + gather.DRIFTS) * min(self.held, gather.DRIFTED_ROWS)


def afforded(model: Model, everything: Rows, update: Rows, switches: dict[str, Any]) -> tuple[int, int]:
    """Epochs of an update, and worlds of its rehearsals."""
    own: TrainConfig = model.config.train
    # A training that stopped early will do so again.
    trained = int(model.report.get("trained") or len(model.report.get("history", ())) or own.epochs)
    worlds = [own.rehearsals if rehearsable(model, rows.held) else 0 for rows in (everything, update)]
    allowance = SHARE * (trained * everything.epoch() + everything.statistics() + worlds[0] * WORLD)
    chosen = min(worlds[1], max(rehearsed.LEAST, int(FOR_REHEARSALS * allowance / WORLD)))
    left = allowance - update.statistics() - chosen * WORLD
    more = sum(SWITCHES.get(name, 0.0) for name in switches)
    return max(1, min(own.epochs, round(left / update.epoch(more)))), chosen
