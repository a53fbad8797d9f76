"""Estimates of accuracy: contracts of every estimator, obvious versions, and what their intervals hold."""

from __future__ import annotations

import numpy as np
import pytest

from aet.errors import ConfigError
from aet.monitoring.delayed import TAU, gap_of
from aet.monitoring.performance import ESTIMATORS, HeldOut, Labelled, Seen, wilson

NONE = Labelled(np.empty(0), np.empty(0), np.empty(0))


def world(rows, seed, tilt=0.0, power=1.0):
    """Confidences and right answers, p(right) = confidence - tilt; a smaller power is a surer model."""
    rng = np.random.default_rng(seed)
    sure = 0.4 + 0.6 * rng.random(rows) ** (1 / power)
    return sure, (rng.random(rows) < np.clip(sure - tilt, 0, 1)).astype(float)


def everything(sure):
    return Seen(sure, np.full(len(sure), 0.75), np.array([0.5, 0.3, 0.2]), NONE)


@pytest.fixture(scope="module")
def kept():
    drifts = [world(400, 100 + k, tilt=0.02 * k, power=1 / (1 + 0.3 * k)) for k in range(6)]
    return HeldOut.of(*world(500, 1), drifts)


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("rows", [1, 7, 300])
def test_a_share_inside_its_interval(name, rows, kept):
    found = ESTIMATORS[name](kept).estimate(everything(world(rows, 2)[0]))
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.rows == rows
    assert found.high > found.low


@pytest.mark.parametrize("name", ESTIMATORS)
def test_of_no_rows_nothing_is_known(name, kept):
    found = ESTIMATORS[name](kept).estimate(everything(np.empty(0)))
    assert found.rows == 0
    assert np.isnan([found.value, found.low, found.high]).all()


@pytest.mark.parametrize("name", ESTIMATORS)
def test_figures_that_were_saved_give_the_same(name, kept):
    again = HeldOut.from_arrays(kept.to_arrays())
    seen = everything(world(50, 3)[0])
    assert ESTIMATORS[name](again).estimate(seen) == ESTIMATORS[name](kept).estimate(seen)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_what_an_estimator_needs_is_asked_for(name, kept):
    needs = ESTIMATORS[name].needs
    if needs:
        with pytest.raises(ConfigError, match=f"needs `{needs[0]}`"):
            ESTIMATORS[name](kept).estimate(np.full(5, 0.5))
    else:
        assert ESTIMATORS[name](kept).estimate(np.full(5, 0.5)).rows == 5


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("wrong", [[1.2], [-0.1, 0.5], [float("nan")], [[0.5]]])
def test_what_is_no_probability_is_refused(name, wrong, kept):
    with pytest.raises(ConfigError, match="for classes, not for numbers"):
        ESTIMATORS[name](kept).estimate(Seen(np.array(wrong), np.array([0.5]), np.array([1.0]), NONE))


@pytest.mark.parametrize("name", ["constant", "cbpe", "atc", "doc"])
@pytest.mark.parametrize("rows", [50, 200])
def test_without_a_shift_the_interval_holds_the_truth(name, rows):
    held = []
    for seed in range(200):
        estimator = ESTIMATORS[name].fit(*world(300, 3 * seed))
        sure, right = world(rows, 3 * seed + 1)
        found = estimator.estimate(sure)
        held.append(found.low <= right.mean() <= found.high)
    assert np.mean(held) >= 0.92


def test_a_model_that_is_right_as_often_as_it_says_is_read_under_any_shift():
    kept = HeldOut.of(*world(4000, 5))
    sure, right = world(4000, 6, power=0.4)
    assert abs(kept.accuracy - right.mean()) > 0.1
    for name in ("cbpe", "doc"):
        assert ESTIMATORS[name](kept).estimate(sure).value == pytest.approx(right.mean(), abs=0.02)


def test_cbpe_is_the_mean_confidence_and_its_interval_that_of_independent_draws():
    sure, right = world(4000, 1)
    found = ESTIMATORS["cbpe"].fit(sure, right).estimate(np.full(100, 0.8))
    half = np.hypot(1.96 * (0.8 * 0.2 / 100) ** 0.5, 1.96 * (right - sure).std() / 4000**0.5)
    assert (found.value, found.high) == (pytest.approx(0.8), pytest.approx(0.8 + half, abs=1e-5))


def test_atc_puts_the_sources_errors_below_its_threshold():
    sure, right = world(5000, 1)
    kept = HeldOut.of(sure, right)
    assert (sure < kept.threshold()).mean() == pytest.approx(1 - right.mean(), abs=0.005)
    new = world(3000, 2, power=0.5)[0]
    obvious = np.sort(sure)[round((1 - right.mean()) * 5000)]
    assert ESTIMATORS["atc"](kept).estimate(new).value == pytest.approx((new >= obvious).mean(), abs=0.01)


