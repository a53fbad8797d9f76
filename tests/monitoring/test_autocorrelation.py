"""Runs of predicted labels: false alarms at most at the level, for any number of classes; sorted streams found."""

from __future__ import annotations

import numpy as np
import pytest

from aet.errors import ConfigError
from aet.monitoring.autocorrelation import joins, label_runs


def in_slots(rng, classes, rows, concentration, size=32):
    """Labels in slots with a class mix of their own, shuffled inside."""
    mixes = rng.dirichlet(np.full(classes, concentration), rows // size)
    return np.concatenate([rng.choice(classes, size, p=mix) for mix in mixes])


@pytest.mark.parametrize("classes", [2, 10, 200])
@pytest.mark.parametrize("rows", [32, 128])
@pytest.mark.parametrize("skew", [0.0, 1.5])
def test_false_alarms_stay_at_the_level(classes, rows, skew):
    rng = np.random.default_rng(classes + rows)
    mix = np.arange(1, classes + 1) ** -skew
    looks = [
        label_runs(rng.choice(classes, rows, p=mix / mix.sum()), level=0.05, shuffles=99).correlated for _ in range(200)
    ]
    assert np.mean(looks) <= 0.05 + 2.5 * (0.05 * 0.95 / 200) ** 0.5


@pytest.mark.parametrize("classes", [2, 10, 50])
def test_sorted_labels_are_found(classes):
    found = label_runs(np.repeat(np.arange(classes), 128 // classes))
    assert found.correlated
    assert found.statistic > found.threshold


@pytest.mark.parametrize(("concentration", "least"), [(0.01, 0.95), (0.1, 0.95), (1.0, 0.6)])
def test_bursts_of_classes_are_found(concentration, least):
    rng = np.random.default_rng(0)
    looks = [label_runs(in_slots(rng, 10, 256, concentration)) for _ in range(40)]
    assert np.mean([look.correlated or look.alone for look in looks]) >= least


def test_joins_by_hand():
    codes = np.array([[0, 0, 1, 0], [1, 1, 1, 1], [0, 1, 2, 3]])
    assert joins(codes, 1).tolist() == [1, 3, 0]
    assert joins(codes, 3).tolist() == [3, 6, 0]
    assert joins(codes, 99).tolist() == [3, 6, 0]


def test_statistic_and_p_agree_on_the_verdict():
    rng = np.random.default_rng(1)
    for _ in range(100):
        labels = rng.integers(0, 3, 40)
        labels[:10] = 0
        found = label_runs(labels, level=0.05)
        assert found.correlated == (found.statistic >= found.threshold) == (found.p <= 0.05)


@pytest.mark.parametrize("labels", [[], ["a"], [1] * 50])
def test_one_class_alone_says_nothing(labels):
    found = label_runs(labels)
    assert found.alone
    assert not found.correlated
    assert found.p == 1


def test_names_will_do():
    assert label_runs(["cat"] * 30 + ["dog"] * 30).correlated


@pytest.mark.parametrize("wrong", [{"level": 0.001}, {"level": 1.0}, {"lags": 0}])
def test_a_level_beyond_the_shuffles_is_refused(wrong):
    with pytest.raises(ConfigError, match="level lies between"):
        label_runs([0, 1] * 20, **wrong)
