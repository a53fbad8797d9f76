"""SHOT's terms and its centroids, by hand."""

import numpy as np
import pytest
import torch

from aet.adaptation import Shot
from aet.adaptation.base import is_norm
from tests.adaptation.models import batch_of


def outputs(model, batch):
    taps = []
    with torch.no_grad():
        logits = model(batch, taps)
    z = logits.double().numpy()
    return np.exp(z) / np.exp(z).sum(1, keepdims=True), taps[-1][:, 0].double().numpy()


def closest(row, centroids):
    return int(np.argmax([row @ c / np.linalg.norm(c) for c in centroids]))


def test_step_by_step(model):
    """Three batches; centroids run along, the state stays (rate 0), so that features do."""
    method, soft, hard = Shot(model, lr=0.0, half_life=32), np.zeros((3, 16)), np.zeros((3, 16))
    changed = 0
    for seed in range(3):
        batch = batch_of(model, 40, seed)
        p, features = outputs(model, batch)
        keep = 0.5 ** (40 / 32)
        soft, hard = keep * soft, keep * hard
        for row, f in zip(p, features, strict=True):
            soft += row[:, None] * f
        first = [closest(f, soft) for f in features]
        for label, f in zip(first, features, strict=True):
            hard[label] += f
        labels = [closest(f, hard) for f in features]
        changed += sum(label != row.argmax() for label, row in zip(labels, p, strict=True))
        mean = p.mean(0)
        expected = -(p * np.log(p)).sum(1).mean() + (mean * np.log(mean)).sum()
        expected -= 0.1 * np.mean([np.log(row[label]) for row, label in zip(p, labels, strict=True)])
        assert method.loss(batch).item() == pytest.approx(expected, rel=1e-3)
        assert method.soft.numpy() == pytest.approx(soft, rel=1e-3, abs=1e-3)
        assert method.hard.numpy() == pytest.approx(hard, rel=1e-3, abs=1e-3)
    assert changed > 0, "pseudo-labels are not just the answers"


def test_pseudo_labels_of_one_row_are_its_answer(model):
    """The centroids of one row are all that row: the nearest of them says nothing."""
    method, p = Shot(model), torch.tensor([[0.1, 0.2, 0.7]])
    features = torch.randn(1, 16, generator=torch.Generator().manual_seed(0))
    assert method.pseudo_labels(features, p).tolist() == [2]
    assert method.pseudo_labels(features, p).tolist() == [2]
    assert not method.hard.any()


def test_a_class_without_a_pseudo_label_keeps_its_soft_centroid(model):
    method = Shot(model)
    p = torch.tensor([[0.9, 0.06, 0.04], [0.8, 0.1, 0.1], [0.1, 0.8, 0.1]])
    features = torch.zeros(3, 16)
    features[[0, 1, 2], [0, 0, 1]] = 1.0
    assert method.pseudo_labels(features, p).tolist() == [0, 0, 1]
    assert method.hard.any(-1).tolist() == [True, True, False]


def test_rows_that_are_not_finite_leave_no_trace(model):
    method, p = Shot(model), torch.full((4, 3), 1 / 3)
    features = torch.randn(4, 16, generator=torch.Generator().manual_seed(0))
    features[1] = float("nan")
    method.pseudo_labels(features, p)
    assert method.soft.isfinite().all()
    assert method.rows == 3


def test_moves_norms_and_spreads_answers(model):
    """Rows of one class: the answers become more diverse, which is what the method does wrong there."""
    method, batch = Shot(model, lr=0.05), batch_of(model, 200)
    one = batch[(batch.target == 0).nonzero()[:, 0]]
    before = outputs(model, one)[0].mean(0)
    for _ in range(10):
        method(one)
    assert {name for name, t in method.state.items() if t.any()} == {name for name in method.state if is_norm(name)}
    after = model.output.probabilities(method.answer(one)).double().numpy().mean(0)
    assert -(after * np.log(after)).sum() > -(before * np.log(before)).sum() + 0.1
    assert method.passes == 10 * 3 * len(one)