def test_doc_learns_at_what_rate_accuracy_falls_with_confidence():
    drifts = [(np.full(100, 0.9 - 0.02 * k), np.arange(100) < 90 - 6 * k) for k in range(1, 6)]
    doc = ESTIMATORS["doc"].fit(np.full(100, 0.9), np.arange(100) < 90, drifts)
    assert doc.rate == pytest.approx(3.0)
    found = doc.estimate(np.full(200, 0.8))
    assert found.value == pytest.approx(0.6)
    assert ESTIMATORS["doc"].fit(np.full(100, 0.9), np.arange(100) < 90).estimate(np.full(9, 0.8)).value == (
        pytest.approx(0.8)
    )


def test_where_simulated_drifts_were_misread_the_interval_is_wider_the_further_one_is():
    drifts = [(np.full(100, 0.9 - 0.02 * k), np.arange(100) < 90 - (8 if k % 2 else 1) * k) for k in range(1, 6)]
    one, other = (ESTIMATORS["doc"].fit(np.full(100, 0.9), np.arange(100) < 90, d) for d in (drifts, ()))
    near, far = (one.estimate(np.full(200, c)) for c in (0.9, 0.8))
    assert near.high - near.low == pytest.approx(
        other.estimate(np.full(200, 0.9)).high - other.estimate(np.full(200, 0.9)).low
    )
    assert far.high - far.low > 1.5 * (near.high - near.low)


def test_labels_move_the_estimate_and_weights_count():
    estimator = ESTIMATORS["delayed"].fit(*world(2000, 1))
    sure, right = world(2000, 2, tilt=0.3)
    values = []
    for labels in (0, 4, 16, 64, 2000):
        late = Labelled(sure[:labels], right[:labels], np.ones(labels))
        values.append(estimator.estimate(Seen(sure, labelled=late)).value)
    doc = ESTIMATORS["doc"].fit(*world(2000, 1)).estimate(sure).value
    assert values[0] == pytest.approx(doc)
    assert values[-1] == pytest.approx(right.mean(), abs=0.01)
    assert abs(values[3] - right.mean()) < abs(values[0] - right.mean()) / 2
    twice = Labelled(np.repeat(sure[:8], 2), np.repeat(right[:8], 2), np.ones(16))
    heavy = Labelled(sure[:16], np.r_[right[:8], 1 - right[:8]], np.r_[np.full(8, 1.0), np.full(8, 1e-9)])
    assert heavy.effective == pytest.approx(8)
    assert gap_of(heavy)[0] == pytest.approx(gap_of(twice)[0])


def test_the_gap_is_shrunk_as_the_formula_says():
    late = Labelled(np.full(20, 0.9), np.r_[np.ones(10), np.zeros(10)], np.ones(20))
    estimator = ESTIMATORS["delayed"].fit([0.9, 0.7], [1, 1])
    gap, variance = gap_of(late)
    k = TAU**2 / (TAU**2 + variance)
    doc = ESTIMATORS["doc"].fit([0.9, 0.7], [1, 1]).estimate(np.full(30, 0.6)).value
    assert gap == pytest.approx(-0.4)
    found = estimator.estimate(Seen(np.full(30, 0.6), labelled=late)).value
    assert found == pytest.approx(k * 0.2 + (1 - k) * doc)


def test_rows_drawn_with_known_chances_tell_the_share_of_all():
    rng, found = np.random.default_rng(0), []
    right = np.r_[np.ones(300), np.zeros(100)]
    chances = np.where(right == 1, 1.0, 2.0) / 500
    for _ in range(300):
        drawn = rng.choice(400, 40, p=chances)
        truth = Labelled(np.ones(40), right[drawn], 1 / (400 * chances[drawn])).truth()
        found.append((truth.value, truth.low <= 0.75 <= truth.high))
    values, held = np.array(found).T
    assert values.mean() == pytest.approx(0.75, abs=0.01)
    assert held.mean() >= 0.93
    assert np.isnan(NONE.truth().value)


@pytest.mark.parametrize(("value", "rows"), [(0.0, 5), (1.0, 5), (0.3, 40), (0.999, 1000)])
def test_wilson_is_that_of_statsmodels_formula(value, rows):
    from scipy.stats import binomtest

    low, high = wilson(value, rows)
    exact = binomtest(round(value * rows), rows).proportion_ci(method="wilson")
    assert (low, high) == (pytest.approx(exact.low, abs=1e-6), pytest.approx(exact.high, abs=1e-6))


@pytest.mark.parametrize(("sure", "right"), [([], []), ([0.5], [1, 0]), ([2.0], [1.0]), ([0.5], [3.0])])
def test_held_out_rows_that_are_none_are_refused(sure, right):
    with pytest.raises(ConfigError):
        HeldOut.of(sure, right)
