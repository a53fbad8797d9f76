"""Answers only where a model is sure: the promise holds as often as it says, and what cannot be promised is refused."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

import aet
from aet.errors import ConfigError
from aet.monitoring.selective import Bar, most_wrong


def drawn(rng, rows):
    """Confidences between a half and one, each right with the probability 0.4 + 0.6 c²."""
    sure = rng.uniform(0.5, 1.0, rows)
    return sure, rng.uniform(size=rows) < 0.4 + 0.6 * sure**2


def truly_wrong(threshold):
    """Of answers surer than the threshold: the mean of 0.6 - 0.6 c² over (t, 1)."""
    t = max(threshold, 0.5)
    return 0.6 - 0.2 * (1 - t**3) / (1 - t)


@pytest.mark.parametrize(("wrong", "rows"), [(0, 30), (4, 60), (59, 60)])
def test_the_bound_is_where_so_few_wrong_ones_would_be_rare(wrong, rows):
    assert binom.cdf(wrong, rows, most_wrong(wrong, rows, 0.05)) == pytest.approx(0.05)


def test_the_promise_is_broken_no_more_often_than_it_says():
    rng, broken, shares = np.random.default_rng(0), 0, []
    for _ in range(300):
        bar = Bar.of(*drawn(rng, 800), wrong=0.2, certainty=0.8)
        broken += truly_wrong(bar.threshold) > 0.2
        shares.append(bar.share)
    assert 0.02 < broken / 300 <= 0.2
    assert 0.5 < np.mean(shares) < 0.76  # truly 20 % wrong are reached with 76 % answered


def test_a_bar_says_what_it_was_set_by():
    sure, right = drawn(np.random.default_rng(1), 600)
    bar = Bar.of(sure, right, wrong=0.2, certainty=0.95)
    looked = np.arange(600) % 10 != 0
    above = looked & (sure > bar.threshold)
    assert bar.threshold in sure[~looked]
    assert (bar.rows, bar.wrong, bar.share) == (above.sum(), (above & ~right).sum(), above.sum() / looked.sum())
    assert bar.bound == most_wrong(bar.wrong, bar.rows, 0.05) <= 0.2
    lower = sure[~looked][sure[~looked] < bar.threshold]
    more = looked & (sure > np.sort(lower)[-600 // 10 // 20])
    assert most_wrong((more & ~right).sum(), more.sum(), 0.05) > 0.2, "the next bar breaks the promise"


def test_labels_of_the_rows_that_place_the_bars_count_for_nothing():
    sure, right = drawn(np.random.default_rng(1), 600)
    other = np.where(np.arange(600) % 10 == 0, ~right, right)
    assert Bar.of(sure, right, 0.2, 0.95) == Bar.of(sure, other, 0.2, 0.95)


def test_equal_confidences_are_answered_or_declined_together():
    sure = np.repeat([0.9, 0.6], 300)
    right = np.concatenate([np.ones(300), np.tile([1, 0], 150)])
    bar = Bar.of(sure, right, wrong=0.1, certainty=0.95)
    assert (bar.threshold, bar.rows, bar.wrong) == (0.6, 270, 0)
    assert bar([0.9, 0.6, np.nan]).tolist() == [True, False, False]


def test_all_are_answered_where_all_are_right():
    bar = Bar.of(np.full(200, 0.7), np.ones(200), wrong=0.1, certainty=0.95)
    assert bar.share == 1
    assert bar([0.1]).all()


@pytest.mark.parametrize(
    ("rows", "right", "settings", "message"),
    [
        (60, 1.0, {}, "give 159 or more"),
        (300, 0.5, {}, "do not show"),
        (300, 1.0, {"wrong": 0.0}, "between 0 and 1"),
        (300, 1.0, {"certainty": 1.0}, "between 0 and 1"),
    ],
)
def test_what_cannot_be_promised_is_refused(rows, right, settings, message):
    rng = np.random.default_rng(0)
    with pytest.raises(ConfigError, match=message):
        Bar.of(rng.uniform(size=rows), rng.uniform(size=rows) < right, **{"wrong": 0.1, "certainty": 0.95, **settings})


def test_a_confidence_that_is_no_number_is_refused():
    with pytest.raises(ConfigError, match="finite"):
        Bar.of([0.5, np.nan], [1, 1], wrong=0.1, certainty=0.95)


def noisy(rows, seed, names=("minus", "plus")):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 2))
    sign = (x.sum(1) + rng.normal(size=rows) > 0).astype(int)
    return pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "sign": np.array(names)[sign]})


@pytest.fixture(scope="module")
def model():
    settings = {"model": {"dim": 16, "depth": 1}, "train": {"epochs": 10, "rehearsals": 0}}
    return aet.train(noisy(400, 0), target="sign", config=settings)


def test_a_model_declines_and_says_so(model):
    new = noisy(400, 2)
    sure = aet.Selective(model, noisy(800, 1), wrong=0.15)
    given, answers = sure(new), sure.predict(new)
    assert 0.2 < given.mean() < 0.9
    assert (answers["prediction"].isna() == ~given).all()
    assert answers.loc[~given, "problem"].str.contains("not sure").all()
    assert answers.loc[given, "problem"].isna().all()
    wrong = model.predict(new)["prediction"] != new["sign"]
    assert wrong[given].mean() < 0.15 < wrong.mean()


def test_an_unusable_row_is_no_answer_and_keeps_its_own_problem(model):
    sure = aet.Selective(model, noisy(800, 1), wrong=0.15)
    new = noisy(3, 2).astype({"a": object})
    new.loc[1, "a"] = "broken"
    answers = sure.predict(new)
    assert not sure(new)[1]
    assert "not sure" not in answers["problem"][1]


def test_rows_of_an_unknown_class_count_as_wrong(model):
    known = pd.concat([noisy(800, 1), noisy(500, 3, names=("other", "other"))])
    with pytest.raises(ConfigError, match="do not show"):
        aet.Selective(model, known, wrong=0.15)


def test_numbers_are_neither_right_nor_wrong():
    frame = noisy(80, 0).assign(sum=lambda rows: rows["a"] + rows["b"])
    model = aet.train(frame[["a", "b", "sum"]], target="sum", config={"train": {"epochs": 1, "rehearsals": 0}})
    with pytest.raises(ConfigError, match="classes"):
        aet.Selective(model, frame)
