"""Rows that belong to no class: p-values hold their level, strange rows are found."""

import numpy as np
import pandas as pd
import pytest
import torch

import aet
from aet.errors import ConfigError
from aet.monitoring.scope import OF_LOGITS, Calibration, distance
from aet.scope import SCORES


def flowers(count, seed, centers=((-2, 0), (2, 0), (0, 3))):
    rng = np.random.default_rng(seed)
    number = rng.integers(0, len(centers), count)
    x = np.array(centers)[number] + 0.5 * rng.normal(size=(count, 2))
    return pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "kind": np.array(["x", "y", "z"])[number % 3]})


@pytest.fixture(scope="module")
def model():
    return aet.train(flowers(400, 0), target="kind", config={"model": {"dim": 16, "depth": 1}, "train": {"epochs": 15}})


def test_p_values_count_the_held_out_rows_that_are_as_strange():
    held, new = np.random.default_rng(0).normal(size=200), np.random.default_rng(1).normal(size=50)
    obvious = [(1 + sum(h >= t for h in held)) / 201 for t in new]
    np.testing.assert_allclose(Calibration.of(held).p_values(new), obvious)


def test_known_rows_are_called_strange_no_more_often_than_allowed():
    rng, level = np.random.default_rng(2), 0.1
    rates = [(Calibration.of(rng.normal(size=60)).p_values(rng.normal(size=60)) <= level).mean() for _ in range(400)]
    assert np.mean(rates) <= level + 0.005


@pytest.mark.parametrize("score", OF_LOGITS)
def test_even_logits_are_stranger_than_sure_ones(score):
    sure, even = torch.tensor([[5.0, 0.0, 0.0]]), torch.tensor([[0.1, 0.0, 0.0]])
    assert OF_LOGITS[score](even) > OF_LOGITS[score](sure)


def test_distance_is_that_to_the_nearest_mean():
    s, means, std = torch.randn(6, 4), torch.randn(3, 4), torch.rand(4) + 0.5
    obvious = [min(sum(((s[i, d] - m[d]) / std[d]) ** 2 for d in range(4)) for m in means) for i in range(6)]
    torch.testing.assert_close(distance(s, means, std), torch.stack(obvious))


@pytest.mark.parametrize("score", SCORES)
def test_a_model_keeps_its_false_alarms_low(model, score):
    scope = aet.Scope(model, flowers(300, 1), level=0.05, score=score)
    assert scope(flowers(600, 2)).mean() >= 0.9


def test_rows_between_the_classes_are_found(model):
    scope = aet.Scope(model, flowers(300, 1), level=0.05, score="distance")
    assert scope(flowers(200, 3, centers=((9, -9),))).mean() < 0.2


@pytest.mark.parametrize(
    ("settings", "says"),
    [({"score": "energie"}, "energy"), ({"level": 2}, "between 0 and 1"), ({"level": 0.001}, "known rows cannot tell")],
)
def test_wrong_settings_are_said(model, settings, says):
    with pytest.raises(ConfigError, match=says):
        aet.Scope(model, flowers(40, 1), **settings)


def test_numbers_have_no_scope():
    frame = flowers(60, 0).drop(columns="kind").assign(y=np.arange(60.0))
    model = aet.train(frame, target="y", output="number", config={"model": {"depth": 1}, "train": {"epochs": 1}})
    with pytest.raises(ConfigError, match="classes"):
        aet.Scope(model, frame)


def test_distance_is_for_a_single_network():
    config = {"model": {"dim": 8, "depth": 1, "members": 2}, "train": {"epochs": 1}}
    model = aet.train(flowers(100, 0), target="kind", config=config)
    assert len(aet.Scope(model, flowers(60, 1))(flowers(5, 2))) == 5
    with pytest.raises(ConfigError, match="single network"):
        aet.Scope(model, flowers(60, 1), score="distance")
