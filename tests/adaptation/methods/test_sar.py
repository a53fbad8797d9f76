"""SAR's two slopes, its two filters and its way back, by hand."""

import math

import pytest
import torch

from aet.adaptation import Sar
from aet.adaptation.beliefs import entropy
from aet.adaptation.low_norms import low_norms
from aet.attention.state import ElasticState, applied, name_elastic
from aet.trunk import Trunk
from tests.adaptation.models import batch_of

LIMIT = 0.4 * math.log(3)


def slopes_of(model, state, batch, names, rows=None, limit=LIMIT):
    """Slopes of the mean entropy of the sure rows by the dials named, those rows, and the mean."""
    free = {name: state[name].clone().requires_grad_() for name in names}
    with applied(ElasticState({**state, **free})):
        unsure = entropy(model(batch))
    sure = unsure < limit
    if rows is not None:
        sure = sure & rows
    loss = unsure[sure].mean()
    return dict(zip(free, torch.autograd.grad(loss, list(free.values())), strict=True)), sure, loss.item()


def test_step_by_step(model):
    """Three steps of the algorithm: slope at s, slope at s + ε, momentum, running mean of the second loss."""
    method = Sar(model, lr=0.02, sharpness=0.5, recovery=0.0)
    names = [name for name in method.state if method.moves(name)]
    state, speed, running, left_out = method.state, dict.fromkeys(names, 0.0), None, 0
    for seed in range(3):
        batch = batch_of(model, 40, seed)
        first, sure, _ = slopes_of(model, state, batch, names)
        length = math.sqrt(sum(float(g.square().sum()) for g in first.values()))
        top = ElasticState({**state, **{n: state[n] + 0.5 * g / length for n, g in first.items()}})
        second, still, loss = slopes_of(model, top, batch, names, sure)
        left_out += int(sure.sum()) - int(still.sum())
        speed = {name: 0.9 * speed[name] + second[name] for name in names}
        state = ElasticState({**state, **{n: state[n] - 0.02 * speed[n] for n in names}})
        running = loss if running is None else 0.9 * running + 0.1 * loss
        method(batch)
        assert all(torch.allclose(method.state[name], state[name], atol=1e-5) for name in state)
        assert method.running.item() == pytest.approx(running, rel=1e-3)
    assert left_out > 0, "the second filter matters here"
    assert method.passes == 3 * 6 * 40


def test_steps_from_s_not_from_the_top_of_the_hill(model):
    method = Sar(model, lr=0.0, recovery=0.0)
    method(batch_of(model, 40))
    assert method.state.size() == 0


def test_goes_back_where_answers_collapse(model):
    """Every answer the first class: the running mean falls below e₀ = 0.2 · ln 3 / ln 1000, and all is the source's."""
    method, batch = Sar(model), batch_of(model, 64)
    constant = 0.2 * math.log(3) / math.log(1000)
    assert method.settings["recovery"] * math.log(3) == pytest.approx(constant, rel=2e-3)
    method(batch)
    running, steps = float(method.running), 0
    assert running > constant, "no reset so far"
    assert method.state.size() > 0
    method.state = method.state.updated({"output.bias": torch.tensor([5.0, -5.0, -5.0])})
    while method.running is not None:
        assert (method(batch).argmax(-1) == 0).all()
        running, steps = 0.9 * running + 0.1 * float(method.level), steps + 1
        assert (method.running is None) == (running < constant)
    assert 3 < steps < 60, "one sure batch is no collapse"
    assert method.state.size() == 0
    assert method.descent.count == 0
    method(batch)
    assert method.state.size() > 0, "and goes on"
    assert method.running is not None


def test_without_a_sure_row_nothing_moves(model):
    method = Sar(model, margin=0.0)
    method(batch_of(model, 40))
    assert method.state.size() == 0
    assert method.passes == 40
    assert method.running is None


def test_the_top_stays():
    """Of 4 blocks the last and the norm after it stay; of 12 the last three; of one none."""
    for depth, low in ((1, {0}), (3, {0, 1, 2}), (4, {0, 1, 2}), (12, set(range(9)))):
        state = ElasticState.zeros(name_elastic(Trunk(8, depth, 2)))
        moved = [name for name in state if low_norms(state)(name)]
        assert {int(name.split(".")[1]) for name in moved} == low
        assert all(".norm_" in name for name in moved)
        assert not any(name.startswith("norm.") for name in moved)
        assert len(moved) == 4 * len(low), "two norms of scale and shift in each"
