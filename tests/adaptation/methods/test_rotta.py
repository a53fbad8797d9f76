"""RoTTA's weights, loss and step."""

import math

import numpy as np
import pytest
import torch

from aet.adaptation import Rotta
from aet.adaptation.methods.rotta import timely
from aet.attention.state import applied
from tests.adaptation.models import batch_of, three


def test_timeliness_by_hand():
    for age in (0.0, 0.5, 1.0, 3.0):
        assert float(timely(torch.tensor(age))) == pytest.approx(math.exp(-age) / (1 + math.exp(-age)))


def test_loss_step_by_step(model):
    method, twin = Rotta(model, memory=12), Rotta(model)
    method.learn(batch_of(model, 40))
    rows, size = method.bank.rows, len(method.bank)
    assert 0 < size <= 12
    taught = model.logits(rows).softmax(-1).double().numpy()
    answered = model.logits(twin.view(rows)).double().log_softmax(-1).numpy()
    total = 0.0
    for i, age in enumerate(method.bank.age.tolist()):
        weight = math.exp(-age / 12) / (1 + math.exp(-age / 12))
        total += weight * -(taught[i] * answered[i]).sum()
    with applied(method.state):
        loss = method.loss(rows, torch.from_numpy(taught).float())
    assert loss.item() == pytest.approx(total / size, rel=1e-4)


def test_passes(model):
    """A look at each row, and of each row of the memory the teacher's answer, the student's and its slope."""
    method = Rotta(model, every=30, memory=9)
    method(batch_of(model, 30))
    assert method.passes == 30 + 4 * len(method.bank)


def test_sorted_rows_still_show_every_class(model):
    """What the memory is for: the last rows are of one class, what is studied is not."""
    method = Rotta(model, memory=30)
    method.learn(model.encode(three(240, 3, shift=0.0).sort_values("y"), target=True))
    assert np.bincount(method.bank.classes_held.numpy(), minlength=3).tolist() == [10, 10, 10]


def test_only_norms_move_and_slowly(model):
    method = Rotta(model)
    for seed in range(4):
        method(batch_of(model, 64, seed))
    moved = {name for name, t in method.state.items() if t.abs().max() > 0}
    assert moved
    assert all(method.moves(name) for name in moved)
    assert max(float(t.abs().max()) for t in method.state.values()) < 4 * 4 * 1e-3 * 1.5e-3
