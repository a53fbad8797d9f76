"""LAME's iteration row by row, its neighbours, and what it leaves alone."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from aet.adaptation import Lame
from aet.adaptation.methods import lame
from aet.adaptation.methods.lame import agreed, neighbours
from aet.summaries import summaries
from tests.adaptation.models import batch_of, three


def step_by_step(p, affinity, rounds):
    """The equations with loops; also the energy after each round."""
    y, energies = p.copy(), []
    for _ in range(rounds):
        new = np.empty_like(y)
        for i in range(len(p)):
            pull = sum(affinity[i, j] * y[j] for j in range(len(p)))
            z = p[i] * np.exp(pull)
            new[i] = z / z.sum()
        y = new
        agreement = sum(affinity[i, j] * y[i] @ y[j] for i in range(len(p)) for j in range(len(p)))
        energies.append(float((y * np.log(y / p)).sum() - agreement))
    return y, energies


def test_step_by_step():
    generator = torch.Generator().manual_seed(0)
    p = torch.randn(12, 3, generator=generator, dtype=torch.float64).softmax(-1)
    affinity = neighbours(torch.randn(12, 4, generator=generator, dtype=torch.float64), 3)
    for rounds in (1, 2, 7):
        expected, _ = step_by_step(p.numpy(), affinity.numpy(), rounds)
        assert np.allclose(agreed(p, affinity, rounds).numpy(), expected, atol=1e-9)


def test_with_symmetric_neighbours_the_energy_falls_to_a_fixed_point():
    generator = torch.Generator().manual_seed(1)
    p = torch.randn(10, 3, generator=generator, dtype=torch.float64).softmax(-1)
    near = neighbours(torch.randn(10, 4, generator=generator, dtype=torch.float64), 3)
    affinity = (near + near.T) / 2
    _, energies = step_by_step(p.numpy(), affinity.numpy(), 30)
    assert all(later <= earlier + 1e-12 for earlier, later in pairwise(energies))
    y = agreed(p, affinity, 100)
    assert torch.allclose(y, (p.log() + affinity @ y).softmax(-1), atol=1e-4)


def test_neighbours_are_others_by_angle():
    summary = torch.tensor([[1.0, 0.0], [9.0, 1.0], [0.0, 1.0], [0.1, 5.0], [1.0, 1.2]])
    near = neighbours(summary, 2)
    assert near.sum(-1).tolist() == [2.0] * 5
    assert near.diagonal().sum() == 0
    assert near[0].nonzero().flatten().tolist() == [1, 4]
    assert near[2].nonzero().flatten().tolist() == [3, 4]
    assert neighbours(summary[:1], 5).tolist() == [[0.0]]


def test_answers_are_logits_of_y(model):
    batch = batch_of(model, 50)
    method = Lame(model, batch=50)
    summary, logits = summaries(model, batch)
    expected, _ = step_by_step(
        model.output.probabilities(logits).double().numpy(), neighbours(summary, 5).double().numpy(), 100
    )
    assert np.allclose(model.output.probabilities(method(batch)).numpy(), expected, atol=1e-3)
    assert method.passes == 0, "one pass gives summaries and logits"
    assert method.state.size() == 0


def test_a_row_alone_has_the_sources_answer(model):
    rows = batch_of(model, 3)
    one = Lame(model, batch=1)(rows)
    assert torch.allclose(model.output.probabilities(one), model.output.probabilities(model.logits(rows)), atol=1e-6)


def test_batches_are_corrected_apart(model):
    rows = batch_of(model, 20)
    first = Lame(model, batch=10)(rows)[:10]
    assert torch.allclose(first, Lame(model)(rows[torch.arange(10)]), atol=1e-5)


def test_wins_on_sorted_rows_and_is_not_silent_about_it(model):
    """Rows of one class agree with each other, which mends the unsure ones."""
    frame = three(300, 3).sort_values("y")
    batch = model.encode(frame, target=True)
    right = [float((z.argmax(-1) == batch.target).float().mean()) for z in (model.logits(batch), Lame(model)(batch))]
    assert right[1] > right[0]


def test_rows_that_are_not_finite_keep_their_answer(model, monkeypatch):
    summary, logits = torch.randn(4, 8), torch.randn(4, 3)
    summary[1, 0] = math.nan
    monkeypatch.setattr(lame, "summaries", lambda model, batch: (summary, logits))
    answers = Lame(model)(batch_of(model, 4))
    assert torch.equal(answers[1], logits[1])
    assert answers.isfinite().all()
    assert not torch.equal(answers[0], logits[0])


def test_probabilities_of_zero_stay_finite():
    p = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]])
    y = agreed(p, torch.ones(3, 3), 100)
    assert y.log().isfinite().all()
    assert y.sum(-1).tolist() == pytest.approx([1.0] * 3, abs=1e-5)
