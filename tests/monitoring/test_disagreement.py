"""Disagreement and agreement on the line: obvious cases, and a made world in which they hold."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtr, ndtri

from aet.errors import ConfigError
from aet.monitoring.disagreement import agreement
from aet.monitoring.line import agreements, on_the_line
from aet.monitoring.performance import ESTIMATORS, Seen


def fitted(name):
    return ESTIMATORS[name].fit([0.9, 0.8], [1, 1])


def test_two_models_drawn_from_calibrated_answers_disagree_as_often_as_they_err():
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.full(4, 0.4), 20_000)
    draws = [(rng.random((20_000, 1)) > p.cumsum(1)).sum(1) for _ in range(3)]
    seen = Seen(p.max(1), agreement=agreement(draws[0], draws[1]))
    assert fitted("seeds").estimate(seen).value == pytest.approx((draws[0] == draws[2]).mean(), abs=0.01)


@pytest.mark.parametrize("others", [[[0, 1]], np.empty((0, 3)), [[[0, 1, 1]]]])
def test_answers_to_other_rows_are_refused(others):
    with pytest.raises(ConfigError, match=r"\(D, N\)"):
        agreement([0, 1, 1], others)


def test_under_dropout_a_model_with_one_answer_is_not_believed():
    same = np.full(100, 0.95)
    even, collapsed = (
        fitted("dropout").estimate(Seen(np.full(100, 0.9), agreement=same, mix=np.array(mix))).value
        for mix in ([0.25, 0.25, 0.25, 0.25], [0.97, 0.01, 0.01, 0.01])
    )
    assert even == pytest.approx(0.95)
    entropy = -(0.97 * np.log(0.97) + 0.03 * np.log(0.01)) / np.log(4)
    assert collapsed == pytest.approx(max(0.0, 1 - 0.05 * entropy**-3))
    assert collapsed == 0


def test_models_on_a_line_are_read_from_agreement_alone():
    slope, shift = 0.8, -0.4
    accuracy = np.array([0.7, 0.8, 0.9, 0.95])
    before = np.array([0.65, 0.7, 0.72, 0.78, 0.8, 0.86])
    after = ndtr(slope * ndtri(before) + shift)
    for share in accuracy:
        found = on_the_line(share, before, after, held_out=1000, rows=1000)
        assert found.value == pytest.approx(float(ndtr(slope * ndtri(share) + shift)))
        assert found.low < found.value < found.high


def test_models_that_agree_equally_fix_no_slope():
    found = on_the_line(0.9, [0.85, 0.851, 0.849], [0.6, 0.55, 0.65], held_out=500, rows=500)
    shift = np.mean(ndtri([0.6, 0.55, 0.65])) - np.mean(ndtri([0.85, 0.851, 0.849]))
    assert found.value == pytest.approx(float(ndtr(ndtri(0.9) + shift)))


def test_models_that_agree_on_every_row_are_no_certainty():
    found = on_the_line(1.0, [1.0], [1.0], held_out=50, rows=50)
    assert found.value == pytest.approx(0.99)
    assert found.low < 0.95


def test_pairs_of_other_models_are_refused():
    with pytest.raises(ConfigError, match="same pairs"):
        on_the_line(0.9, [0.8], [0.8, 0.7], 100, 100)
    with pytest.raises(ConfigError, match="two models"):
        agreements([[0, 1, 1]])
