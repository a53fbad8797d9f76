"""The regularised weights against a general minimiser, and the size of the regularisation by hand."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from aet.adaptation import Bbse, Rlls
from aet.adaptation.methods.rlls import bound, regularised
from aet.errors import ConfigError
from tests.adaptation.models import three

CONFUSED = torch.tensor([[0.3, 0.08, 0.02], [0.1, 0.2, 0.05], [0.0, 0.05, 0.2]], dtype=torch.float64)


def cost(theta, rest, strength):
    return np.linalg.norm(CONFUSED.numpy() @ theta - rest) + strength * np.linalg.norm(theta)


@pytest.mark.parametrize("strength", [0.001, 0.05, 0.15])
@pytest.mark.parametrize("rest", [(0.3, -0.2, -0.1), (-0.15, 0.3, -0.15), (0.02, 0.0, -0.02)])
def test_minimises_what_the_paper_says(rest, strength):
    rest = np.array(rest)
    found = regularised(CONFUSED, torch.tensor(rest), strength).numpy()
    starts = [np.zeros(3) + 0.01, np.linalg.inv(CONFUSED.numpy()) @ rest, found + 0.05]
    best = min(
        minimize(cost, start.clip(-1), args=(rest, strength), bounds=[(-1, None)] * 3, method="Powell").fun
        for start in starts
    )
    assert cost(found, rest, strength) <= best + 1e-4
    assert found.min() >= -1 - 1e-9


def test_a_strong_pull_leaves_the_source_and_none_is_the_inverse():
    rest = torch.tensor([0.1, -0.06, -0.04], dtype=torch.float64)
    assert regularised(CONFUSED, rest, 5.0).abs().max() < 1e-3
    assert torch.allclose(regularised(CONFUSED, rest, 0.0), torch.linalg.solve(CONFUSED, rest), atol=1e-6)


def test_the_bound_by_hand():
    unsure = 2 * math.log(2 * 3 / 0.05)
    assert bound(80, 3) == pytest.approx(3 * (unsure / 240 + math.sqrt(unsure / 80)))
    assert bound(8000, 3) < bound(80, 3) < bound(80, 30)


def test_weights_are_between_the_sources_and_those_of_bbse(model):
    batch = model.encode(three(300, 4, mix=(6, 1, 1)), target=True)
    far, near = Bbse(model), Rlls(model, strength=0.2)
    far.propose(batch), near.propose(batch)
    assert 0 < near.state.size() < far.state.size()
    assert Rlls(model).bound == pytest.approx(0.01 * bound(model.statistics.confusion_rows, 3))
    assert {name for name, t in near.state.items() if t.abs().max() > 0} == {"output.bias"}


def test_a_model_that_does_not_know_the_rows_is_refused(model, monkeypatch):
    monkeypatch.setattr(model.statistics, "confusion_rows", None)
    with pytest.raises(ConfigError, match=r"'rlls'.*use 'bbse'"):
        Rlls(model)
