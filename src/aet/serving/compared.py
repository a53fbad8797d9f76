"""Two models on the same rows: which is right more often, and how sure that is."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from aet.errors import DataError
from aet.model import Model
from aet.training.beside import scores
from aet.training.worth import paired


@dataclass(frozen=True)
class Comparison:
    """Mean scores on the same rows; difference after - before in points, with its 95 % interval `low` to `high`."""

    score: str
    rows: int
    left_out: int
    before: float
    after: float
    difference: float
    low: float
    high: float

    @property
    def better(self) -> bool:
        """Whether the whole interval lies above 0."""
        return self.low > 0

    @property
    def text(self) -> str:
        """What that means, in a sentence."""
        span = f"{self.difference:+.1f} points of {self.score}, 95 % interval {self.low:+.1f} to {self.high:+.1f}"
        verdict = "better" if self.better else "worse" if self.high < 0 else "not told apart from the one before"
        left = f"; {self.left_out:,} more could not be used" if self.left_out else ""
        return f"{verdict.capitalize()}: {span}, on {self.rows:,} labelled rows{left}."


def compare(before: Model, after: Model, rows: pd.DataFrame) -> Comparison:
    """Two models on rows with true answers that neither has learned.

        difference = 100 · mean(d),  d_i = score_after(i) - score_before(i),  interval: ± 1.96 · s(d) / √n

    Where no row differs the half width is 3/n (the rule of three). The score is that of the first model's output:
    accuracy, or closeness for numbers. A class that a model does not know scores 0. Rows that were labelled because
    somebody asked for them are not a random sample of all rows, and this is about the labelled ones.

    Raises DataError if no row can be used.

    >>> import numpy as np, pandas as pd, aet
    >>> x = np.random.default_rng(0).normal(size=(120, 2))
    >>> frame = pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "sign": np.where(x.sum(1) > 0, "plus", "minus")})
    >>> model = aet.train(frame[:80], target="sign", config={"train": {"epochs": 2}})
    >>> compare(model, model, frame[80:]).text
    'Not told apart from the one before: +0.0 points of accuracy, 95 % interval -7.5 to +7.5, on 40 labelled rows.'
    """
    if before.schema.inputs != after.schema.inputs or before.schema.targets != after.schema.targets:
        raise DataError("The two models are of different tables: their columns differ. Compare versions of one model.")
    checked = before.check(rows, need_target=True)
    old, new = scores(before, checked.frame), scores(after, checked.frame)
    mean, half = paired(new - old)
    half = min(half, 1.0)
    return Comparison(
        score=before.output.score_name,
        rows=len(old),
        left_out=len(checked.problems),
        before=float(old.mean()),
        after=float(new.mean()),
        difference=100 * mean,
        low=100 * (mean - half),
        high=100 * (mean + half),
    )
