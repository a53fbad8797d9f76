"""Density ratio: by hand and against a known density, weights that equal repeated rows, files that do not fit."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from aet.errors import ConfigError
from aet.training.loop import batch_loss, fit
from aet.training.switches.density_ratio import DensityRatio, relative_ratio, target_odds

from ...made import mixed, signs
from ..loops import prepared
from .test_focus_variance import run_of


@pytest.fixture
def target(tmp_path):
    """A file of rows whose a is larger than in training."""
    frame = signs(200, seed=3).drop(columns="y")
    frame["a"] += 1.0
    frame.to_csv(tmp_path / "target.csv", index=False)
    return str(tmp_path / "target.csv")


def test_the_relative_ratio_by_hand():
    p, q = np.array([0.2, 0.5, 0.0]), np.array([0.4, 0.1, 1.0])
    got = relative_ratio(torch.tensor(p / q), 0.3)
    np.testing.assert_allclose(got, p / (0.3 * p + 0.7 * q))
    assert float(relative_ratio(torch.tensor([1e12], dtype=torch.float64), 0.1)) == pytest.approx(10)
    assert relative_ratio(torch.tensor([5.0]), 1.0).tolist() == [1.0]


def test_the_odds_are_those_of_the_densities():
    """N(1, 1) over N(0, 1) is exp(x - 1/2)."""
    rng = np.random.default_rng(0)
    train, target = rng.normal(size=(1000, 1)), 1 + rng.normal(size=(700, 1))
    odds = np.log(target_odds(train, target, None, seed=0))
    middle = np.abs(train[:, 0]) < 1.5
    assert np.abs(odds - (train[:, 0] - 0.5))[middle].max() < 0.35
    counts = np.where(train[:, 0] > 0, 3.0, 0.0)  # as if only larger rows had been trained on, each three times
    moved = np.log(target_odds(train, target, counts, seed=0))
    assert moved[middle].mean() < odds[middle].mean() + 0.5
    np.testing.assert_allclose(np.log(target_odds(train, target, 7 * np.ones(1000), seed=0)), odds, atol=1e-6)


def test_weights_follow_the_target_have_mean_one_and_bounds(target):
    model, train, valid = prepared(signs(150))
    switch = DensityRatio(file=target, alpha=0.0, clip=4.0)
    switch.begin(run_of(model, train, valid))
    assert float(switch.ratios.mean()) == pytest.approx(1, abs=1e-5)
    assert float(np.corrcoef(train.values["number0"][:, 0, 0], switch.ratios)[0, 1]) > 0.5
    assert float(switch.ratios.max() / switch.ratios.min()) > 4
    relative = DensityRatio(file=target, alpha=0.5, clip=1e9)
    relative.begin(run_of(model, train, valid))
    assert relative.ratios.max() < switch.ratios.max()


def test_a_sample_like_the_training_rows_weighs_them_about_alike(tmp_path):
    mixed(150, seed=4).drop(columns="y").to_csv(tmp_path / "same.csv", index=False)
    model, train, valid = prepared(mixed(400), drift=0.0)
    weights = {}
    for name, rows in (("same", mixed(150, seed=4)), ("south", mixed(450, seed=4).query("category == 'south'"))):
        rows.drop(columns="y").to_csv(tmp_path / f"{name}.csv", index=False)
        switch = DensityRatio(file=str(tmp_path / f"{name}.csv"))
        switch.begin(run_of(model, train, valid))
        weights[name] = switch.ratios
    south = train.values["category0"][:, 0] == model.inputs["category0"].places[0]["south"]
    assert float(weights["same"].std()) < float(weights["south"].std())
    assert float(weights["south"][south].mean()) > 3 * float(weights["south"][~south].mean())


def test_a_weight_of_two_is_the_row_given_twice_and_of_zero_the_row_left_out(target):
    model, train, valid = prepared(signs(150))
    model.eval()
    train = replace(train, positions=torch.arange(len(train)))
    run, switch = run_of(model, train, valid), DensityRatio(file=target)
    switch.ratios = torch.zeros(len(train))
    switch.ratios[[7, 3, 5, 2]] = torch.tensor([2.0, 0.0, 1.0, 1.0])
    slopes = []
    run.rows = torch.tensor([7, 3, 5, 2])
    batches = [train[piece] for piece in run.rows.split(2)]
    for _ in range(2):  # two passes of a step in two pieces each
        slopes.append(gradient(model, sum(batch_loss(run, [switch], model.trunk, batch) for batch in batches) / 2))
    slopes.append(gradient(model, batch_loss(run, [], model.trunk, train[torch.tensor([7, 7, 5, 2])])))
    torch.testing.assert_close(slopes[0], slopes[1])
    torch.testing.assert_close(slopes[0], slopes[2])


def gradient(model, loss):
    return torch.autograd.grad(loss, model.output.head.weight)[0]


def test_losses_asked_for_again_are_of_the_same_rows(target):
    model, train, valid = prepared(signs(150))
    train = replace(train, positions=torch.arange(len(train)))
    run, switch = run_of(model, train, valid), DensityRatio(file=target)
    switch.ratios = torch.arange(len(train)) * 1.0
    run.rows = torch.arange(4)
    one = SimpleNamespace(batch=train[run.rows[:2]], losses=torch.ones(2))
    two = SimpleNamespace(batch=train[run.rows[2:]], losses=torch.ones(2))
    got = [switch.losses(run, seen).tolist() for seen in (one, one, two, two, one)]
    assert got == [[0, 1], [0, 1], [2, 3], [2, 3], [0, 1]]


def test_rows_of_the_data_that_count_twice_pull_the_mean_twice(target):
    model, train, valid = prepared(signs(150))
    counts = torch.arange(len(train)) % 3 * 1.0
    switch = DensityRatio(file=target)
    switch.begin(run_of(model, replace(train, weight=counts), valid))
    assert float((switch.ratios * counts).sum() / counts.sum()) == pytest.approx(1, abs=1e-5)


def test_it_trains(target):
    model, *rows = prepared(signs(150), epochs=2, switches={"density_ratio": {"file": target}})
    assert len(fit(model, *rows)) == 2


@pytest.mark.parametrize(
    ("frame", "sentence"),
    [
        (None, "cannot be used"),
        (pd.DataFrame({"a": range(9)}), "Missing columns: 'b'"),
        (pd.DataFrame({"a": [1.0, 2.0], "b": [1.0, 2.0]}), "has 2 rows .* expected 5 or more"),
    ],
)
def test_files_that_cannot_be_used(tmp_path, frame, sentence):
    if frame is not None:
        frame.to_csv(tmp_path / "rows.csv", index=False)
    model, *rows = prepared(signs(150), switches={"density_ratio": {"file": str(tmp_path / "rows.csv")}})
    with pytest.raises(ConfigError, match=sentence):
        fit(model, *rows)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({}, "needs the setting file"),
        ({"alpha": 1.5}, "alpha"),
        ({"clip": 0.0}, "clip"),
        ({"file": 3}, "file .* a text"),
    ],
)
def test_wrong_settings(settings, sentence):
    with pytest.raises(ConfigError, match=sentence):
        DensityRatio(**({"file": "x.csv"} if settings else {}) | settings)
