"""The mix around each row: the formulas entry by entry, when nothing changes, and what stays as it is."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from aet.adaptation import LocalMix
from aet.adaptation.methods.local_mix import HALF_LIVES, ROUNDS, correction, locally_mixed
from tests.adaptation.models import batch_of, three


def step_by_step(p, mix, apart, prior):
    """The module's formulas, row by row and class by class."""
    n, classes = p.shape
    r = p.copy()
    for _ in range(ROUNDS):
        tables, evidence = [np.tile(mix, (n, 1))], [sum(math.log(p[i].sum()) for i in range(n))]
        for half_life in HALF_LIVES:
            table = np.empty((n, classes))
            for i in range(n):
                k = [0.0 if j == i else 2 ** (-abs(i - j) * apart / half_life) for j in range(n)]
                for c in range(classes):
                    table[i, c] = (prior * mix[c] + sum(k[j] * r[j, c] for j in range(n))) / (prior + sum(k))
            tables.append(table)
            evidence.append(sum(math.log(sum(p[i] / mix * table[i])) for i in range(n)))
        w = np.exp(np.array(evidence) - max(evidence))
        w /= w.sum()
        r = p / mix * sum(w[h] * tables[h] for h in range(len(tables)))
        r /= r.sum(1, keepdims=True)
    return r


def answers(rows, classes=5, seed=0, order=None, sure=2.0):
    """Probabilities that are right more often than not of classes in an order, and the classes."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, rows) if order is None else np.asarray(order)
    z = rng.normal(size=(rows, classes))
    z[np.arange(rows), y] += sure
    return torch.tensor(z).softmax(-1), torch.tensor(y)


def right(p, y):
    return float((p.argmax(-1) == y).double().mean())


@pytest.mark.parametrize("apart", [1.0, 4.0])
def test_formulas(apart):
    p, _ = answers(9, 3, order=[0, 0, 0, 1, 1, 1, 2, 2, 0])
    mix = np.array([0.5, 0.3, 0.2])
    found = locally_mixed(p, torch.tensor(mix), apart, prior=1.5)
    assert np.allclose(found.numpy(), step_by_step(p.numpy(), mix, apart, 1.5), atol=1e-9)


def test_next_to_nothing_changes_where_labels_are_not_alike_in_time():
    p, y = answers(64, 10, sure=4.0)
    found = locally_mixed(p, torch.full((10,), 0.1))
    assert (found - p).abs().mean() < 0.02
    assert right(found, y) == right(p, y)


def test_mends_rows_among_their_like():
    p, y = answers(64, 5, order=np.repeat([3, 0, 1, 4], 16))
    assert right(locally_mixed(p, torch.full((5,), 0.2)), y) > right(p, y) + 0.1


def test_mends_slots_of_few_classes_in_random_order():
    rng = np.random.default_rng(1)
    p, y = answers(64, 10, order=np.concatenate([rng.choice([2, 7], 32), rng.choice([0, 5], 32)]))
    assert right(locally_mixed(p, torch.full((10,), 0.1)), y) > right(p, y)


def test_answers_are_logits_of_r(model):
    batch = batch_of(model, 40)
    p = model.output.probabilities(model.logits(batch))
    method = LocalMix(model, prior=3.0)
    expected = locally_mixed(p, model.statistics.label_mix, prior=3.0)
    assert torch.allclose(model.output.probabilities(method(batch)), expected, atol=1e-5)
    assert method.passes == 0
    assert method.state.size() == 0


def test_a_row_alone_has_the_sources_answer(model):
    row = batch_of(model, 1)
    assert torch.equal(LocalMix(model)(row), model.logits(row))
    assert LocalMix(model)(row[:0]).shape == (0, 3)


def test_blocks_are_corrected_apart(model):
    rows = batch_of(model, 24)
    whole = LocalMix(model, rows=10)(rows)
    assert torch.allclose(whole[10:20], LocalMix(model)(rows[torch.arange(10, 20)]), atol=1e-5)
    # The last four look back, so that a call does not end in a block of few rows.
    assert torch.allclose(whole[20:], LocalMix(model)(rows[torch.arange(14, 24)])[-4:], atol=1e-5)


def test_rows_that_are_not_finite_keep_their_answer_and_move_no_other(model):
    logits = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    spoilt = torch.cat([logits[:2], torch.tensor([[math.nan, 0.0, 0.0]]), logits[2:]])
    found = correction(model)(spoilt)
    assert found[2].isnan()[0]
    assert torch.equal(found[[0, 1, 3, 4, 5, 6]], correction(model)(logits))


def test_a_class_without_a_row_in_training_does_not_break_it():
    p, _ = answers(8, 3)
    assert locally_mixed(p, torch.tensor([0.5, 0.5, 0.0])).isfinite().all()


def test_wins_on_sorted_rows(model):
    batch = model.encode(three(300, 3).sort_values("y"), target=True)
    assert right(LocalMix(model)(batch), batch.target) > right(model.logits(batch), batch.target)
