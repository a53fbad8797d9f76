"""Hold, adapt or retrain: each case, and that an advice is never silent."""

import itertools
import math

import pytest

from aet.errors import ConfigError
from aet.monitoring.advice import ENOUGH, PER_CLASS, Facts, advise
from aet.monitoring.performance import Estimate

FELL, WELL = Estimate(0.6, 0.52, 0.68, 150), Estimate(0.94, 0.9, 0.97, 150)


def test_nothing_known_is_held_with_the_labels_that_would_tell():
    found = advise(Facts(0.95))
    assert found.act == "hold"
    assert found.expected_gain == 0
    assert found.cost_rows_to_label == math.ceil(0.95 * 0.05 * (1.959964 / 0.05) ** 2)
    assert "is not known" in found.why


def test_drift_without_a_fall_is_held_and_asks_for_labels():
    found = advise(Facts(0.95, ["input"], estimate=Estimate(0.94, 0.9, 0.97, 256)))
    assert found.act == "hold"
    assert found.cost_rows_to_label > 0
    assert "that accuracy fell is not shown" in found.why
    assert "estimated without labels" in found.why


def test_an_estimated_fall_adapts_behind_the_guard():
    found = advise(Facts(0.95, ["input", "estimate"], estimate=FELL, adapt_seconds=2.0))
    assert found.act == "adapt"
    assert math.isnan(found.expected_gain)
    assert found.high == pytest.approx(0.35)
    assert found.cost_seconds == 2.0
    assert "behind the guard" in found.why


def test_a_proposal_that_gains_is_adapted():
    found = advise(Facts(0.95, ["error"], measured=FELL, gain=(0.25, 0.1, 0.4)))
    assert (found.act, found.expected_gain, found.low, found.high) == ("adapt", 0.25, 0.1, 0.4)
    assert found.cost_rows_to_label == 0


def test_what_the_proposal_does_not_bring_back_is_retrained():
    found = advise(Facts(0.95, ["error"], measured=FELL, gain=(0.06, 0.02, 0.1), classes=4, train_seconds=90))
    assert found.act == "retrain"
    assert found.expected_gain == pytest.approx(0.29)
    assert found.low == pytest.approx(0.95 - 0.68 - 0.06)
    assert found.cost_rows_to_label == 4 * PER_CLASS - 150
    assert found.cost_seconds == 90
    assert "an assumption" in found.why


def test_few_labels_decide_nothing():
    few = Estimate(0.4, 0.2, 0.6, ENOUGH - 1)
    found = advise(Facts(0.95, ["error"], measured=few))
    assert found.act == "hold"
    assert "that accuracy fell is not shown" in found.why


def test_a_proposal_that_harms_is_not_advised():
    found = advise(Facts(0.95, ["input"], estimate=FELL, gain=(-0.2, -0.3, -0.1)))
    assert found.act == "hold"
    assert "does not help" in found.why


def test_all_is_well():
    found = advise(Facts(0.95, measured=WELL))
    assert (found.act, found.cost_rows_to_label) == ("hold", 0)
    assert found.why.endswith("Nothing speaks for a change.")


def test_it_always_answers_with_reasons_and_numbers_in_order():
    signals = [(), ("input",), ("prediction", "error"), ("estimate",)]
    gains = [None, (0.0, -0.1, 0.1), (0.3, 0.2, 0.4), (-0.3, -0.4, -0.2)]
    for kinds, estimate, measured, gain, serves in itertools.product(
        signals, (None, FELL, WELL), (None, FELL, WELL), gains, (False, True)
    ):
        found = advise(Facts(0.95, kinds, estimate, measured, gain, serves, classes=3))
        assert found.act in ("hold", "adapt", "retrain")
        assert len(found.why) > 40
        assert found.low <= found.high
        assert math.isnan(found.expected_gain) or found.low <= found.expected_gain <= found.high
        assert found.cost_rows_to_label >= 0
        assert found.act != "retrain" or measured is not None
        assert all(kind in found.why for kind in kinds)


@pytest.mark.parametrize("wrong", [{"source_accuracy": 2}, {"source_accuracy": 0.9, "gain": (0.1, 0.2, 0.3)}])
def test_facts_that_cannot_be_are_refused(wrong):
    with pytest.raises(ConfigError):
        Facts(**wrong)
    with pytest.raises(ConfigError, match="worth"):
        advise(Facts(0.9), worth=-1)
