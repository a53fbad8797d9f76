"""PeTTA's divergence, what it does to rate and hold, and the three parts of the loss."""

import math

import numpy as np
import pytest
import torch

from aet.adaptation import Petta
from aet.attention.state import ElasticState, applied
from aet.errors import ConfigError
from tests.adaptation.models import batch_of


def test_divergence_step_by_step(model):
    """Classes that are not in the memory keep their means and are left out of the average."""
    method = Petta(model)
    source = model.statistics.classes[-1]
    start, spread, dim = source.mean.double().numpy(), source.std.double().numpy(), source.mean.shape[1]
    means, generator = start.copy(), torch.Generator().manual_seed(0)
    for predicted in ([0, 0, 2, 2, 2], [2, 2, 2], [1, 0, 2]):
        summary = source.mean[predicted] + 0.5 * source.std[predicted] * torch.randn(
            len(predicted), dim, generator=generator
        )
        gone = []
        for number in sorted(set(predicted)):
            own = summary.double().numpy()[np.array(predicted) == number]
            means[number] = 0.95 * means[number] + 0.05 * own.mean(0)
            gone.append(1 - math.exp(-(((means[number] - start[number]) / spread[number]) ** 2).sum()))
        found = method.diverged(summary, torch.tensor(predicted))
        assert found == pytest.approx(np.mean(gone), rel=1e-3)
        assert np.allclose(method.means.numpy(), means, atol=1e-5)
    assert 0 < found < 1


def test_no_divergence_at_the_source_and_a_whole_one_far_away(model):
    mean = model.statistics.classes[-1].mean
    assert Petta(model).diverged(mean, torch.arange(3)) == 0.0
    assert Petta(model).diverged(mean + 1e3, torch.arange(3)) == 1.0


@pytest.mark.parametrize("gone", [0.0, 0.4, 1.0])
def test_the_further_the_classes_went_the_less_the_teacher_follows(model, monkeypatch, gone):
    monkeypatch.setattr(Petta, "diverged", lambda self, summary, predicted: gone)
    method = Petta(model, rate=0.1)
    method(batch_of(model, 64))
    expected = method.student.map(lambda _, t: (1 - gone) * 0.1 * t)
    assert method.student.size() > 0
    assert all(torch.allclose(t, expected[name], atol=1e-8) for name, t in method.state.items())


def test_loss_step_by_step(model):
    method, twin, rows = Petta(model, hold=10.0, anchor=0.5), Petta(model), batch_of(model, 16)
    method.gone = 0.3
    state = ElasticState.zeros(model).map(lambda _, t: t + 0.1)
    taught, known = (torch.randn(16, 3, generator=torch.Generator().manual_seed(s)).softmax(-1) for s in (0, 1))
    with applied(state):
        logs = model.logits(twin.view(rows)).log_softmax(-1)
        loss = method.loss(rows, (taught, known))
    held = sum(0.01 * t.numel() for name, t in state.items() if method.moves(name))
    expected = -(taught * logs).sum(-1).mean() + 0.3 * 10.0 * held - 0.5 * (known * logs).sum(-1).mean()
    assert loss.item() == pytest.approx(float(expected), rel=1e-4)


def test_passes_and_the_anchor_is_the_sources_answer(model, monkeypatch):
    seen = []
    monkeypatch.setattr(Petta, "study", lambda self, rows, taught: seen.append((rows, taught)))
    method = Petta(model)
    method.state = ElasticState.zeros(model).map(lambda _, t: t + 0.05)
    method(batch_of(model, 64))
    rows, (taught, known) = seen[0]
    assert torch.allclose(known, model.logits(rows).softmax(-1), atol=1e-6)
    with applied(method.state):
        assert torch.allclose(taught, model.logits(rows).softmax(-1), atol=1e-6)
    assert method.passes == 64 + 2 * len(method.bank)


def test_a_model_without_moments_of_its_classes_is_refused(model, monkeypatch):
    monkeypatch.setattr(model.statistics, "classes", None)
    with pytest.raises(ConfigError, match=r"'petta'.*Use 'rotta'"):
        Petta(model)
