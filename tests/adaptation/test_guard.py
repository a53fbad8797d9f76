"""The guard: what it promises, by simulation, and what it remembers."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta

from aet.adaptation import GUARDS, Always, Earned, Likely, Never
from aet.adaptation.ask import draw, span
from aet.adaptation.evidence import CAP, LARGEST_WEIGHT, PRIOR, Wealth, factors, interval, stakes
from aet.errors import ConfigError

from .wealth import LIMIT, LOOKS, MARGIN, boundary, by_hand, mixed, tolerance, wealth_paths


class TestPromise:
    @pytest.mark.parametrize("name", ["labels at random", "rare", "always", "changing", "weighted"])
    def test_a_losing_proposal_is_ever_served_in_at_most_one_of_twenty_streams(self, name):
        streams = 2000
        gains, weights = boundary(name, streams, np.random.default_rng(1))
        assert weights.max() <= LARGEST_WEIGHT
        assert abs((gains * weights).mean() + MARGIN) < 4 * (gains * weights).std() / gains.size**0.5
        ever = (wealth_paths(gains, weights, np.abs(gains * weights).max()) >= 20).any(1).mean()
        assert ever <= tolerance(streams)

    @settings(max_examples=50)
    @given(
        q=st.lists(st.floats(0, 1), min_size=2, max_size=8).filter(lambda v: sum(v) > 0),
        gains=st.lists(st.floats(-1, 1), min_size=8, max_size=8),
        margin=st.floats(0.001, 0.5),
    )
    def test_no_bet_gains_under_the_null_whatever_the_draw(self, q, gains, margin):
        rows = len(q)
        q = 0.5 / rows + 0.5 * np.array(q) / sum(q)
        d = np.array(gains[:rows])
        d = np.maximum(d - max(0.0, d.mean() + margin), -1)
        d -= np.minimum(d.mean() + margin, d + 1) * (d.mean() > -margin)
        values = np.minimum(1 / (rows * q), 2.0) * d
        bet = factors(values, margin, np.abs(values).max())
        assert (bet > 0).all()
        if d.mean() <= -margin:
            assert (q @ bet <= 1 + 1e-9).all()

    def test_every_factor_is_positive_over_the_whole_range(self):
        share, bound = np.meshgrid(np.linspace(-1, 1, 21), np.linspace(1e-6, 2, 41))
        for margin in (0.001, 0.01, 0.3, 0.9, -0.3, -0.99):
            assert (factors(share * bound, margin, bound) > 0).all()
        assert stakes(0.01, 0.3).max() == pytest.approx(0.8 / 0.29)
        assert stakes(0.01, 0.02).max() == pytest.approx(4), "what can say little is staked, but not without end"
        wealth = Wealth(0.01, LIMIT)
        wealth.step(0.01, 0.01)
        assert wealth.total == pytest.approx(1), "no margin can be lost here, so nothing is earned"

    def test_expected_wealth_never_grows_over_every_course_of_events(self):
        """All 6^4 streams of rows of two sorts, the odds chosen by an opponent who knows the wealth."""
        outcomes = list(itertools.product((-1.0, 0.0, 1.0), (0, 1)))
        expected = np.zeros(5)

        def go(values, steps, probability):
            wealth = Wealth(MARGIN, 2.0)  # a low cap and few steps: all three lines of the recursion act
            wealth.values, wealth.steps = values, steps
            expected[steps] += probability * float(wealth.total)
            if steps == 4:
                return
            rate = 1.0 if wealth.total > 1 else 0.3
            q = 0.7 if wealth.total > 1 else 0.3
            for d, sort in outcomes:
                tilt = 0.2 if sort else -0.2 - 2 * MARGIN  # the mean over the sorts is -margin
                chance = {1.0: (rate + tilt) / 2, -1.0: (rate - tilt) / 2, 0.0: 1 - rate}[d]
                later = wealth.after(d * 0.5 / (q if sort else 1 - q), 0.5 / 0.3)
                go(later.values, steps + 1, probability * chance * (q if sort else 1 - q))

        go(PRIOR, 0, 1.0)
        assert expected[0] == pytest.approx(1)
        assert (np.diff(expected) <= 1e-12).all()
        assert expected[4] > 0.5, "the bound is not idle"

    @pytest.mark.parametrize(("pool", "count", "rounds"), [(64, 8, 8), (24, 24, 6), (200, 4, 32)])
    def test_with_rows_that_ask_draws(self, pool, count, rounds):
        """Few answers differ, and those are drawn; losses sit where the model is unsure. All rows may be asked."""
        rng, streams, values, spans = np.random.default_rng(4), 120, [], []
        for _ in range(streams * rounds):
            unsure = rng.random(pool)
            differ = rng.permutation(pool) < 0.25 * pool
            gain = np.zeros(pool)
            gain[np.flatnonzero(differ)[np.argsort(unsure[differ])]] = 1.0
            lost = int(np.ceil((differ.sum() + MARGIN * pool) / 2))  # the mean over the rows is -margin or less
            gain[np.flatnonzero(differ)[np.argsort(-unsure[differ])[:lost]]] = -1.0
            free, apart = np.zeros(pool, bool), differ.astype(float)
            features = np.c_[unsure, rng.random((pool, 2))]
            rows, weight = draw(features, unsure, free, count, rng, apart)
            values.append(np.where(differ[rows], weight * gain[rows], -MARGIN))  # no bet where both answer alike
            spans.append(np.full(count, span(apart, free, count)))
        assert (np.abs(values) <= np.array(spans) + 1e-12).all()
        path = wealth_paths(np.reshape(values, (streams, -1)), 1.0, np.reshape(spans, (streams, -1)))
        assert (path >= 20).any(1).mean() <= tolerance(streams)

    def test_it_is_not_idle(self):
        """A proposal with equal answers may be served in the end: it does not lose a point."""
        path = wealth_paths(np.zeros((1, 2000)), np.ones((1, 2000)))
        assert path[0, 0] > 1
        assert path[0, -1] >= 20


class TestWealth:
    @pytest.mark.parametrize("name", ["labels at random", "changing", "weighted"])
    def test_the_class_is_the_formula(self, name):
        gains, weights = boundary(name, 6, np.random.default_rng(3))
        gains[:3] = np.where(gains[:3] < 0, 0, gains[:3])  # some that win
        for d, w in zip(gains, weights, strict=True):
            path, guard = by_hand(d, w, span=1.7), Earned()
            for look in range(LOOKS):
                guard.expect([look], [w[look]], span=1.7)
                guard.update(d[look], w[look], look)
                assert guard.wealth == pytest.approx(path[look], rel=1e-9)
                assert guard.serving == (guard.wealth >= 20 and guard.gain > 0)
                assert guard.wealth <= LIMIT * (1 + 1e-12)
        assert np.allclose(wealth_paths(gains, weights, 1.7)[-1], path)

    def test_capping_does_not_serve_more(self):
        gains, weights = boundary("changing", 500, np.random.default_rng(2))
        free = Wealth(MARGIN, 1e30, 500)
        for value in (gains * weights).T:
            free.step(value)
        assert (wealth_paths(gains, weights)[:, -1] <= free.total * (1 + 1e-12)).all()

    def test_labels_that_can_say_nothing_earn_nothing(self):
        guard = Earned()
        for start in range(0, 320, 16):
            guard.expect(range(start, start + 16), [1.9] * 16, [0.0] * 16, span=0.0)
            for row in range(start, start + 16):
                guard.update(0.0, 1.9, row)
        assert guard.wealth == pytest.approx(1)
        assert guard.reason().endswith("ask again")

    @pytest.mark.parametrize(("wins", "losses", "most"), [(0.25, 0.05, 48), (0.5, 0.02, 20), (1.0, 0.0, 9)])
    def test_power(self, wins, losses, most):
        gains = mixed(np.random.default_rng(5), (1500, LOOKS), wins, losses)
        served = wealth_paths(gains, np.ones_like(gains)) >= 20
        first = np.where(served.any(1), served.argmax(1) + 1, LOOKS)
        assert np.median(first) <= most
        assert served.any(1).mean() > 0.95

    def test_drops_a_proposal_that_turns_bad(self):
        rng = np.random.default_rng(6)
        gains = np.c_[mixed(rng, (300, 480)), mixed(rng, (300, 200), 0.0, 0.05)]
        served = wealth_paths(gains, np.ones_like(gains)) >= 20
        dropped = (~served[served[:, 479], 480:]).any(1)
        assert served[:, 479].mean() > 0.95
        assert dropped.mean() >= 0.9

    def test_one_loss_is_not_enough_and_few_are(self):
        guard = Earned()
        for _ in range(500):
            guard.update(1.0)
        assert 0.95 * LIMIT < guard.wealth <= LIMIT
        guard.update(-1.0)
        assert guard.serving
        for _ in range(5):
            guard.update(-1.0)
        assert not guard.serving

    def test_earns_again_after_a_bad_stretch(self):
        rng = np.random.default_rng(7)
        gains = np.c_[mixed(rng, (200, 320), 0.05, 0.1), mixed(rng, (200, 280))]
        served = wealth_paths(gains, np.ones_like(gains)) >= 20
        assert served[:, -1].mean() > 0.9


class TestInterval:
    def test_it_covers_the_gain_at_every_look(self):
        rng, streams, missed = np.random.default_rng(10), 60, 0
        for _ in range(streams):
            d, w = mixed(rng, 128, 0.3, 0.1), rng.choice([0.5, 1.5], 128)
            out = False
            for look in (8, 32, 64, 128):
                low, high = interval((d * w)[:look], np.full(look, 1.5), np.ones(look), 0.05)
                assert -1 <= low < high <= 1
                out |= not low <= 0.2 <= high
            missed += out
        assert missed / streams <= 0.1 + 3 * (0.1 * 0.9 / streams) ** 0.5

    def test_it_agrees_with_the_decision(self):
        rng = np.random.default_rng(11)
        for _ in range(8):
            guard = Earned()
            while not guard.serving:
                guard.update(float(mixed(rng, 1)[0]))
            assert guard.interval()[0] > -0.035, "served once the lower end is at about -1 point"

    def test_it_narrows_and_counts_repeats(self):
        one = interval(np.array([1.0, 0.0]), np.ones(2), np.array([20.0, 80.0]), 0.05)
        long = interval(np.array([1.0, 0.0]), np.ones(2), np.array([200.0, 800.0]), 0.05)
        apart = interval(np.repeat([1.0, 0.0], [20, 80]), np.ones(100), np.ones(100), 0.05)
        targeted = interval(np.array([1 / 3, 0.0]), np.full(2, 1 / 3), np.array([60.0, 40.0]), 0.05)
        assert one == pytest.approx(apart)
        assert one[0] < long[0] < 0.2 < long[1] < one[1]
        assert one[0] < targeted[0] < 0.2 < targeted[1] < one[1], "labels where the answers differ say more"

    @pytest.mark.parametrize("gain", [0.009, 0.011, -0.013])
    def test_small_gains_are_not_rounded_away(self, gain):
        guard = Earned()
        for row in range(3000):
            guard.expect([row], [1.0], [0.05], span=0.05)
            guard.update(gain, 1.0, row)
        low, high = guard.interval()
        assert low < gain < high
        assert high - low < 0.02

    def test_without_labels_everything_is_possible(self):
        assert Earned().interval() == (-1.0, 1.0)

    def test_the_reason_says_it_in_words(self):
        guard = Earned()
        for gain in [1.0] * 30 + [0.0] * 20 + [-1.0] * 2:
            guard.update(gain)
        low, high = guard.interval()
        said = guard.reason()
        assert "better than the source on 30, worse on 2" in said
        assert f"about +54 points, between {100 * low:+.0f} and {100 * high:+.0f} with 90 % confidence" in said
        found = guard.evidence()
        assert (found["labels"], found["wins"], found["losses"], found["missing"]) == (52, 30, 2, 0)
        assert found["gain"] == pytest.approx(28 / 52)


@pytest.mark.parametrize(
    "guard",
    [Earned(level=0.01, margin=0.05), Earned(missing="ignore"), Likely(bar=0.7), Always(), Never()],
    ids=lambda g: g.name,
)
def test_memory_goes_round(guard):
    guard.expect(["a", "b", 7], [0.7, 1.1, 1.4])
    for gain, weight, row in ((1.0, 2.0, None), (-0.5, 1.1, "b"), (0.0, 1.0, None), (1.0, 1.4, 7)):
        guard.update(gain, weight, row)
    copy = GUARDS[guard.name]()
    copy.load_dict(json.loads(json.dumps(guard.to_dict())))
    for look in range(30):
        assert (copy.wealth, copy.threshold, copy.serving) == (guard.wealth, guard.threshold, guard.serving)
        assert (copy.labels, copy.gain, copy.reason()) == (guard.labels, guard.gain, guard.reason())
        copy.update(0.8, 0.7, "a" if look == 3 else None)
        guard.update(0.8, 0.7, "a" if look == 3 else None)
    assert copy.to_dict() == guard.to_dict()
    assert copy.missing == 0


@pytest.mark.parametrize(("log", "wealth"), [(0.0, 1.0), (2.0, 7.389), (5.2, 20 * CAP)])
def test_a_guard_saved_by_an_earlier_version_goes_on_with_its_wealth(log, wealth):
    old = {"name": "earned", "labels": 40, "gain": 9.0, "level": 0.05, "margin": 0.01, "log_wealths": [log] * 16}
    guard = Earned()
    guard.load_dict(old)
    assert guard.wealth == pytest.approx(wealth, rel=1e-3)
    assert (guard.labels, guard.gain, guard.policy) == (40, 9.0, "loss")
    guard.update(1.0, 1.2, "asked before the save")
    assert guard.labels == 41
    assert guard.wealth > wealth or wealth == LIMIT
    assert "after 41 labels" in guard.reason()


def test_level_and_margin_count():
    patient, plain, lax = Earned(level=0.001), Earned(), Earned(margin=0.2)
    for guard in (patient, plain, lax):
        for _ in range(9):
            guard.update(1.0)
    assert patient.threshold == pytest.approx(1000)
    assert plain.serving
    assert not patient.serving
    assert lax.wealth > plain.wealth


@pytest.mark.parametrize("name", GUARDS)
@pytest.mark.parametrize(("gain", "weight"), [(1.01, 1), (-1.01, 1), (float("nan"), 1), (0, 0), (0, -1), (0, 2.01)])
def test_refuses_evidence_out_of_range(name, gain, weight):
    guard = GUARDS[name]()
    before = guard.to_dict()
    with pytest.raises(ConfigError, match="gains in"):
        guard.update(gain, weight)
    assert guard.to_dict() == before


@pytest.mark.parametrize("wrong", [{"level": 0}, {"level": 1}, {"margin": 0}, {"margin": 1.0}, {"missing": "?"}])
def test_earned_refuses_settings(wrong):
    with pytest.raises(ConfigError):
        Earned(**wrong)


@pytest.mark.parametrize("bar", [0, 1, -0.5, 90])
def test_likely_refuses_a_bar_that_is_no_probability(bar):
    with pytest.raises(ConfigError, match="between 0 and 1"):
        Likely(bar=bar)


def test_likely_is_the_posterior():
    guard = Likely()
    assert guard.wealth == pytest.approx(0.5)
    for gain, weight in ((1.0, 1.0), (1.0, 1.5), (-1.0, 0.5), (0.0, 1.0), (0.25, 2.0)):
        guard.update(gain, weight)
    assert guard.wealth == pytest.approx(1 - beta(0.5 + 1 + (1.5 + 0.5) / 2, 0.5 + 0.5 / 2).cdf(0.5))
    assert guard.serving == (guard.wealth > 0.9)
    for _ in range(5):
        guard.update(1.0)
    assert guard.serving
    for _ in range(20):
        guard.update(-1.0)
    assert not guard.serving


@pytest.mark.parametrize(("kind", "serving"), [(Always, True), (Never, False)])
def test_fixed_guards(kind, serving):
    guard = kind()
    for gain in (1.0, -1.0, -1.0, 1.0, 1.0):
        assert guard.serving is serving
        guard.update(gain)
    assert guard.labels == 5
    assert guard.gain == 1.0
    assert not guard.needs_labels
    assert ("served" if serving else "held") in guard.reason()


def test_what_loses_less_than_the_margin_and_wins_nothing_is_held():
    guard = Earned()
    for _ in range(2000):
        guard.update(-0.001)
    assert guard.wealth >= guard.threshold
    assert not guard.serving
    assert "wins nothing" in guard.reason()
    for _ in range(3):
        guard.update(1.0)
    assert guard.serving
    assert "wins nothing" not in guard.reason()
