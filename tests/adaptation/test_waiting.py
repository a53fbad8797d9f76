"""Answers that wait for labels, beside a plain dictionary of them."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import pytest
import torch

from aet.adaptation import waiting as module
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
            plain[known] = number + i + 1, given
        number += count
        plain = OrderedDict(list(plain.items())[-most:])
        assert list(waiting) == list(plain)
        for known in rng.choice(300, 10, replace=False).tolist():
            given = plain.get(known, (0, {}))[1]
            assert (known in waiting) == bool(given)
            said = waiting.source(known, 3)
            assert (said is None) == ("source" not in given)
            assert said is None or torch.equal(said, given["source"])
        for known in [k for k in rng.choice(300, 3, replace=False).tolist() if k in plain]:
            row, given = plain.pop(known)
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


def test_of_wider_answers_fewer_wait_and_memory_stays_bounded(monkeypatch):
    monkeypatch.setattr(module, "ROOM", 1000)
    waiting = Waiting(400)
    waiting.add(list(range(400)), 1, torch.zeros(400, 2), None)
    assert len(waiting) == 400
    waiting.add(["wide"], 401, torch.ones(1, 100), None)
    assert list(waiting) == [*range(391, 400), "wide"]
    assert waiting._said["served"].numel() <= 2 * 1000
    assert waiting.take(395, 100)[0] == 396
    widest = waiting._said["served"].shape[1]
    waiting.add(["wider"], 402, torch.ones(1, 101), None)  # an answer more needs no new block
    assert waiting._said["served"].shape[1] == widest > 100


def test_logits_of_any_precision_wait_beside_each_other():
    waiting = Waiting(8)
    waiting.add(["a", "b"], 1, torch.ones(2, 2, dtype=torch.float16), torch.zeros(2, 2, dtype=torch.bfloat16))
    waiting.add(["c"], 3, torch.full((1, 2), 0.5), None)
    told = waiting.to_tensors(["a", "c"], 2)
    assert told["served"].tolist() == [[1.0, 1.0], [0.5, 0.5]]
    assert waiting.source("b", 2).tolist() == [0.0, 0.0]


def test_what_began_in_inference_mode_goes_on_outside():
    waiting = Waiting(100)
    with torch.inference_mode():
        waiting.add(["a"], 1, torch.ones(1, 2), torch.zeros(1, 2))
    waiting.add(["b"], 2, torch.ones(1, 2), torch.zeros(1, 2))
    with torch.inference_mode():
        waiting.add(list(range(50)), 3, torch.ones(50, 2), torch.zeros(50, 2))
    waiting.add(["c"], 53, torch.ones(1, 2), None)
    assert len(waiting) == 53


def test_where_memory_fails_nothing_has_changed(monkeypatch):
    waiting = Waiting(100)
    waiting.add(["a"], 1, torch.ones(1, 2), None)
    rows = torch.ones(1, 5), torch.zeros(1, 5)

    def full(*shape):
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(torch, "zeros", full)
        with pytest.raises(MemoryError):
            waiting.add(["b"], 2, *rows)
    waiting.add(["c"], 3, *rows)
    assert list(waiting) == ["a", "c"]
    assert waiting.take("a", 5)[1]["served"].tolist() == [1.0, 1.0, -10000.0, -10000.0, -10000.0]


def test_nothing_is_kept_where_nothing_may_be():
    waiting = Waiting(0)
    waiting.add(["a"], 1, torch.ones(1, 2), None)
    assert len(waiting) == 0
