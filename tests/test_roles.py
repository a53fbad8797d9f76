"""Ids met before: against a plain dictionary, in bounded memory, whatever their type."""

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from aet.roles import SeenIds


@given(st.lists(st.lists(st.integers(0, 40), max_size=12), max_size=8))
@settings(deadline=None)
def test_the_first_row_of_each_id_is_that_of_a_dictionary(pieces):
    seen, known, row = SeenIds(), {}, 1
    for piece in pieces:
        rows = np.arange(row, row + len(piece))
        expected = [known.setdefault(f"id {key}", number) for key, number in zip(piece, rows.tolist(), strict=True)]
        ids = pd.Series([f"id {key}" for key in piece], dtype=object)
        assert seen.first(ids, rows).tolist() == expected
        row += len(piece)


def test_memory_is_bounded_and_the_oldest_rows_are_forgotten():
    seen = SeenIds(limit=1000)
    for start in range(0, 5000, 100):
        rows = np.arange(start, start + 100)
        assert (seen.first(pd.Series(rows), rows) == rows).all()
        assert len(seen.rows) == len(seen.hashes) <= 1000
    assert seen.first(pd.Series([4100, 4001]), np.arange(5000, 5002)).tolist() == [4100, 4001]
    assert seen.first(pd.Series([3999]), np.array([5002])).tolist() == [5002]


def test_numbers_and_their_texts_are_the_same_id():
    seen = SeenIds()
    assert seen.first(pd.Series([7, 8, 9]), np.arange(3)).tolist() == [0, 1, 2]
    assert seen.first(pd.Series([7.0, 7.5]), np.arange(3, 5)).tolist() == [0, 4]
    assert seen.first(pd.Series(["8", "7.5", "x"]), np.arange(5, 8)).tolist() == [1, 4, 7]
    assert seen.first(pd.Series([np.int8(9), [1, 2], "[1, 2]"], dtype=object), np.arange(8, 11)).tolist() == [2, 9, 9]
