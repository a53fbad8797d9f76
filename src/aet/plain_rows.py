"""Frames of nothing but finite numbers, as most requests bring them: checked as one block."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from aet.cells.number import LARGEST

if TYPE_CHECKING:
    from aet.schema import Schema


def plain_numbers(frame: pd.DataFrame, schema: Schema) -> pd.DataFrame | None:
    """The inputs of a frame that brings nothing but finite numbers, in one block: that takes a tenth of the time of a
    column each. None for any other frame.
    """
    wanted = [*schema.input_columns]
    others = {*schema.targets, *schema.roles.values()}
    if any(spec.kind != "number" for spec in schema.inputs) or not others.isdisjoint(frame.columns):
        return None
    values = picked(frame, wanted).to_numpy()  # (N, C)
    if values.dtype.kind not in "biuf" or values.shape[1] != len(wanted):
        return None
    values = values.astype(np.float64)
    return None if (np.abs(values) > LARGEST).any() else pd.DataFrame(values, columns=named(tuple(wanted)))


@lru_cache(maxsize=64)
def named(columns: tuple[str, ...]) -> pd.Index[str]:
    """These names as a frame's columns; made once, since that takes as long as all else of a small frame."""
    return pd.Index(columns)


def picked(frame: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """`frame[columns]`, and the frame itself where it has these and no others: picking takes longer than looking."""
    wanted = [*columns]
    return frame if frame.columns.tolist() == wanted else frame[wanted]
