"""The reservoir: a uniform sample of bounded size, whatever comes in whatever pieces."""

import pytest
import torch

from aet.batch import Batch
from aet.training.reservoir import Reservoir


def rows(start, stop, weight=None):
    x = torch.arange(float(start), float(stop))
    return Batch({"x": x}, target=x.long(), weight=weight)


def filled(limit, pieces, seed=0):
    kept, start = Reservoir.empty(limit), 0
    for task, size in enumerate(pieces):
        kept = kept.take(rows(start, start + size), held=False, task=task, seed=seed)
        start += size
    return kept


def test_everything_is_kept_while_there_is_room():
    kept = filled(10, [3, 4])
    assert kept.rows.values["x"].tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert kept.task.tolist() == [0, 0, 0, 1, 1, 1, 1]
    assert (len(kept), kept.seen, kept.stands_for) == (7, 7, 1.0)


def test_it_is_bounded_and_says_what_a_row_stands_for():
    kept = filled(10, [25, 5, 70])
    assert (len(kept), kept.seen, kept.stands_for) == (10, 100, 10.0)
    assert kept.rows.values["x"].unique().numel() == 10
    assert float(kept.part(held=False).weight.sum()) == 100
    assert torch.equal(kept.rows.target, kept.rows.values["x"].long())
    assert torch.equal(kept.task, (kept.rows.target >= 25).long() + (kept.rows.target >= 30).long())


@pytest.mark.parametrize("pieces", [[40], [5, 5, 30], [39, 1]])
def test_each_row_is_as_likely_as_any_other(pieces):
    """400 draws of 10 of 40: each row 100 times, with a deviation of 8.7."""
    counts = torch.zeros(40)
    for seed in range(400):
        counts[filled(10, pieces, seed).rows.target] += 1
    assert (counts - 100).abs().max() < 4.5 * 8.7
    assert counts.std() < 1.5 * 8.7


def test_many_rows_at_once_are_drawn_as_one_by_one():
    kept = filled(3, [8])
    draws = kept.empty(3).draws(8, seed=0)
    assert torch.equal(kept.rows.target, draws)
    assert draws.max() > 2, "some later row has taken a place"


def test_rows_of_weight_0_were_never_there_and_weights_multiply():
    kept = Reservoir.empty(2).take(rows(0, 4, torch.tensor([0.0, 2.0, 0.0, 3.0])), False, 0, seed=0)
    assert kept.seen == 2
    assert kept.part(held=False).weight.tolist() == [2.0, 3.0]
    kept = kept.take(rows(4, 8), False, 1, seed=0)
    assert kept.stands_for == 3.0
    assert torch.equal(kept.part(held=False).weight, kept.rows.weight * 3)


def test_held_rows_stay_held():
    held = torch.arange(50) % 5 == 0
    kept = Reservoir.empty(20).take(rows(0, 50), held, 0, seed=1)
    assert torch.equal(kept.held, kept.rows.target % 5 == 0)
    assert (kept.part(held=True).target % 5 == 0).all()
    assert len(kept.part(held=True)) + len(kept.part(held=False)) == 20
    assert Reservoir.empty(3).part(held=True) is None


def test_the_old_one_does_not_change():
    kept = filled(5, [5])
    kept.take(rows(5, 50), False, 1, seed=0)
    assert kept.rows.target.tolist() == [0, 1, 2, 3, 4]


def test_there_and_back_again():
    kept = filled(6, [4, 9])
    again = Reservoir.of(kept.tensors())
    assert (again.limit, again.seen) == (6, 13)
    assert torch.equal(again.rows.values["x"], kept.rows.values["x"])
    assert torch.equal(again.task, kept.task)
    assert torch.equal(again.take(rows(0, 9), True, 2, 3).held, kept.take(rows(0, 9), True, 2, 3).held)
    with pytest.raises(KeyError):
        Reservoir.of({"held": kept.held})
