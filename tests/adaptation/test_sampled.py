"""The sample of rows that a report describes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from aet.adaptation import sampled as module
from aet.adaptation.sampled import Sampled, saw
from aet.schema import InputSpec, Schema
from aet.statistics import measured

SCHEMA = Schema((InputSpec("c", "category", ("c",)), InputSpec("n", "number", ("a", "b"))), ("y",), "label")


def table(rows, start=0):
    frame = pd.DataFrame({"a": np.arange(start, start + rows, dtype=float), "b": 1.0})
    frame["c"] = [None if row % 7 == 0 else f"kind {row % 3}" for row in range(start, start + rows)]
    return frame


@pytest.mark.parametrize("pieces", [[50], [1] * 50, [3, 0, 40, 7]])
def test_what_fits_is_held_whole_and_in_order(pieces):
    seen, start = Sampled(SCHEMA), 0
    assert seen.rows is None
    for rows in pieces:
        seen.saw(table(rows, start))
        start += rows
    pd.testing.assert_frame_equal(seen.rows, measured(table(50), SCHEMA))


def test_every_row_is_as_likely_to_be_held(monkeypatch):
    monkeypatch.setattr(module, "SAMPLE", 10)
    counts = np.zeros(60)
    for seed in range(300):
        seen = Sampled(SCHEMA, seed)
        for start in range(0, 60, 20):
            seen.saw(table(20, start))
        counts[seen.rows["a"].astype(int)] += 1
    assert counts.sum() == 3000
    assert np.abs(counts - 50).max() < 4.5 * np.sqrt(50 * 5 / 6)


def test_streams_together_hold_what_each_would_alone():
    together, alone = ([Sampled(SCHEMA, seed) for seed in range(3)] for _ in range(2))
    for start in range(0, 3000, 100):
        frame, rows = table(100, start), [20, 0, 80]
        saw(together, frame, rows)
        for one, span in zip(alone, (slice(0, 20), slice(20, 20), slice(20, 100)), strict=True):
            one.saw(frame.iloc[span])
    for one, other in zip(together, alone, strict=True):
        assert one.seen == other.seen
        if one.seen:
            pd.testing.assert_frame_equal(one.rows, other.rows)
