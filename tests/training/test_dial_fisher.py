"""The Fisher information of dials: the batched slopes are those of one row after the other."""

import pytest
import torch
import torch.nn.functional as F

import aet
from aet.attention.state import ElasticState, applied
from aet.training.dial_fisher import dial_fisher, row_slopes
from tests.made import quick, signs


@pytest.fixture(scope="module")
def model():
    return aet.train(signs(80), target="y", config=quick(2, dropout=0.0))


def test_it_is_the_mean_of_squared_slopes_row_by_row(model):
    rows = model.encode(signs(12, 3), target=True)
    zero = ElasticState.zeros(model)
    total = {name: torch.zeros_like(t) for name, t in zero.items()}
    for i in range(12):
        free = zero.trainable()
        with applied(free):
            logits = model(rows[torch.tensor([i])])
            loss = F.cross_entropy(logits, logits.argmax(-1))
        for (name, _), slope in zip(free.items(), torch.autograd.grad(loss, list(free.values())), strict=True):
            total[name] += slope.square() / 12
    fisher = dial_fisher(model, rows)
    assert fisher.keys() == total.keys()
    for name, expected in total.items():
        torch.testing.assert_close(fisher[name], expected, atol=1e-7, rtol=1e-4)
    assert max(float(t.max()) for t in fisher.values()) > 0


def test_yes_or_no_answers_and_numbers(model):
    frame = signs(60).assign(z=lambda f: (f["a"] > 0).astype(int), w=lambda f: (f["b"] > 0).astype(int))
    both = aet.train(frame.drop(columns="y"), target=["z", "w"], config=quick(1))
    assert set(both.statistics.fisher) == set(ElasticState.zeros(both))
    number = aet.train(frame[["a", "b"]], target="b", config=quick(1))
    assert number.statistics.fisher is None
    slopes = row_slopes(both, both.encode(frame.head(5)), ElasticState.zeros(both))
    assert all(len(t) == 5 for t in slopes.values())


def test_class_moments_are_shrunk_to_the_whole_and_come_back(model, tmp_path):
    statistics = model.statistics
    assert [m.mean.shape for m in statistics.classes] == [(2, *m.mean.shape) for m in statistics.layers]
    share = model.statistics.label_mix
    for layer, whole in zip(statistics.classes, statistics.layers, strict=True):
        mixed = (share[:, None] * layer.mean).sum(0)
        assert torch.allclose(mixed, whole.mean, atol=0.2 * float(whole.std.max()))
        assert not torch.allclose(layer.mean[0], layer.mean[1])
    model.save(tmp_path)
    again = aet.load(tmp_path).statistics
    assert all(torch.equal(a.mean, b.mean) for a, b in zip(again.classes, statistics.classes, strict=True))
    assert all(torch.equal(again.fisher[n], t) for n, t in statistics.fisher.items())
