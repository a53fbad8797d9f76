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
from aet.adaptation.evidence import CAP, FRACTIONS, LARGEST_WEIGHT, PRIOR, Wealth, factors, interval, stakes
from aet.adaptation.guard import WAIT
from aet.errors import ConfigError

LOOKS = 300
MARGIN = 0.01
LIMIT = 20 * CAP


def by_hand(gains, weights, margin=MARGIN, level=0.05, span=2.0):
    """The recursion of `aet.adaptation.evidence`, stake by stake, for one stream: wealth after each label."""
    values, path = list(PRIOR), []
    for t, (d, w) in enumerate(zip(gains, weights, strict=True), start=1):
        for k, f in enumerate(FRACTIONS):
            values[k] *= 1 + f / max(span - margin, 0.2) * (w * d + margin)
        total, share = sum(values), 1 / (1000 + t)
        values = [(1 - share) * v + share * total * p for v, p in zip(values, PRIOR, strict=True)]
        values = [min(v, p * CAP / level) for v, p in zip(values, PRIOR, strict=True)]
        path.append(sum(values))
    return np.array(path)


def wealth_paths(gains, weights, spans=1.0):
    """Many streams at once: (S, N) -> wealths (S, N)."""
    wealth, path = Wealth(MARGIN, LIMIT, len(gains)), []
    for value, bound in zip((gains * weights).T, np.broadcast_to(spans, gains.shape).T, strict=True):
        wealth.step(value, bound)
        path.append(wealth.total)
    return np.stack(path, 1)


