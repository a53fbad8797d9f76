"""The head that starts from logistic regression, against scikit-learn's on the same summaries."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from aet.config import Config
from aet.errors import ConfigError
from aet.model import Model, evaluating
from aet.schema import infer
from aet.summaries import summaries
from aet.training.switches.linear_probe import STRENGTHS, LinearProbe, fitted

from ...made import quick, signs
from .steps import made, run_of


def blobs(classes=3, rows=90):
    rng = np.random.default_rng(0)
    target = rng.integers(0, classes, rows)
    return torch.tensor(rng.normal(size=(rows, 4)) + target[:, None], dtype=torch.float32), torch.tensor(target)


@pytest.mark.parametrize("classes", [2, 3])
def test_the_probabilities_are_scikit_learns(classes):
    rows, target = blobs(classes)
    weight, bias = fitted(rows, target, None, 0.1)
    standard = ((rows - rows.mean(0)) / rows.std(0)).numpy()
    expected = LogisticRegression(C=0.1, max_iter=300).fit(standard, target).predict_proba(standard)
    np.testing.assert_allclose((rows @ weight.T + bias).softmax(1).numpy(), expected, atol=1e-4)


def test_weight_two_is_the_row_given_twice_and_zero_the_row_left_out():
    rows, target = blobs()
    rows = (rows - rows.mean(0)) / rows.std(0)
    count = torch.arange(len(rows)) % 3
    index = torch.arange(len(rows)).repeat_interleave(count)
    weighted = fitted(rows, target, count.float(), 0.1)
    given = fitted(rows[index], target[index], None, 0.1)
    for one, other in zip(weighted, given, strict=True):
        torch.testing.assert_close(one, other, atol=2e-2, rtol=0)  # the scales are those of other rows


def test_a_channel_that_never_moves_says_nothing():
    rows, target = blobs()
    weight, _ = fitted(torch.cat([rows, torch.ones(len(rows), 1)], 1), target, None, 0.1)
    assert not weight[:, -1].any()
    assert weight.isfinite().all()


def test_the_head_starts_there_and_nothing_else_moves():
    model, batch = made("label")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    run = run_of(model, batch, {"linear_probe": {}})
    (switch,) = run.switches
    with evaluating(model):
        seen, logits = summaries(model, batch)
    best = max(STRENGTHS, key=lambda c: accuracy(seen, batch.target, fitted(seen, batch.target, None, c)))
    expected = fitted(seen, batch.target, None, best)
    torch.testing.assert_close(logits, seen @ expected[0].T + expected[1])
    assert {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])} == {
        "output.head.weight",
        "output.head.bias",
    }
    assert switch.acted().startswith("started the head at ")


def accuracy(seen, target, head):
    return float(((seen @ head[0].T + head[1]).argmax(1) == target).float().mean())


def test_classes_without_a_row_keep_their_start():
    model, batch = made("label")
    model.output.classes = [*model.output.classes, "rare"]
    model.output.build()
    run = run_of(model, batch, {"linear_probe": {}})
    head = model.output.head.weight[2].clone()
    assert run.switches[0].calls == 1
    assert torch.equal(model.output.head.weight[2], head)


def test_refused_where_there_are_no_classes_or_several_heads():
    model, _ = made("number")
    with pytest.raises(ConfigError, match="expected the output 'label'"):
        LinearProbe().prepare(model)
    frame = signs()
    model = Model(infer(frame, "y"), Config.read({"model": {**quick()["model"], "members": 2}})).fit_columns(frame)
    with pytest.raises(ConfigError, match=r"model.members of 1, got 'label' and 2"):
        LinearProbe().prepare(model)


def test_only_so_many_rows_are_read():
    model, batch = made("label")
    (switch,) = run_of(model, batch, {"linear_probe": {"rows": 8}}).switches
    few = switch.accuracy, model.output.head.weight.clone()
    (switch,) = run_of(model, batch, {"linear_probe": {}}).switches
    assert not torch.equal(model.output.head.weight, few[1])
    assert switch.accuracy >= few[0]
