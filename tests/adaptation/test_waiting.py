"""Answers that wait for labels, beside a plain dictionary of them."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import pytest
import torch

from aet.adaptation.waiting import Waiting


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[side], other[side]) for side in one)


@pytest.mark.parametrize("most", [5, 64, 1000])
def test_it_gives_back_what_was_put_in(most):
    rng, draws = np.random.default_rng(0), torch.Generator().manual_seed(0)
    waiting, plain, number = Waiting(most), OrderedDict(), 0
    for _ in range(120):
        count, kind = int(rng.integers(0, 9)), int(rng.integers(3))
        served = torch.randn(count, 3, generator=draws)
        source = (None, served, torch.randn(count, 3, generator=draws))[kind]
        ids = [int(known) for known in rng.choice(300, count, replace=False)]
        waiting.add(ids, number + 1, served, source)
        for i, known in enumerate(ids):
            plain.pop(known, None)
            given = {"served": served[i]} | ({} if source is None else {"source": source[i]})
            plain[known] = number + i + 1, given, number + i
        number += count
        plain = OrderedDict((k, entry) for k, entry in plain.items() if entry[2] >= number - most)
        assert list(waiting) == list(plain)
        for known in rng.choice(300, 10, replace=False).tolist():
            given = plain.get(known, (0, {}, 0))[1]
            assert (known in waiting) == bool(given)
            said = waiting.source(known, 3)
            assert (said is None) == ("source" not in given)
            assert said is None or torch.equal(said, given["source"])
        for known in [k for k in rng.choice(300, 3, replace=False).tolist() if k in plain]:
            row, given, _ = plain.pop(known)
            found, told = waiting.take(known, 3)
            assert found == row
            assert equal(told, given)
            assert known not in waiting


def test_of_a_call_larger_than_the_room_the_last_rows_stay():
    served, source = torch.arange(20.0).reshape(10, 2), torch.ones(10, 2)
    for said in (None, served, source):
        waiting = Waiting(4)
        waiting.add(list(range(10)), 1, served, said)
        assert list(waiting) == [6, 7, 8, 9]
        row, given = waiting.take(7, 2)
        assert row == 8
        assert torch.equal(given["served"], served[7])
        if said is not None:
            assert torch.equal(given["source"], said[7])


def test_answers_of_a_model_that_learned_new_ones_since_are_widened():
    waiting = Waiting(100)
    waiting.add(["old"], 1, torch.ones(1, 2), torch.zeros(1, 2))
    waiting.add(["new"], 2, torch.ones(1, 3), torch.zeros(1, 3))
    assert waiting.source("old", 3) is None
    assert waiting.source("new", 3).tolist() == [0.0, 0.0, 0.0]
    told = waiting.to_tensors(["old", "new"], 3)
    assert told["served"].tolist() == [[1.0, 1.0, -10000.0], [1.0, 1.0, 1.0]]
    assert told["source"].tolist() == [[0.0, 0.0, -10000.0], [0.0, 0.0, 0.0]]
    assert waiting.take("old", 3)[1]["served"].tolist() == [1.0, 1.0, -10000.0]


def test_what_was_given_out_does_not_change_with_rows_to_come():
    waiting = Waiting(2)
    waiting.add(["a"], 1, torch.ones(1, 2), torch.zeros(1, 2))
    said, told = waiting.source("a", 2), waiting.take("a", 2)[1]
    for number in range(2, 7):
        waiting.add([number], number, torch.full((1, 2), 7.0), torch.full((1, 2), 7.0))
    assert told["served"].tolist() == [1.0, 1.0]
    assert said.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("most", [7, 100])
def test_saved_and_loaded_it_gives_the_same(most):
    draws, waiting = torch.Generator().manual_seed(1), Waiting(most)
    for first in range(1, 21, 5):
        served = torch.randn(5, 2, generator=draws)
        source = (None, served, torch.randn(5, 2, generator=draws))[first % 3]
        waiting.add([f"r{first + i}" for i in range(5)], first, served, source)
    waiting.take("r17", 2)
    ids = ["never", *(f"r{n}" for n in range(1, 21))]
    told, again = waiting.to_tensors(ids, 2), Waiting(most)
    assert told["row"].tolist() == [0, *(n if f"r{n}" in waiting else 0 for n in range(1, 21))]
    again.load_tensors(ids, told)
    assert list(again) == list(waiting)
    for known in list(waiting):
        assert (again.source(known, 2) is None) == (waiting.source(known, 2) is None)
        (row, given), (number, said) = waiting.take(known, 2), again.take(known, 2)
        assert row == number
        assert equal(given, said)


def test_nothing_is_kept_where_nothing_may_be():
    waiting = Waiting(0)
    waiting.add(["a"], 1, torch.ones(1, 2), None)
    assert len(waiting) == 0