def boundary(name, streams, rng):
    """Gains and weights (S, N) whose weighted mean is exactly -margin, at every look, given all before."""
    uniform = rng.random((streams, LOOKS))
    ones = np.ones((streams, LOOKS))
    if name == "labels at random":
        disagree = np.full((streams, LOOKS), 0.2)
    elif name == "rare":
        disagree = np.full((streams, LOOKS), 0.011)
    elif name == "always":
        disagree = ones
    elif name == "changing":
        disagree = rng.choice([0.012, 0.05, 0.3, 1.0], (streams, LOOKS // 50)).repeat(50, 1)
    else:
        # Rows of two sorts, drawn with probability q instead of ½ and weighted ½ / q, so that E[w d] = (d_1 + d_2) / 2.
        q = rng.uniform(0.25, 0.75, (streams, LOOKS))
        first = rng.random((streams, LOOKS)) < q
        weights = np.where(first, 0.5 / q, 0.5 / (1 - q))
        mean = np.where(first, 0.3, -0.3 - 2 * MARGIN)
        return np.where(uniform < (1 + mean) / 2, 1.0, -1.0), weights
    win, loss = (disagree - MARGIN) / 2, (disagree + MARGIN) / 2
    return np.where(uniform < win, 1.0, np.where(uniform < win + loss, -1.0, 0.0)), ones


def mixed(rng, length, wins=0.25, losses=0.05):
    """Gains of one stream."""
    return rng.choice([1.0, -1.0, 0.0], length, p=[wins, losses, 1 - wins - losses])


def tolerance(streams, level=0.05):
    """The bound, and what chance may add to it."""
    return level + 3 * (level * (1 - level) / streams) ** 0.5


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


class TestLateAndMissing:
    def handed(self, order, d, w, guard=None):
        guard = guard or Earned()
        for start in range(0, len(d), 8):
            guard.expect([f"r{i}" for i in range(start, min(start + 8, len(d)))], w[start : start + 8].tolist())
        for i in order:
            guard.update(float(d[i]), float(w[i]), f"r{i}")
        return guard

    @settings(max_examples=12, deadline=None)
    @given(order=st.permutations(range(24)))
    def test_the_order_of_arrival_does_not_matter_in_the_end(self, order):
        rng = np.random.default_rng(1)
        d, w = mixed(rng, 24), rng.uniform(0.3, 1.9, 24)
        guard = self.handed(order, d, w)
        assert guard.wealth == pytest.approx(by_hand(d, w)[-1])
        assert guard.missing == 0
        assert guard.queue == guard.trail == []

    @settings(max_examples=25, deadline=None)
    @given(seed=st.integers(0, 10**6), come=st.lists(st.booleans(), min_size=40, max_size=40))
    def test_whatever_stays_away_nothing_is_served_that_all_labels_would_not_have_earned(self, seed, come):
        rng = np.random.default_rng(seed)
        d, w = mixed(rng, 40, 0.5, 0.1), rng.uniform(0.3, 1.9, 40)
        whole = by_hand(d, w)
        guard, order = Earned(), [int(i) for i in rng.permutation(40) if come[i]]
        guard.expect(range(40), w.tolist())
        for i in order:
            guard.update(float(d[i]), float(w[i]), i)
            assert guard.wealth <= max(1.0, whole.max()) + 1e-9 or whole.max() >= 20
            assert not guard.serving or (whole >= 20).any()

    def test_the_wealth_is_what_its_text_says(self):
        rng = np.random.default_rng(8)
        d, w = mixed(rng, 12, 0.6, 0.2), rng.uniform(0.4, 1.8, 12)
        came = [0, 1, 3, 7, 8, 9]
        guard = self.handed([3, 0, 9, 8, 1, 7], d, w)
        worst = np.where(np.isin(np.arange(12), came), d, -1.0)
        first = max(by_hand(worst[:10], w[:10])[1:])
        values = Wealth(MARGIN, LIMIT)
        for i in came:
            values.step(d[i] * w[i], 2.0)
        assert guard.wealth == pytest.approx(min(first, float(values.total)))
        assert guard.missing == 4
        assert "4 asked labels have not come" in guard.reason()

    def test_losses_that_never_come_do_not_serve(self):
        streams, served, fooled = 30, 0, 0
        rng = np.random.default_rng(9)
        for _ in range(streams):
            d, w = mixed(rng, 96, 0.19, 0.21), np.ones(96)
            order = [i for i in range(96) if d[i] >= 0]
            ever = []
            for policy in ("loss", "ignore"):
                guard = Earned(missing=policy)
                guard.expect(range(96), w.tolist())
                ever.append(False)
                for i in order:
                    guard.update(float(d[i]), 1.0, i)
                    ever[-1] |= guard.serving
            served, fooled = served + ever[0], fooled + ever[1]
        assert served / streams <= tolerance(streams)
        assert fooled / streams > 0.9, "what the rule is there for"

    def test_losses_count_at_once_though_earlier_labels_are_missing(self):
        guard = Earned()
        for _ in range(60):
            guard.update(1.0)
        guard.expect(range(12), [1.0] * 12, span=1.0)
        assert guard.serving, "what was only asked costs nothing"
        for i in range(1, 9):
            guard.update(-1.0, 1.0, i)
        assert not guard.serving

    def test_a_missing_label_costs_what_it_could_have_said(self):
        guard = Earned()
        for _ in range(60):
            guard.update(1.0)
        guard.expect(range(30), [1.8] * 29 + [0.5], [0.0] * 29 + [1.0], span=0.5)
        before = guard.wealth
        guard.update(1.0, 0.5, 29)
        assert guard.missing == 0
        assert guard.wealth >= before, "both answered them alike"

    def test_labels_to_come_do_not_unserve(self):
        guard = Earned()
        for _ in range(60):
            guard.update(1.0)
        guard.expect(range(16), [1.0] * 16)
        guard.update(1.0, 1.0, 15)
        assert guard.serving
        assert guard.missing == 15

    def test_a_label_counts_once_and_unasked_ones_come_last(self):
        guard = Earned()
        guard.expect(["a", "b"], [0.5, 1.5])
        guard.update(1.0, 1.0)
        assert [entry[0] for entry in guard.queue] == ["a", "b", None]
        guard.update(1.0, 1.5, "b")
        guard.update(-1.0, 0.5, "a")
        path = Wealth(MARGIN, LIMIT)
        for value, bound in ((-0.5, 2.0), (1.5, 2.0), (1.0, 1.0)):
            path.step(value, bound)
        assert guard.wealth == pytest.approx(float(path.total))
        assert guard.labels == 3

    def test_an_id_asked_again_answers_the_newer_row(self):
        guard = Earned()
        guard.expect(["a"], [0.5])
        guard.expect(["a"], [1.5])
        guard.update(1.0, 1.5, "a")
        assert [entry[2] for entry in guard.queue] == [None, 1.5]

    def test_what_is_waited_for_is_bounded(self):
        guard = Earned()
        guard.expect(range(WAIT + 40), [1.0] * (WAIT + 40))
        assert len(guard.queue) == WAIT
        wealth, labels = guard.wealth, guard.labels
        assert wealth == pytest.approx(by_hand([-1.0] * 40, [1.0] * 40)[-1])
        guard.update(1.0, 1.0, 3)
        assert (guard.wealth, guard.labels) == (wealth, labels + 1), "it was counted as lost"
        guard.update(1.0, 1.0, 40)
        assert guard.wealth > wealth


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
