"""The shift of the summary, written as a bias, against the shift itself."""

import pytest
import torch

import aet
from aet.adaptation import ActShift
from aet.adaptation.methods import act_shift
from aet.attention.state import applied
from aet.summaries import summaries
from tests.adaptation.models import batch_of
from tests.made import quick, signs


@pytest.mark.parametrize("sort", ["model", "regression", "images"])
def test_step_by_step(request, sort):
    """Equations 7 to 9 over three batches of 64 rows; the head reads the shifted summaries."""
    model = request.getfixturevalue(sort)
    method, source = ActShift(model), model.statistics.layers[-1].mean
    mean = source
    for seed in range(3):
        batch = batch_of(model, 64, seed)
        summary, _ = summaries(model, batch)
        mean = 0.1 * summary.mean(0) + 0.9 * mean
        with torch.no_grad():
            expected = model.output.head(summary + 1.0 * (source - mean))
        assert torch.allclose(method(batch), expected, atol=1e-4)
    assert {name for name, t in method.state.items() if t.abs().max() > 0} == {"output.bias"}
    assert method.passes == 192


def test_rows_one_by_one_say_as_much_as_together(model):
    one, many = ActShift(model, step=0.5), ActShift(model, step=0.5)
    row = batch_of(model, 1)
    many.propose(row[torch.zeros(64, dtype=torch.long)])
    for _ in range(64):
        one.propose(row)
    assert torch.allclose(one.running, many.running, atol=1e-5)


def test_undoes_a_shift_of_the_summary(model, monkeypatch):
    """If every summary is d further, the shift comes back to -d."""
    away = torch.linspace(-0.5, 0.5, 16)
    rows = model.statistics.layers[-1].mean + away
    monkeypatch.setattr(act_shift, "summaries", lambda model, batch: (rows.repeat(len(batch), 1), None))
    method = ActShift(model)
    for _ in range(100):
        method.propose(batch_of(model, 64))
    assert torch.allclose(method.state["output.bias"], model.output.head.weight @ -away, atol=1e-3)


def test_of_an_ensemble_the_members_mean():
    config = quick(2)
    config["model"]["members"] = 3
    model = aet.train(signs(), target="y", config=config)
    method, batch = ActShift(model, rate=1.0), model.encode(signs(40, 1), target=True)
    summary, _ = summaries(model, batch)
    away = model.statistics.layers[-1].mean - summary.view(120, 8).mean(0)
    method.propose(batch)
    expected = torch.stack([head @ away for head in model.output.head.weight.detach()]).mean(0)
    assert torch.allclose(method.state["output.bias"], expected, atol=1e-5)
    with applied(method.state):
        assert model.logits(batch).isfinite().all()
