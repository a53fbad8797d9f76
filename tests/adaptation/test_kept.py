"""Rows kept for late labels: few, the asked ones longest, each for one label."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from aet.adaptation.kept import LEAST, REMEMBERED, KeptRows, alone
from aet.batch import Batch
from aet.errors import FeedbackError, ForgottenRow


def rows(ids):
    """Rows that say who they are."""
    return Batch(values={"x": torch.tensor([[float(i)] for i in ids])})


def filled(keep, count, step=7):
    kept = KeptRows(keep)
    for start in range(0, count, step):
        ids = list(range(start, min(count, start + step)))
        kept.add(rows(ids), ids)
    return kept


def consistent(kept):
    assert len(kept.ids) == len(kept.weights) == len(kept.batch) == len(kept.place)
    assert [kept.place[known] for known in kept.ids] == list(range(len(kept.ids)))


def test_takes_the_row_of_the_id():
    kept = filled(50, 40)
    kept.mark_asked(np.array([5, 30]), np.array([0.5, 2.0]))
    batch, weights = kept.take([30, 2, 5])
    assert batch.values["x"].flatten().tolist() == [30, 2, 5]
    assert np.array_equal(weights, [2.0, np.nan, 0.5], equal_nan=True)
    consistent(kept)
    assert len(kept) == 37
    batch, _ = kept.take([39, 0])
    assert batch.values["x"].flatten().tolist() == [39, 0]


@pytest.mark.parametrize("keep", [1, 10, 64, 3000])
def test_is_bounded(keep):
    kept = KeptRows(keep)
    for start in range(0, 9000, 300):
        ids = list(range(start, start + 300))
        kept.add(rows(ids), ids)
        assert len(kept) <= min(2 * keep, keep + 1024)
        consistent(kept)
        assert kept.ids[-min(keep, 300) :] == ids[-min(keep, 300) :], "the newest are here"
        assert len(kept.gone) <= max(LEAST, REMEMBERED * keep)


def test_asked_rows_stay_longest():
    kept = filled(20, 20)
    kept.mark_asked(np.array([0, 3]), np.array([1.0, 1.0]))
    for start in range(20, 400, 20):
        ids = list(range(start, start + 20))
        kept.add(rows(ids), ids)
    batch, weights = kept.take([3, 0])
    assert batch.values["x"].flatten().tolist() == [3, 0]
    assert not np.isnan(weights).any()
    with pytest.raises(ForgottenRow, match="last 20 rows"):
        kept.take([1])


def test_asked_rows_alone_do_not_break_the_bound():
    kept = filled(10, 10)
    for start in range(10, 200, 10):
        kept.mark_asked(np.arange(len(kept)), np.ones(len(kept)))
        ids = list(range(start, start + 10))
        kept.add(rows(ids), ids)
        assert len(kept) <= 20


@pytest.mark.parametrize(
    ("ids", "error", "words"),
    [
        ([5, 99], FeedbackError, "No row with the id 99"),
        ([5, 5], FeedbackError, "already has a label"),
        ([5, 8], FeedbackError, "already has a label"),
        ([39, 0], ForgottenRow, "no longer kept"),
        ([39, "39"], FeedbackError, "'39'"),
    ],
)
def test_a_wrong_id_changes_nothing(ids, error, words):
    kept = filled(10, 40, step=20)
    kept.take([38])
    if 8 in ids or 5 in ids:
        kept = filled(40, 40)
        kept.take([8])
    before = (list(kept.ids), kept.weights.copy(), dict(kept.place), list(kept.gone), list(kept.labelled))
    with pytest.raises(error, match=words) as caught:
        kept.take(ids)
    assert type(caught.value) is error
    after = (list(kept.ids), kept.weights, dict(kept.place), list(kept.gone), list(kept.labelled))
    assert before[0] == after[0]
    assert np.array_equal(before[1], after[1], equal_nan=True)
    assert before[2:] == after[2:]


def test_an_id_seen_again_is_a_new_row():
    kept = KeptRows(30)
    kept.add(rows([1, 2, 3]), ["a", "b", "c"])
    kept.mark_asked(np.array([1]), np.array([0.7]))
    kept.add(rows([20, 40]), ["b", "d"])
    consistent(kept)
    batch, weights = kept.take(["b"])
    assert batch.values["x"].item() == 20
    assert np.isnan(weights).all(), "the new row was not asked for"
    with pytest.raises(FeedbackError, match="already"):
        kept.take(["b"])
    kept.add(rows([200]), ["b"])
    assert kept.take(["b"])[0].values["x"].item() == 200
    assert kept.ids == ["a", "c", "d"]


def test_an_id_that_was_gone_comes_back():
    kept = filled(4, 40, step=8)
    with pytest.raises(ForgottenRow):
        kept.take([0])
    kept.add(rows([100]), [0])
    assert kept.take([0])[0].values["x"].item() == 100


def test_keep_nothing():
    kept = KeptRows(0)
    kept.add(rows([1, 2]), [1, 2])
    assert len(kept) == 0
    with pytest.raises(ForgottenRow):
        kept.take([2])
    with pytest.raises(FeedbackError):
        kept.take([3])
    for start in range(0, 3 * LEAST, 4096):
        kept.add(rows(range(4096)), list(range(start, start + 4096)))
    assert len(kept.gone) <= LEAST


def test_empty_batches_and_a_store_that_was_emptied():
    kept = KeptRows(5)
    kept.add(Batch(values={"x": torch.empty(0, 1)}), [])
    assert len(kept) == 0
    kept.add(rows([1, 2]), [1, 2])
    kept.take([2, 1])
    assert len(kept) == 0
    kept.add(rows([3]), [3])
    consistent(kept)
    assert kept.take([3])[0].values["x"].item() == 3


def test_what_is_remembered_of_labels_is_bounded(monkeypatch):
    monkeypatch.setattr("aet.adaptation.kept.LEAST", 0)
    kept = KeptRows(2)
    for i in range(60):
        kept.add(rows([i]), [i])
        kept.take([i])
    assert len(kept.labelled) <= 2 * REMEMBERED
    with pytest.raises(FeedbackError, match="already"):
        kept.take([59])
    with pytest.raises(FeedbackError, match="too long ago"):
        kept.take([0])


def test_where_memory_fails_no_input_has_a_row_more(monkeypatch):
    kept = KeptRows(100)
    both = Batch(values={"x": torch.zeros(10, 1), "y": torch.zeros(10, 2)})
    kept.add(both, list(range(10)))

    def full(count):
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(kept._values["y"], "empty", full)
        with pytest.raises(MemoryError):
            kept.add(both, list(range(10, 20)))
    assert {len(rows) for rows in kept.batch.values.values()} == {10}
    consistent(kept)


def test_rows_that_came_in_inference_mode_are_kept_outside_of_it():
    kept = KeptRows(100)
    with torch.inference_mode():
        kept.add(rows(range(5)), list(range(5)))
        kept.take([1])
    kept.add(rows(range(5, 40)), list(range(5, 40)))
    with torch.inference_mode():
        kept.add(rows(range(40, 50)), list(range(40, 50)))
    assert kept.take([7, 45])[0].values["x"].flatten().tolist() == [7, 45]
    consistent(kept)


def test_rows_that_came_together_are_found_again():
    """Blocks of 64 and the ones before, kept rows and those that left with their labels, in the order of arrival."""
    kept = KeptRows(1000)
    kept.add(rows(range(200)), list(range(200)))
    kept.add(rows(range(200, 210)), list(range(200, 210)))
    gone = [70, 201, 3]
    kept.leave(np.array([kept.place[known] for known in gone]), torch.tensor(gone)[:, None].float())
    kept.take([7])

    def found(*ids):
        among = kept.among(np.array([kept.place[known] for known in ids]))
        known = torch.cat([among.rows.values["x"][:, 0], *among.said.unbind(1)[:1]])[among.order]
        assert known[among.where].tolist() == list(ids)
        return known.tolist(), among.sizes

    first = [*range(7), *range(8, 64)]
    assert found(205, 5, 200) == ([*first, *range(200, 210)], [63, 10])
    assert found(150) == (list(range(64, 192)), [128])
    kept.leave_beside(torch.zeros(1, 2), np.array([[40, 0]]))
    assert found(150) == ([*range(64, 70), *range(71, 192)], [127]), "of logits of another width nothing stays"
    kept.add(rows([300]), [300])
    assert kept.came[-1].tolist() == [41, 0], "no call has the number of one before"


def test_rows_taken_in_alone_came_with_none():
    kept = KeptRows(10)
    kept.add(rows(range(3)), [0, 1, 2], alone(3))
    kept.add(rows(range(3, 5)), [3, 4])
    assert kept.came.tolist() == [[0, 0], [1, 0], [2, 0], [3, 0], [3, 1]]
    assert kept.among(np.arange(5)).sizes == [1, 1, 1, 2]
