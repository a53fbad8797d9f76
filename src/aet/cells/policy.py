"""What was done, what it earned, and how likely it was to be done: the targets of a policy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from aet.cells.base import TARGETS
from aet.cells.number import parse_numbers
from aet.cells.target import Joint, two_or_raise
from aet.errors import DataError


@TARGETS.register("policy")
class Policies(Joint):
    """An action, its reward, and where it is known the propensity."""

    parts = ("label", "number", "number")

    @classmethod
    def learnable(cls, frame: pd.DataFrame, targets: Sequence[str]) -> None:
        """Two actions or more, and rewards that differ."""
        if len(targets) > len(cls.parts):
            raise DataError(
                f"The output 'policy' has {len(targets)} targets: expected an action, its reward and, where it is "
                "known, the probability with which it was chosen. Name two or three columns, in this order."
            )
        two_or_raise(set(frame[targets[0]].dropna().map(str)), targets[:1])
        rewards = parse_numbers(frame[targets[1]])[0]
        if not np.nanmax(rewards, initial=-np.inf) > np.nanmin(rewards, initial=np.inf):
            raise DataError(
                f"The reward {targets[1]!r} is the same in every row, or missing: no action is better than another. "
                "Check that the rows were not filtered by it, or name another column."
            )

        if len(targets) == len(cls.parts):
            chances = parse_numbers(frame[targets[2]])[0]
            wrong = (chances <= 0) | (chances > 1)
            if wrong.any():
                raise DataError(
                    f"The propensity {targets[2]!r} is the probability with which the action was chosen: expected "
                    f"numbers above 0 and at most 1, got {chances[wrong][0]:g} (such values in {wrong.sum()} rows). "
                    "Mend the log, or leave those rows out."
                )
