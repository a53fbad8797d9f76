"""Black-box shift estimation against the formula, and on rows of a new mix."""

import numpy as np
import pytest
import torch

from aet.adaptation import Bbse, Prior
from aet.adaptation.label_mix import inverse
from aet.errors import ConfigError
from tests.adaptation.models import batch_of, three


def test_step_by_step(model):
    method, batch = Bbse(model, shrink=0.0), model.encode(three(200, 4, mix=(6, 1, 1)), target=True)
    logits = model.logits(batch)
    joint = model.statistics.confusion.double().numpy()  # true, predicted
    shares = np.bincount(logits.argmax(-1).numpy(), minlength=3) / 200
    w = np.maximum(np.linalg.inv(joint.T) @ shares, 1e-6)
    p = model.output.probabilities(logits).numpy() * w
    expected = p / p.sum(1, keepdims=True)
    assert np.allclose(model.output.probabilities(method(batch)).numpy(), expected, atol=1e-4)
    assert {name for name, t in method.state.items() if t.abs().max() > 0} == {"output.bias"}
    assert method.passes == 200


def test_true_confusion_gives_the_true_weights():
    """q = A w: rows of each class are confused as before, only their shares changed."""
    confused = torch.tensor([[0.3, 0.05, 0.0], [0.1, 0.2, 0.05], [0.0, 0.05, 0.25]], dtype=torch.float64)
    weights = torch.tensor([2.0, 0.4, 0.3], dtype=torch.float64)
    found = 1 + inverse(confused, confused @ weights - confused.sum(1))
    assert torch.allclose(found, weights)


def test_what_the_confusion_does_not_tell_apart_stays():
    """Two classes that are always predicted as the first: their weights are not known, and nothing explodes."""
    confused = torch.tensor([[0.3, 0.3, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.4]], dtype=torch.float64)
    found = inverse(confused, torch.tensor([-0.3, 0.0, 0.3], dtype=torch.float64))
    assert found[0] == pytest.approx(-0.5)
    assert found[0] == pytest.approx(float(found[1]))
    assert found[2] == pytest.approx(0.75)


def test_classes_that_are_gone_weigh_next_to_nothing(model):
    method = Bbse(model, shrink=0.0)
    method.recent = torch.eye(3)[torch.zeros(50, dtype=torch.long)]  # every row is predicted to be of the first class
    weights = method.weights()
    assert float(weights[1:].min()) > 0
    assert float(weights.argmax()) == 0
    assert float((weights * method.mix).sum()) == pytest.approx(1.0, abs=1e-5)


def test_few_rows_move_little(model):
    one, many = Bbse(model), Bbse(model, shrink=0.0)
    rows = batch_of(model, 4)
    one.propose(rows), many.propose(rows)
    assert 0 < one.state.size() < many.state.size()


def test_finds_the_mix_that_em_finds(model):
    batch = model.encode(three(500, 4, mix=(6, 1, 1)), target=True)
    truth = torch.bincount(batch.target).float() / 500
    for sort in (Bbse, Prior):
        method = sort(model)
        method.propose(batch)
        found = method.weights() * method.mix
        assert torch.allclose(found / found.sum(), truth, atol=0.08)


def test_a_model_without_a_confusion_is_refused(model, monkeypatch):
    monkeypatch.setattr(model.statistics, "confusion", None)
    with pytest.raises(ConfigError, match=r"'bbse'.*use 'prior'"):
        Bbse(model)
