"""What teachers share: following, views, remembering and going on after a reload."""

import torch

from aet.adaptation import Cotta, Rotta
from aet.attention.state import applied
from tests.adaptation.models import batch_of


def test_the_teacher_is_the_students_running_mean(model):
    method, expected = Rotta(model, every=16, rate=0.3), 0.0
    for seed in range(6):
        method(batch_of(model, 16, seed))
        expected = 0.7 * expected + 0.3 * method.student["trunk.norm.shift"]
        assert torch.allclose(method.state["trunk.norm.shift"], expected, atol=1e-7)
    assert method.student.size() > method.state.size() > 0


def test_views_are_drifted_and_drawn_anew_but_the_same_again(model):
    rows = batch_of(model, 8)
    one, other = Cotta(model), Cotta(model)
    first, second = (one.view(rows).values["number0"] for _ in range(2))
    assert not torch.equal(first.nan_to_num(), rows.values["number0"].nan_to_num())
    assert not torch.equal(first.nan_to_num(), second.nan_to_num())
    assert torch.equal(other.view(rows).values["number0"].nan_to_num(), first.nan_to_num())
    assert torch.equal(Cotta(model, strength=0.0).view(rows).values["number0"], rows.values["number0"])


def test_views_go_on_after_a_reload(model):
    method, copy = Cotta(model, views=2), Cotta(model, views=2)
    method(batch_of(model, 16))
    copy.state = method.state
    copy.load_memory(method.memory())
    rows = batch_of(model, 8)
    assert torch.equal(copy.view(rows).values["number0"].nan_to_num(), method.view(rows).values["number0"].nan_to_num())


def test_a_step_each_so_many_rows_however_they_come(model, monkeypatch):
    """Rows are remembered up to the step's mark, then studied, then the rest."""
    seen = []
    monkeypatch.setattr(Rotta, "renew", lambda self, rows: seen.append((len(rows), int(self.bank.age.min()))))
    method = Rotta(model, every=20, memory=12)
    for rows in (7, 50, 1, 2):
        method(batch_of(model, rows, rows))
    assert len(seen) == 3
    assert all(count <= 12 for count, _ in seen)
    assert method.since == 0


def test_what_is_remembered_are_the_teachers_classes_of_finite_rows(model, monkeypatch):
    method, rows = Rotta(model), batch_of(model, 12)
    with applied(method.state):
        logits = model.logits(rows)
    logits[3] = torch.nan
    monkeypatch.setattr(type(model), "logits", lambda self, batch: logits)
    method.learn(rows)
    kept = torch.cat([torch.arange(3), torch.arange(4, 12)])
    assert method.bank.classes_held.tolist() == logits[kept].argmax(-1).tolist()
    assert torch.equal(method.bank.rows.values["number0"], rows.values["number0"][kept])
