"""What the guard `earned` makes of labels that come late, out of order or never."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aet.adaptation import Earned
from aet.adaptation.evidence import Wealth
from aet.adaptation.guard import WAIT

from .wealth import LIMIT, MARGIN, by_hand, mixed, tolerance


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
