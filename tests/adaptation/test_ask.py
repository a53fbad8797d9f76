"""Which rows are asked for: the probabilities are the stated ones, so the weights undo them."""

from __future__ import annotations

import numpy as np
import pytest

from aet.adaptation.ask import LEAST, draw, evenly, span


def rows_of(count=30, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, 3)), rng.random(count), np.zeros(count, bool)


def probabilities(features, unsure, chosen, free):
    """The formula, row by row."""
    centred = features - features.mean(0)
    f = [row / np.linalg.norm(row) for row in centred]
    worth = {}
    for i in free:
        distance = min([float(np.sum((f[i] - f[k]) ** 2)) for k in chosen], default=4.0)
        worth[i] = (unsure[i] + 0.1) * distance
    total = sum(worth.values())
    return {i: 0.5 / len(free) + 0.5 * worth[i] / total for i in free}


class Ordered:
    """A generator that leaves the order of the draws as it was."""

    def __init__(self, seed):
        self.choice = np.random.default_rng(seed).choice

    @staticmethod
    def permutation(count):
        return np.arange(count)


@pytest.mark.parametrize("taken", [[], [0, 7, 29]])
@pytest.mark.parametrize("count", [1, 12, 27])
def test_weights_are_those_of_the_formula(taken, count):
    features, unsure, mask = rows_of()
    mask[taken] = True
    rows, weights = draw(features, unsure, mask, count, Ordered(1))
    chosen, free = list(taken), [i for i in range(30) if i not in taken]
    whole = len(free)
    assert len(rows) == count
    for m, (row, weight) in enumerate(zip(rows.tolist(), weights.tolist(), strict=True), start=1):
        q = probabilities(features, unsure, chosen, free)
        assert sum(q.values()) == pytest.approx(1)
        share = (whole - count) / (whole - m) if whole > m else 0
        assert weight == pytest.approx(1 + share * (1 / ((whole - m + 1) * q[row]) - 1))
        chosen.append(row)
        free.remove(row)


def test_rows_come_with_those_probabilities():
    features, unsure, taken = rows_of(8)
    rng, counts, pairs = Ordered(2), np.zeros(8), np.zeros(8)
    for _ in range(6000):
        rows, _ = draw(features, unsure, taken, 2, rng)
        counts[rows[0]] += 1
        pairs[rows[1]] += rows[0] == 3
    q = probabilities(features, unsure, [], list(range(8)))
    expected = 6000 * np.array([q[i] for i in range(8)])
    assert (np.abs(counts - expected) < 4.5 * expected**0.5).all()
    later = probabilities(features, unsure, [3], [i for i in range(8) if i != 3])
    second = counts[3] * np.array([later.get(i, 0) for i in range(8)])
    assert (np.abs(pairs - second) <= 4.5 * np.maximum(second, 1) ** 0.5).all()
    assert pairs[3] == 0


@pytest.mark.parametrize("count", [1, 12, 27])
def test_where_answers_differ_rows_come_by_how_much(count):
    features, unsure, taken = rows_of()
    apart = np.where(np.arange(30) % 3 == 0, np.linspace(0.1, 1, 30), LEAST / 2)
    rows, weights = draw(features, unsure, taken, count, Ordered(1), apart)
    bound, free = span(apart, taken, count), list(range(30))
    for m, (row, weight) in enumerate(zip(rows.tolist(), weights.tolist(), strict=True), start=1):
        told = sum(apart[i] for i in free if apart[i] >= LEAST)
        if not told:
            break  # from here on as if none differed
        q = 0.5 / len(free) + 0.5 * (apart[row] * (apart[row] >= LEAST)) / told
        assert weight == pytest.approx(1 + (30 - count) / (30 - m) * (1 / (len(free) * q) - 1))
        assert weight * apart[row] <= bound + 1e-12
        free.remove(row)
    assert m >= min(count, 10)


@pytest.mark.parametrize("share", [0.0, 0.02, 0.2, 1.0])
@pytest.mark.parametrize("count", [1, 16, 60])
def test_no_label_says_more_than_the_bound_of_before(share, count):
    rng = np.random.default_rng(5)
    for trial in range(30):
        features, unsure, taken = rows_of(60, trial)
        taken[:5] = trial % 2 == 1
        apart = (rng.random(60) < share) * rng.choice([1.0, 0.3, 0.004], 60)
        other = np.maximum(apart, rng.random(60) * 0.1)
        rows, weights = draw(features, unsure, taken, count, rng, apart)
        assert (weights * apart[rows]).max(initial=0) <= span(apart, taken, count) + 1e-12
        assert (weights * other[rows]).max(initial=0) <= span(apart, taken, count, other) + 1e-12
        assert span(apart, taken, count) <= max(1.0, 2 * LEAST)


