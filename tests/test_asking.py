"""The benchmark of `ask`: each peer chooses what its rule says, and shares are counted as stated."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

import asking
from selection import SELECTIONS, Pool


def pool_of(rows=40, seed=0, labelled=()):
    rng = np.random.default_rng(seed)
    p = rng.dirichlet([0.5] * 3, rows)
    mask = np.zeros(rows, bool)
    mask[list(labelled)] = True
    return Pool(p, rng.normal(size=(rows, 4)), mask)


@pytest.mark.parametrize("name", SELECTIONS)
@pytest.mark.parametrize("count", [1, 7, 100])
def test_each_row_once_and_none_that_is_labelled(name, count):
    pool = pool_of(labelled=(0, 3, 9))
    rows = SELECTIONS[name](pool, count, np.random.default_rng(1))
    assert len(rows) == min(count, 37)
    assert len(set(rows.tolist())) == len(rows)
    assert not pool.labelled[rows].any()


def test_rows_that_are_all_alike_are_chosen_too():
    pool = Pool(np.full((6, 3), 1 / 3), np.ones((6, 2)), np.zeros(6, bool))
    for choice in SELECTIONS.values():
        assert sorted(choice(pool, 6, np.random.default_rng(0)).tolist()) == list(range(6))


def test_entropy_and_margin():
    p = np.array([[0.98, 0.01, 0.01], [0.5, 0.49, 0.01], [0.4, 0.3, 0.3], [0.7, 0.2, 0.1]])
    pool = Pool(p, np.eye(4), np.zeros(4, bool))
    rng = np.random.default_rng(0)
    assert SELECTIONS["entropy"](pool, 2, rng).tolist() == [2, 3], "entropies 0.11, 0.74, 1.09, 0.80"
    assert SELECTIONS["margin"](pool, 2, rng).tolist() == [1, 2]


def test_badge_is_k_means_on_gradients():
    pool = pool_of(30, 3, labelled=(2, 5))
    free = pool.free
    p, h = pool.answers[free], pool.summaries[free]
    gradients = np.einsum("nc,nd->ncd", p - np.eye(3)[p.argmax(1)], h).reshape(len(free), -1)

    class Noted:
        """A generator that notes the probabilities that it is asked to draw by."""

        def __init__(self):
            self.rng, self.seen = np.random.default_rng(4), []

        def choice(self, count, p):
            self.seen.append(p)
            return self.rng.choice(count, p=p)

    rng = Noted()
    rows = SELECTIONS["BADGE"](pool, 6, rng)
    chosen = [free.tolist().index(row) for row in rows.tolist()]
    assert chosen[0] == (gradients**2).sum(1).argmax()
    for step, noted in enumerate(rng.seen, start=1):
        apart = ((gradients[:, None] - gradients[chosen[:step]][None]) ** 2).sum(-1).min(1)
        assert noted == pytest.approx(apart / apart.sum(), abs=1e-9)


def test_coreset_takes_the_farthest():
    line = np.array([[0.0], [1.0], [4.0], [9.0], [10.0]])
    pool = Pool(np.full((5, 2), 0.5), line, np.array([True, False, False, False, False]))
    assert SELECTIONS["CoreSet"](pool, 3, np.random.default_rng(0)).tolist() == [4, 2, 1]


def test_shares():
    curves = {"random": [50.0, 60.0, 70.0], "ask": [50.0, 70.0, 80.0], "entropy": [50.0, 60.0, 65.0]}
    found = {("gas, batch 2", m): [curves.get(m, [50.0, 65.0, 75.0])] * 2 for m in asking.METHODS}
    made = {(r.method, r.stream): r.value for r in asking.records(found) if r.metric == "share"}
    stream = "gas, batch 2"
    assert made["random", stream] == 100
    assert made["ask", stream] == 50
    assert made["entropy", stream] == 200, "never reached"
    assert made["margin", stream] == 75, "between the rounds"
    assert asking.reached([1.0], 2.0) == math.inf
