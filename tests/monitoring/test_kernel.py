"""Features as a few numbers, and mean embeddings."""

import numpy as np
import pytest

from aet.errors import ConfigError
from aet.monitoring.kernel import Embedded, View, discrepancy
from aet.monitoring.two_samples import classifier_test, mmd_test


def test_waves_give_the_kernel():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(60, 3))
    products = np.zeros((60, 60))
    for seed in range(40):
        view = View.of(rows, seed)
        products += view.embed(rows) @ view.embed(rows).T / 40
    apart = np.square(rows[:, None] - rows[None]).sum(-1)
    sigma = np.median(apart[np.triu_indices(60, 1)])
    assert products == pytest.approx(np.exp(-apart / (2 * sigma)), abs=0.08)


def test_numbers_are_components_and_what_lies_beside_them():
    rng = np.random.default_rng(1)
    spread = rng.normal(size=(200, 40)) * np.r_[3.0, np.ones(15), np.full(24, 0.1)]
    view = View.of(spread)
    assert view.names == (*(f"component {i}" for i in range(1, 7)), "residual", "kernel")
    moved = np.zeros(40)
    moved[-10:] = 3.0
    found = view.numbers(np.stack([spread[0], spread[0] + moved, np.full(40, np.nan)]))
    assert found[1, :6] == pytest.approx(found[0, :6], abs=0.2)
    assert found[1, 6] > 2 * found[0, 6]
    assert np.isnan(found[2]).all()
    flat = rng.normal(size=(200, 2)) @ rng.normal(size=(2, 5))
    assert View.of(flat).names == ("component 1", "component 2", "kernel")


def test_a_view_goes_to_arrays_and_back():
    rng = np.random.default_rng(2)
    view, rows = View.of(rng.normal(size=(50, 4))), rng.normal(size=(5, 4))
    assert np.array_equal(View.from_arrays(view.to_arrays()).numbers(rows), view.numbers(rows))
    with pytest.raises(KeyError):
        View.from_arrays({"center": np.zeros(4)})


def test_discrepancy_grows_with_the_shift_and_is_chance_without():
    rng = np.random.default_rng(3)
    known = rng.normal(size=(400, 4))
    view = View.of(rng.normal(size=(400, 4)))
    found = []
    for shift in (0.0, 0.5, 2.0):
        newest = Embedded(len(view.mean))
        for _ in range(10):
            newest.take(view.embed(rng.normal(size=(30, 4)) + shift))
        found.append(discrepancy(view.embed(known).mean(0), 400, newest))
    assert found[0]["mmd"] < 1.6 * found[0]["by_chance"]
    assert found[0]["mmd"] < found[1]["mmd"] < found[2]["mmd"]
    assert found[2]["mmd"] > 4 * found[2]["by_chance"]


@pytest.mark.parametrize("test", [mmd_test, classifier_test])
def test_one_look_is_false_as_often_as_stated(test):
    rng = np.random.default_rng(4)
    looks = 60 if test is classifier_test else 200
    false = [test(rng.normal(size=(40, 3)), rng.normal(size=(30, 3)), 0.1, 39, seed).drifted for seed in range(looks)]
    assert 0 < np.mean(false) <= 0.1 + 2.5 * (0.09 / looks) ** 0.5


@pytest.mark.parametrize("test", [mmd_test, classifier_test])
def test_a_shift_is_seen_and_the_threshold_agrees(test):
    rng = np.random.default_rng(5)
    known, rows = rng.normal(size=(80, 3)), rng.normal(size=(60, 3))
    near, far = test(known, rows), test(known, rows + np.array([1.5, 0, 0]))
    assert far.drifted
    assert far.statistic > far.threshold
    assert far.p == pytest.approx(1 / 200)
    assert near.drifted == (near.statistic > near.threshold)


@pytest.mark.parametrize("test", [mmd_test, classifier_test])
@pytest.mark.parametrize(
    ("known", "rows", "settings"),
    [
        (np.zeros((5, 2)), np.zeros((5, 3)), {}),
        (np.zeros((0, 2)), np.zeros((5, 2)), {}),
        (np.zeros((5, 2)), np.full((5, 2), np.nan), {}),
        (np.zeros((5, 2)), np.zeros((5, 2)), {"level": 0.001}),
    ],
)
def test_what_cannot_be_tested_is_refused(test, known, rows, settings):
    with pytest.raises(ConfigError):
        test(known, rows, **settings)


def test_a_view_needs_rows():
    with pytest.raises(ConfigError, match="two rows or more"):
        View.of(np.full((5, 2), np.nan))