def test_unsure_and_distant_rows_come_more_often():
    features, _, taken = rows_of(40)
    unsure = np.zeros(40)
    unsure[:4] = 1.0
    rng = np.random.default_rng(3)
    hits = np.mean([np.isin(draw(features, unsure, taken, 4, rng)[0], range(4)).sum() for _ in range(400)])
    assert hits > 3 * 4 * 4 / 40


@pytest.mark.parametrize(("count", "prefix"), [(1, 1), (6, 6), (12, 12), (12, 5), (20, 20), (20, 3)])
def test_the_weighted_mean_is_unbiased(count, prefix):
    """However many of the rows are drawn, and if only the first few of them get their label."""
    features, unsure, taken = rows_of(20, seed=4)
    gains = np.where(unsure > 0.5, 1.0, -0.8)  # worth and gain go together: without weights the mean is far off
    rng, weighted, plain = np.random.default_rng(5), [], []
    for _ in range(1500):
        rows, weights = draw(features, unsure, taken, count, rng)
        rows, weights = rows[:prefix], weights[:prefix]
        weighted.append((weights * gains[rows]).mean())
        plain.append(gains[rows].mean())
    error = np.std(weighted) / len(weighted) ** 0.5 + 1e-12
    assert abs(np.mean(weighted) - gains.mean()) < 4 * error
    if count < 12:
        assert abs(np.mean(plain) - gains.mean()) > 6 * error


@pytest.mark.parametrize("seed", range(5))
def test_no_row_twice_and_no_weight_over_two(seed):
    features, unsure, taken = rows_of(25, seed)
    taken[::3] = True
    before = taken.copy()
    rows, weights = draw(features, unsure, taken, 1000, np.random.default_rng(seed))
    assert sorted(rows.tolist()) == np.flatnonzero(~before).tolist()
    assert (weights <= 2).all()
    assert (weights > 0).all()
    assert np.array_equal(taken, before), "the caller's mask stays"


def test_nothing_left():
    features, unsure, _ = rows_of(5)
    rows, weights = draw(features, unsure, np.ones(5, bool), 3, np.random.default_rng(0))
    assert len(rows) == len(weights) == 0


@pytest.mark.parametrize("feature", [0.0, float("nan"), float("inf")])
def test_rows_that_cannot_be_told_apart_are_drawn_evenly(feature):
    rng, counts = np.random.default_rng(6), np.zeros(6)
    for _ in range(600):
        rows, weights = draw(np.full((6, 2), feature), np.full(6, np.nan), np.zeros(6, bool), 2, rng)
        counts[rows] += 1
        assert weights[0] == pytest.approx(1)
        assert len(set(rows.tolist())) == 2
    assert counts.min() > 130


def test_the_same_seed_draws_the_same():
    features, unsure, taken = rows_of()
    one = draw(features, unsure, taken, 6, np.random.default_rng(9))
    other = draw(features, unsure, taken, 6, np.random.default_rng(9))
    assert np.array_equal(one[0], other[0])
    assert np.array_equal(one[1], other[1])


def test_of_many_rows_few_are_looked_at_and_the_weighted_mean_stays_that_of_all():
    rng, rows = np.random.default_rng(0), 400
    taken = np.arange(rows) % 10 == 0
    gains = np.sin(np.arange(rows)) + (np.arange(rows) > 200)
    features, unsure = rng.normal(size=(rows, 3)), rng.random(rows)
    apart = (rng.random(rows) < 0.3).astype(float)
    for told in (None, apart):
        means = []
        for _ in range(3000):
            even = evenly(np.flatnonzero(~taken), 40, rng)
            looked = np.sort(np.concatenate([np.flatnonzero(taken), even]))
            assert len(looked) == taken.sum() + 40
            b = None if told is None else told[looked]
            positions, weights = draw(features[looked], unsure[looked], taken[looked], 10, rng, b)
            means.append(float((weights * gains[looked[positions]]).mean()))
        truth = gains[~taken].mean()
        assert abs(np.mean(means) - truth) < 4 * np.std(means) / len(means) ** 0.5
