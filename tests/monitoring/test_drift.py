"""How far columns moved: known distances between known columns."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm, wasserstein_distance

from aet.monitoring.drift import quantile_distance, share_distance

LEVELS = np.linspace(0, 1, 21)


def grid(values):
    return np.quantile(values, LEVELS).tolist()


@pytest.mark.parametrize(("shift", "gain"), [(0.0, 1.0), (0.7, 1.0), (-3.0, 1.0), (0.0, 1.5), (2.0, 0.5)])
def test_is_about_the_wasserstein_distance_in_spreads(shift, gain):
    source = np.random.default_rng(0).normal(5.0, 2.0, 4000)
    now = gain * source + shift
    low, high = np.quantile(source, (0.25, 0.75))
    expected = wasserstein_distance(source, now) / ((high - low) / 1.349)
    assert quantile_distance(grid(source), grid(now)) == pytest.approx(expected, rel=0.25, abs=1e-6)


def test_a_normal_column_moved_by_one_deviation_moved_by_one():
    source = norm.ppf(np.linspace(0.001, 0.999, 21))
    assert quantile_distance(source, source + 1) == pytest.approx(1, abs=0.01)


def test_does_not_depend_on_the_unit():
    source, now = np.random.default_rng(1).normal(size=(2, 300))
    one = quantile_distance(grid(source), grid(now + 1))
    assert quantile_distance(grid(1e6 * source + 7), grid(1e6 * (now + 1) + 7)) == pytest.approx(one, rel=1e-4)


def test_where_the_middle_half_is_constant_the_range_is_the_unit():
    source = [0.0] * 18 + [1.0, 2.0, 4.0]
    assert quantile_distance(source, [x + 1 for x in source]) == pytest.approx(0.25)
    assert quantile_distance([3.0] * 21, [5.0] * 21) == pytest.approx(2)


@pytest.mark.parametrize(("source", "now"), [([], [1.0]), ([1.0], []), ([], []), ([1.0, 2.0], [1.0])])
def test_nothing_to_compare(source, now):
    assert np.isnan(quantile_distance(source, now))


@pytest.mark.parametrize(
    ("source", "now", "expected"),
    [
        ({"a": 0.5, "b": 0.5}, {"b": 0.5, "a": 0.5}, 0.0),
        ({"a": 1.0}, {"b": 1.0}, 1.0),
        ({"a": 0.5, "b": 0.3, "c": 0.2}, {"a": 0.2, "b": 0.3, "d": 0.5}, 0.5),
        ({}, {"a": 1.0}, 0.5),
        ({}, {}, 0.0),
    ],
)
def test_shares(source, now, expected):
    assert share_distance(source, now) == share_distance(now, source) == pytest.approx(expected)
