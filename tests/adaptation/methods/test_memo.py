"""MEMO: one state a row, found from its views, then forgotten."""

import numpy as np
import pytest
import torch

from aet.adaptation import Memo
from aet.adaptation.beliefs import entropy
from aet.adaptation.methods import memo
from aet.attention.state import ElasticState, applied
from aet.batch import Batch
from aet.drift import drifted
from tests.adaptation.models import batch_of, inputs, three


def test_row_by_row(model):
    """The same views, one row at a time, one shared state: slope of the entropy of the mean answer, one step."""
    method, batch = Memo(model, views=4, lr=0.1), batch_of(model, 6)
    answered = method(batch)
    draws = torch.Generator().manual_seed(0)
    views = [drifted(model, batch, 1.0, draws) for _ in range(4)]
    zero = ElasticState.zeros(model)
    for row in range(6):
        free = zero.trainable()
        own = Batch.concat([view[torch.tensor([row])] for view in views])
        with applied(free):
            mean = model(own).softmax(-1).mean(0)
        loss = -(mean * mean.log()).sum()
        slopes = torch.autograd.grad(loss, list(free.values()), allow_unused=True)
        moved = {n: -0.1 * g if g is not None else zero[n] for n, g in zip(free, slopes, strict=True)}
        with applied(ElasticState(moved)):
            expected = model.logits(batch[torch.tensor([row])])
        assert torch.allclose(answered[row], expected[0], atol=1e-4)


def test_answers_agree_more_over_views(model):
    method, batch = Memo(model, lr=0.05), batch_of(model, 32)
    draws = torch.Generator().manual_seed(0)
    views = [drifted(model, batch, 1.0, draws) for _ in range(8)]

    def of_the_mean(state):
        with applied(state):
            mean = torch.stack([model.logits(view).softmax(-1) for view in views]).mean(0)
        return entropy(mean.log())

    before, after = of_the_mean(None), of_the_mean(method.states(batch))
    assert float((after < before).float().mean()) > 0.9


def test_forgets(model):
    method, batch = Memo(model), batch_of(model, 20)
    first = method(batch)
    for seed in range(3):
        method(batch_of(model, 20, seed))
    assert method.state.equal(ElasticState.zeros(model))
    assert method.memory() == {}
    assert torch.equal(method(batch), first)
    assert not torch.equal(first, model.logits(batch))


def test_large_batches_pass_in_pieces(model, monkeypatch):
    """Pieces of as many rows as there are views for give the same drifts."""
    method, batch = Memo(model, views=4), batch_of(model, 20)
    assert method(batch).shape == (20, 3)
    assert method.passes == 20 * 4 * 3
    monkeypatch.setattr(memo, "PIECE", 40)
    sizes = []
    states = method.states
    monkeypatch.setattr(method, "states", lambda rows: sizes.append(len(rows)) or states(rows))
    whole = method(batch)
    assert sizes == [10, 10]
    assert torch.equal(whole[:10], method(batch[torch.arange(10)]))
    monkeypatch.setattr(memo, "PIECE", 1)
    assert method(batch).isfinite().all()


def test_a_row_without_a_finite_slope_is_answered_by_the_source(model, monkeypatch):
    method, batch = Memo(model), batch_of(model, 5)
    slopes = method.row_slopes

    def broken(rows):
        found = slopes(rows)
        name = next(n for n, t in found.items() if t.any())
        found[name][2].view(-1)[0] = float("nan")
        return {n: t if n == name else torch.zeros_like(t) for n, t in found.items()}

    monkeypatch.setattr(method, "row_slopes", broken)
    same = [torch.equal(a, b) for a, b in zip(method(batch), model.logits(batch), strict=True)]
    assert same[2]
    assert not all(same)


def test_a_stream_counts_what_it_costs_where_it_is_served(model):
    frame = inputs(three(30, 3, shift=1.5))
    served, held = (model.stream(adapt="memo", guard=guard, views=4) for guard in ("always", "never"))
    p = served.predict(frame, proba=True)[["p_p", "p_q", "p_r"]].to_numpy(float)
    expected = model.output.probabilities(Memo(model, views=4)(model.encode(frame)))
    assert p == pytest.approx(expected.numpy(), abs=1e-6)
    assert served.trace.passes["adapting"] == 30 * 4 * 3
    held.predict(frame)
    assert held.trace.passes["adapting"] == 0
    assert np.isfinite(p).all()
