"""Weights of rows in the loop: a row that weighs n counts as n rows."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from aet.training import loop
from aet.training.loop import batch_loss, fit, relative

from ..made import signs
from .loops import bits, prepared

outputs = pytest.mark.parametrize("output", ["label", "multilabel", "number"])


def gradients(model, batch):
    model.zero_grad()
    batch_loss(SimpleNamespace(model=model, switches=()), (), model.trunk, batch).backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def precise(model, *batches):
    """In double precision, so that sums in another order are the same."""
    model.double()
    return [batch.map(lambda t: t.double() if t.is_floating_point() else t) for batch in batches]


def made_for(output, **changes):
    """A model of each output kind, in double precision, and its rows."""
    x = signs(150)
    frames = {
        "label": (x, "y"),
        "number": (x.assign(y=x["a"] + x["b"]), "y"),
        "multilabel": (x.assign(y=(x["a"] > 0).astype(int), z=(x["b"] > 0).astype(int)), ["y", "z"]),
    }
    model, train, valid = prepared(*frames[output], dropout=0.0, drift=0.0, **changes)
    assert model.output.kind == output
    return model, *precise(model, train, valid)


COUNTS = torch.tensor([1, 2, 0, 1, 3, 0]).repeat(20)  # of the 120 training rows


def test_weights_count_rows_in_the_gradient_of_the_whole_model():
    model, train, _ = prepared()
    (rows,) = precise(model.eval(), train[torch.arange(6)])
    weighted = relative(replace(rows, weight=COUNTS[:6].double()))
    given = gradients(model, rows[torch.tensor([0, 1, 1, 3, 4, 4, 4])])
    for name, slope in gradients(model, weighted).items():
        torch.testing.assert_close(slope, given[name], rtol=0, atol=1e-10)


@outputs
@pytest.mark.parametrize("scale", [1.0, 1e-30, 1e30])
def test_the_batches_of_an_epoch_add_up_to_the_gradient_of_the_rows_given_as_often_as_they_weigh(
    monkeypatch, output, scale
):
    """Rows 0 to 59 weigh more than the others, so each batch has its own sum of weights."""
    counts = COUNTS + (torch.arange(120) < 60)
    model, train, valid = made_for(output, epochs=1, batch_size=25, weight_decay=0.0)
    expected = gradients(model, train[torch.arange(120).repeat_interleave(counts)])
    sizes, total = iter([25, 25, 25, 25, 20]), {}

    def collect(*_):
        """Note the step's gradient, and take it away: the model stands still."""
        size = next(sizes)
        for name, p in model.named_parameters():
            if p.grad is not None:
                total[name] = total.get(name, 0) + size / 120 * p.grad
                p.grad.zero_()

    monkeypatch.setattr(loop.nn.utils, "clip_grad_norm_", collect)
    model.zero_grad()
    history = fit(model, replace(train, weight=scale * counts.double()), valid)
    assert total.keys() == expected.keys()
    for name, slope in total.items():
        torch.testing.assert_close(slope, expected[name], rtol=0, atol=1e-12)
    repeated = train[torch.arange(120).repeat_interleave(counts)]
    with torch.no_grad():
        assert history[0]["loss"] == pytest.approx(
            float(batch_loss(SimpleNamespace(model=model, switches=()), (), model.trunk, repeated)), rel=1e-6
        )  # summed in float32


@outputs
def test_full_batches_train_to_the_same_weights_as_the_rows_given_as_often_as_they_weigh(output):
    trained = []
    for weighted in (True, False):
        model, train, valid = made_for(output, epochs=3, batch_size=1000, lr=1e-3)
        times = torch.arange(len(valid)) % 3
        if weighted:
            rows = replace(train, weight=COUNTS.double()), replace(valid, weight=times.double())
        else:
            rows = tuple(b[torch.arange(len(b)).repeat_interleave(n)] for b, n in ((train, COUNTS), (valid, times)))
        history = fit(model, *rows)
        trained.append((bits(model), [[record[name] for name in ("loss", "valid_loss")] for record in history]))
    for name, tensor in trained[0][0].items():
        torch.testing.assert_close(tensor, trained[1][0][name], rtol=0, atol=1e-9)
    np.testing.assert_allclose(trained[0][1], trained[1][1], rtol=1e-6)  # an epoch's loss is summed in float32


def test_a_batch_without_weight_changes_nothing_but_stays_finite():
    model, train, valid = prepared(drift=0.0)
    history = fit(model, replace(train, weight=torch.zeros(len(train))), valid)
    assert all(record["loss"] == 0 for record in history)
    assert all(torch.isfinite(t).all() for t in model.state_dict().values() if t.is_floating_point())
