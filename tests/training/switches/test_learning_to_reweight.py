"""Learning to reweight: agreements against autograd, weights by hand, clean sets that may not be training rows."""

from dataclasses import replace

import pandas as pd
import pytest
import torch

from aet.batch import Batch
from aet.errors import ConfigError, DataError
from aet.training.clean import head_gradient, trained_on
from aet.training.loop import batch_loss, fit
from aet.training.switches.learning_to_reweight import LearningToReweight

from ...made import mixed, signs
from ..loops import prepared
from .test_focus_variance import run_of


class Agreements(LearningToReweight):
    """Keeps what it finds."""

    def agreement(self, run, seen):
        self.found = super().agreement(run, seen)
        return self.found


def head_of(model, loss):
    """Gradient of a loss with respect to the head, flat."""
    head = model.output.head
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, (head.weight, head.bias))])


@pytest.fixture(params=["label", "number"])
def ready(request):
    frame = signs(150)
    model, *rows = prepared(frame if request.param == "label" else frame.assign(y=frame["a"] * frame["b"]))
    model.eval()
    return model, *rows


def test_agreements_are_inner_products_of_the_heads_gradients(ready):
    model, train, valid = ready
    run, switch = run_of(model, train, valid), Agreements(share=0.4)
    switch.begin(run)
    assert len(switch.clean) == 12
    rows = train[torch.arange(6)]
    loss = batch_loss(run, [switch], model.trunk, rows)
    clean = head_of(model, model.output.losses(model(switch.clean), switch.clean.target).mean())
    found = [head_of(model, model.output.losses(model(rows), rows.target)[i]) @ clean for i in range(6)]
    torch.testing.assert_close(switch.found, torch.stack(found), rtol=1e-4, atol=1e-6)
    weights = torch.stack(found).clamp_min(0)
    weights = 6 * weights / weights.sum()
    assert float(loss) == pytest.approx(
        float((weights * model.output.losses(model(rows), rows.target)).mean()), rel=1e-4
    )
    assert not model.output.head._forward_pre_hooks


def test_a_count_of_two_is_the_row_given_twice_and_of_zero_the_row_left_out(ready):
    model, train, valid = ready
    run, slopes = run_of(model, train, valid), []
    rows = train[torch.arange(8)]
    counts = torch.tensor([2.0, 0, 1, 1, 1, 1, 2, 0])
    for batch in (replace(rows, weight=counts), rows[torch.arange(8).repeat_interleave(counts.long())]):
        switch = LearningToReweight(share=1.0)
        switch.begin(run)
        slopes.append(head_of(model, batch_loss(run, [switch], model.trunk, batch)))
    torch.testing.assert_close(*slopes, rtol=1e-4, atol=1e-6)


def test_clean_rows_count_as_often_as_they_weigh(ready):
    model, train, _ = ready
    rows = train[torch.arange(3)]
    weighted = head_gradient(model, replace(rows, weight=torch.tensor([2.0, 0.0, 1.0])))
    torch.testing.assert_close(weighted, head_gradient(model, rows[torch.tensor([0, 0, 2])]))
    assert not model.training


def test_rows_with_wrong_labels_are_left_out():
    model, train, valid = prepared(signs(150), epochs=6, lr=0.02, drift=0.0, dropout=0.0)
    fit(model, train, valid)
    wrong = torch.arange(len(train)) % 4 == 0
    noisy = Batch(train.values, torch.where(wrong, 1 - train.target, train.target))
    run, switch = run_of(model, train, valid), Agreements(share=1.0)
    switch.begin(run)
    batch_loss(run, [switch], model.trunk, noisy)
    left_out = (switch.found <= 0).float()
    assert float(left_out[wrong].mean()) > 0.6
    assert float(left_out[~wrong].mean()) < 0.4


def test_missing_values_are_alike_when_rows_are_compared():
    one = Batch({"x": torch.tensor([[1.0, torch.nan], [2.0, 3.0]]), "c": torch.tensor([[1], [2]])})
    assert trained_on(one, one).all()
    other = Batch({"x": one.values["x"], "c": torch.tensor([[1], [3]])})
    assert trained_on(other, one).tolist() == [True, False]


def test_a_file_of_clean_rows_and_its_mark(tmp_path):
    model, train, valid = prepared()
    fresh = mixed(40, seed=5).assign(clean=[1, 0] * 20)
    fresh.to_csv(tmp_path / "clean.csv", index=False)
    run = run_of(model, train, valid)
    for column, rows in (("", 40), ("clean", 20)):
        switch = LearningToReweight(file=str(tmp_path / "clean.csv"), column=column)
        switch.begin(run)
        assert len(switch.clean) == rows


def test_clean_rows_that_are_trained_on_are_an_error(tmp_path):
    model, train, valid = prepared()
    pd.concat([mixed(10, seed=5), mixed(150).iloc[3:5]]).to_csv(tmp_path / "clean.csv", index=False)
    switch = LearningToReweight(file=str(tmp_path / "clean.csv"))
    with pytest.raises(DataError, match=r"overlaps the training rows: 2 of 12 rows .* its row 11"):
        switch.begin(run_of(model, train, valid))
    with pytest.raises(DataError, match=r"overlaps the training rows: all 120 validation rows"):
        LearningToReweight().begin(run_of(model, train, train))
    half = Batch.concat([valid, train])
    switch = LearningToReweight(share=1.0)
    switch.begin(run_of(model, train, half))
    assert not trained_on(switch.clean, train).any()


@pytest.mark.parametrize(
    ("content", "settings", "error", "sentence"),
    [
        (None, {}, DataError, "clean.csv"),
        (mixed(9), {"column": "claen"}, ConfigError, "no column 'claen'"),
        (mixed(9).assign(clean=0), {"column": "clean"}, DataError, "holds no clean row"),
        (mixed(9), {"column": "category"}, DataError, "expected 0 and 1"),
    ],
)
def test_files_that_cannot_be_used(tmp_path, content, settings, error, sentence):
    model, *rows = prepared()
    if content is not None:
        content.to_csv(tmp_path / "clean.csv", index=False)
    with pytest.raises(error, match=sentence):
        LearningToReweight(file=str(tmp_path / "clean.csv"), **settings).begin(run_of(model, *rows))


@pytest.mark.parametrize("settings", [{"share": 0.0}, {"share": 1.5}, {"column": "clean"}])
def test_wrong_settings(settings):
    with pytest.raises(ConfigError, match=next(iter(settings))):
        LearningToReweight(**settings)
