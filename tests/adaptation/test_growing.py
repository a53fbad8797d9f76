"""Growing blocks of numbers, beside joining them."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

from aet.adaptation.growing import Growing


@pytest.mark.parametrize("most", [None, 1, 7, 40])
def test_it_holds_what_joining_all_of_them_holds(most):
    rng, seen, plain = np.random.default_rng(0), Growing(np.empty, most), np.empty(0)
    for _ in range(200):
        fresh = rng.normal(size=rng.integers(0, 12))
        seen.add(fresh, len(fresh))
        plain = np.concatenate([plain, fresh])
        newest = plain if most is None else plain[-most:]
        assert np.array_equal(seen.values, newest)
        assert len(seen) == len(newest)


def test_of_the_newest_the_block_stays_small():
    seen = Growing(np.empty, most=50)
    for number in range(10_000):
        seen.add(number, 1)
        assert len(seen._block) <= 2 * (50 + 1)


def test_the_numbers_are_written_to_in_place_and_set_anew():
    seen = Growing(partial(np.empty, dtype=bool))
    seen.add(False, 5)
    seen.values[[1, 3]] = True
    assert seen.values.tolist() == [False, True, False, True, False]
    seen.values = seen.values[seen.values]
    seen.add(False, 1)
    assert seen.values.tolist() == [True, True, False]


def test_rows_of_tensors_grow_alike():
    draws = torch.Generator().manual_seed(0)
    seen, plain = Growing(lambda count: torch.empty(count, 2, 3)), torch.empty(0, 2, 3)
    for number in range(60):
        fresh = torch.randn(number % 5, 2, 3, generator=draws)
        before = seen.values
        copy = before.clone()
        seen.add(fresh, len(fresh))
        plain = torch.cat([plain, fresh])
        assert torch.equal(seen.values, plain)
        assert torch.equal(before, copy)  # what was given out does not change


def test_of_a_long_call_all_is_there_until_the_next():
    seen = Growing(np.empty, most=3)
    seen.add(np.arange(2.0), 2)
    seen.add(np.arange(10.0, 20.0), 10)
    assert seen.values.tolist() == [17.0, 18.0, 19.0]
    assert seen.newest(11).tolist() == [1.0, *range(10, 20)]
    assert seen.newest(99).tolist() == [0.0, 1.0, *range(10, 20)]
