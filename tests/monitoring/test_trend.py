"""Shares over time: intervals, false alarms and true ones."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import betabinom, norm, t

from aet.errors import ConfigError, DataError
from aet.monitoring.trend import correlation, expected, trends


def world(rng, periods, rows, share, wander):
    """Hits of so many rows a period, whose share wanders with the precision `wander` (None: not at all)."""
    shares = np.full(periods, share) if wander is None else rng.beta(share * wander, (1 - share) * wander, periods)
    dates = np.repeat(pd.date_range("2020-01-31", periods=periods, freq="ME"), rows)
    return dates, rng.random(periods * rows) < np.repeat(shares, rows)


@pytest.mark.parametrize("wander", [None, 40.0])
def test_false_alarms_stay_near_their_level(wander):
    rng, level = np.random.default_rng(0), 0.02
    alarms = judged = 0
    for _ in range(40):
        found = trends(*with_topic(*world(rng, 36, 80, 0.3, wander)), level=level)
        alarms, judged = alarms + found["alarm"].sum(), judged + found["p"].notna().sum()
    assert alarms / judged <= 1.5 * level


def with_topic(dates, hits):
    return dates, ["one"] * len(hits), hits


def test_a_rise_is_found_and_does_not_become_its_own_excuse_at_once():
    rng = np.random.default_rng(1)
    dates, hits = world(rng, 24, 200, 0.2, None)
    hits[-4 * 200 :] = rng.random(800) < 0.4
    assert trends(*with_topic(dates, hits))["alarm"].to_numpy()[-4:].all()


def test_correlation_is_that_of_the_beta_it_was_drawn_from():
    rng = np.random.default_rng(2)
    rows = np.full(4000, 50.0)
    hits = rng.binomial(50, rng.beta(6, 14, 4000)).astype(float)
    assert correlation(hits, rows) == pytest.approx(1 / 21, rel=0.1)
    assert correlation(rng.binomial(50, 0.3, 4000).astype(float), rows) < 0.002


def test_the_tail_is_that_of_the_beta_binomial():
    before, of = np.array([3.0, 9.0, 4.0, 12.0, 5.0, 8.0]), np.full(6, 30.0)
    rho, mean = correlation(before, of), 41.5 / 181
    unsure = sum((1 / 6) ** 2 * ((1 - rho) / 30 + rho) for _ in range(6))
    wider = rho * (t.ppf(0.99, 5) / norm.ppf(0.99)) ** 2 + unsure
    m = (1 - wider) / wider
    obvious = sum(betabinom.pmf(k, 25, mean * m, (1 - mean) * m) for k in range(14, 26))
    assert expected(25, before, of, 0.01).sf(13) == pytest.approx(obvious)


def test_topics_are_counted_apart_and_lines_are_in_order():
    dates = ["2024-02-03", "2024-01-05", "2024-02-20", "2024-01-09"]
    found = trends(dates, ["b", "a", "b", "b"], [True, False, False, True])
    assert found[["topic", "rows", "share"]].to_numpy().tolist() == [["a", 1, 0.0], ["b", 1, 1.0], ["b", 2, 0.5]]
    assert not found["alarm"].any()
    assert ((found["low"] <= found["share"]) & (found["share"] <= found["high"])).all()


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ((["2024-01-01"], ["a", "b"], [True]), DataError),
        ((["soon"], ["a"], [True]), DataError),
        ((["2024-01-01", None], ["a", "a"], [True, False]), DataError),
    ],
)
def test_rows_that_say_nothing_are_refused(given, error):
    with pytest.raises(error):
        trends(*given)


@pytest.mark.parametrize("settings", [{"level": 0}, {"window": 2}])
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ConfigError, match="periods or more"):
        trends(["2024-01-01"], ["a"], [True], **settings)


def test_no_rows_give_no_lines():
    assert not len(trends([], [], []))


@pytest.mark.parametrize(
    ("topics", "hits"), [(["a", None], [True, False]), (["a", "a"], ["False", "True"]), (["a", "a"], [True, None])]
)
def test_what_is_not_known_of_a_row_is_not_guessed(topics, hits):
    with pytest.raises(DataError):
        trends(["2024-01-01", "2024-01-02"], topics, hits)
