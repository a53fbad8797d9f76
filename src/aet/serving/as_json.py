"""Rows, answers and ids as JSON text, as the store keeps them."""

from __future__ import annotations

import json
import math
from collections.abc import Hashable, Mapping
from datetime import date, datetime
from typing import Any

import numpy as np
import pandas as pd

from aet.errors import DataError, FeedbackError

ID = 200
"""Characters of a row's id, as JSON."""

ENCODER = json.JSONEncoder(allow_nan=False)


def row_text(known: Any) -> str:
    """A row's id as JSON, so that the number 1 and the text "1" stay two rows.

    Raises FeedbackError for an id that is not one short value.

    >>> row_text(1), row_text("1")
    ('1', '"1"')
    """
    plain = known.item() if isinstance(known, np.generic) else known
    if not isinstance(plain, str | int | float) or (isinstance(plain, float) and not math.isfinite(plain)):
        raise FeedbackError(f"A row's id is a number or a text, as in the `id` of its answer; got {known!r}.")
    text = json.dumps(plain, ensure_ascii=isinstance(plain, str) and not _writable(plain))
    if len(text) > ID:
        raise FeedbackError(
            f"A row's id has at most {ID} characters, got {len(text)} ({text[:40]}...). Send a shorter one."
        )
    return text


def row_id(text: str) -> Hashable:
    """The id that a text of `row_text` stands for."""
    known: Hashable = json.loads(text)
    return known


def _writable(text: str) -> bool:
    """Whether UTF-8 has bytes for it: half a surrogate pair has none."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def to_json(value: Any) -> str:
    """JSON text of what is stored: NumPy's scalars as Python's, missing numbers as null, infinite ones as their names.

    >>> to_json({"a": [1, float("nan"), float("inf")]})
    '{"a": [1, null, "Infinity"]}'
    """
    try:
        return ENCODER.encode(value)
    except (TypeError, ValueError):  # most values need no copy
        return ENCODER.encode(_cleaned(value))


def _cleaned(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _cleaned(part) for name, part in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_cleaned(part) for part in value]
    if isinstance(value, np.generic):
        return _cleaned(value.item())
    if value is None or isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, float):
        return None if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if pd.isna(value):
        return None
    if isinstance(value, datetime | date):
        return value.isoformat()
    raise DataError(f"A value of a row that is kept is a number, a text, a truth value or missing; got {value!r}.")
