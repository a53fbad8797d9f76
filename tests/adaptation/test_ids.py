"""Remembered ids: those of a set in order, however they come, in a fraction of its memory."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from aet.adaptation.ids import TOGETHER, Ids


@pytest.mark.parametrize("seed", range(3))
def test_below_the_limit_it_is_a_set(seed):
    rng = np.random.default_rng(seed)
    ids, plain = Ids(10_000), set()
    for _ in range(2000):
        known = [int(rng.integers(-200, 200)), float(rng.integers(200)), "ab"[rng.integers(2)], np.int64(7)][
            rng.integers(4)
        ]
        if rng.random() < 0.6:
            ids.update([known])
            plain.add(known)
        else:
            ids.discard(known)
            plain.discard(known)
        assert (known in ids) == (known in plain)
    assert set(ids) == plain
    assert len(ids) == len(plain) == len(list(ids))


def test_the_oldest_are_forgotten_and_few_more_than_need_be():
    ids = Ids(1000)
    ids.update(range(5000))
    assert 1000 - TOGETHER <= len(ids) <= 1000
    assert all(known in ids for known in range(5000 - len(ids), 5000))
    texts = Ids(3)
    texts.update("abcde")
    assert list(texts) == ["c", "d", "e"]
    assert Ids(0).__len__() == 0


def test_counted_rows_take_a_few_bytes_each():
    ids = Ids(100_000)
    ids.update(range(80_000))
    assert sum(map(sys.getsizeof, (ids._marks, *ids._marks, *ids._marks.values()))) < 5 * len(ids)


def test_the_odd_ones_are_told_apart():
    ids = Ids(10)
    ids.update([0.5, float("inf"), "1", np.str_("x"), None, (1, 2)])
    assert 1 not in ids
    assert "x" in ids
    assert all(known in ids for known in (0.5, float("inf"), "1", None, (1, 2)))
