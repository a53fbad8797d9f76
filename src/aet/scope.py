"""Whether a row belongs to any class that a model knows."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from aet.batch import Batch
from aet.errors import ConfigError, nearest
from aet.model import Model, evaluating
from aet.monitoring.scope import OF_LOGITS, Calibration, Floats, distance
from aet.outputs.label import LabelOutput
from aet.summaries import summaries

SCORES = (*OF_LOGITS, "distance")


class Scope:
    """Says of rows whether they belong to the classes of a model; at most `level` of those that do are called strange.

    Args:
        model: answers with one class a row.
        known: rows of its classes that it was not trained on: the share of false alarms is counted on them.
        level: share of known rows that may be called out of scope.
        score: what makes a row strange: "energy" (default), "max_logit", "unsure" or "distance"
            (`aet.monitoring.scope`).

    Raises ConfigError for an unknown score, a level outside 0..1, fewer rows than 1/level, or another kind of answer.

    >>> import numpy as np, pandas as pd, aet
    >>> x = np.random.default_rng(0).normal(size=(400, 2))
    >>> frame = pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "sign": np.where(x.sum(1) > 0, "plus", "minus")})
    >>> model = aet.train(frame[:300], target="sign", config={"train": {"epochs": 5}})
    >>> scope = aet.Scope(model, frame[300:], level=0.1)
    >>> bool(scope(frame[300:]).mean() >= 0.9)
    True
    """

    def __init__(self, model: Model, known: Any, level: float = 0.05, score: str = "energy") -> None:
        if score not in SCORES:
            raise ConfigError(f"There is no score {score!r} of scope. {nearest(score, SCORES)}")
        if not isinstance(model.output, LabelOutput):
            raise ConfigError(f"Scope is about classes; this model answers with {model.output.kind!r}.")
        if score == "distance" and (not isinstance(model, Model) or model.config.model.members > 1):
            raise ConfigError("The score 'distance' reads the summary of a single network. Use 'energy'.")
        if not 0 < level < 1:
            raise ConfigError(f"level is a share of known rows, between 0 and 1; got {level}.")
        self.model, self.level, self.score = model, level, score
        strangeness = self.strangeness(known)
        strangeness = strangeness[~np.isnan(strangeness)]
        if len(strangeness) < 1 / level - 1:
            raise ConfigError(
                f"{len(strangeness)} known rows cannot tell what {level:.1%} of them are: give {1 / level:.0f} or "
                "more, or another level."
            )
        self.calibration = Calibration.of(strangeness)

    @torch.no_grad()
    def strangeness(self, source: Any) -> Floats:
        """How strange each row is (N,); NaN for one that cannot be used."""
        found = []
        for frame in self.model.pieces(source, 8192):
            checked, strange = self.model.check(frame), np.full(len(frame), np.nan)
            batch = self.model.encode(checked.frame)
            if self.score in OF_LOGITS:
                strange[checked.kept] = OF_LOGITS[self.score](self.model.logits(batch)).numpy()
            else:
                strange[checked.kept] = self.distances(batch).numpy()
            found.append(strange)
        return np.concatenate(found)

    def distances(self, batch: Batch) -> Tensor:
        """Of the rows' summaries to the nearest class of the training rows (N,)."""
        classes = self.model.known_statistics().classes
        if classes is None:
            raise ConfigError("This model keeps no moments of its classes: use the score 'energy'.")
        with evaluating(self.model):
            summary = summaries(self.model, batch, self.model.rows_at_once())[0]
        return distance(summary, classes[-1].mean, classes[-1].std.square().mean(0).sqrt())

    def p_values(self, source: Any) -> Floats:
        """Share of known rows at least as strange as each (N,); 0 for one that cannot be used."""
        return self.calibration.p_values(self.strangeness(source))

    def __call__(self, source: Any) -> np.ndarray:
        """Whether each row is in scope (N,)."""
        return self.p_values(source) > self.level
