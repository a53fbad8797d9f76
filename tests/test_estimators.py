"""scikit-learn's contract, and what the estimators add to it: mixed columns, declared weights, intervals, streams."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_iris, make_blobs
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from aet import ElasticClassifier, ElasticRegressor
from aet.errors import ConfigError, DataError, SchemaError

SMALL = {"epochs": 25, "dim": 16, "depth": 1, "heads": 2, "lr": 0.01}
TINY = {**SMALL, "epochs": 4, "dim": 8}


@parametrize_with_checks([ElasticClassifier(**{**SMALL, "epochs": 15}), ElasticRegressor(**SMALL)])
def test_contract(estimator, check):
    check(estimator)


def mixed(rows: int = 120, seed: int = 0) -> tuple[pd.DataFrame, pd.Series]:
    """Number, category and text columns with gaps; the answer follows the category."""
    rng = np.random.default_rng(seed)
    words = ["good", "bad", "film", "very", "plot"]
    frame = pd.DataFrame(
        {
            "size": rng.normal(size=rows),
            "town": rng.choice(["Oslo", "Rome", "Bonn"], rows),
            "note": [" ".join(rng.choice(words, 5)) for _ in range(rows)],
        }
    )
    answer = pd.Series(np.where(frame["town"] == "Oslo", "north", "south"), name="side")
    frame.loc[::7, "size"] = np.nan
    frame.loc[3, "note"] = None
    return frame, answer


def test_the_defaults_train_well_on_small_tables():
    x, y = make_blobs(n_samples=200, random_state=0)
    assert ElasticClassifier().fit(x[:100], y[:100]).score(x[100:], y[100:]) > 0.85
    x, y = load_diabetes(return_X_y=True)
    x = x[:, [2, 3, 8]]  # body mass, blood pressure, triglycerides
    assert ElasticRegressor().fit(x[:120], y[:120]).score(x[120:], y[120:]) > 0.25


def test_few_rows_get_more_epochs_unless_told():
    x, y = make_blobs(n_samples=20, random_state=0)
    auto = ElasticClassifier(dim=8, depth=1).fit(x, y).model_.config.train
    assert (auto.epochs, auto.patience) == (240, 80)
    assert ElasticClassifier(**TINY).fit(x, y).model_.config.train.epochs == 4


def test_parameters_reach_the_settings():
    x, y = make_blobs(n_samples=40, random_state=0)
    given = {"batch_size": 16, "dropout": 0.3, "drift": 0.5, "valid": 0.4, "random_state": 3}
    config = ElasticClassifier(**{**TINY, "epochs": np.int64(2)}, **given).fit(x, y).model_.config
    assert (config.model.dim, config.model.depth, config.model.heads, config.model.dropout) == (8, 1, 2, 0.3)
    train = config.train
    assert (train.epochs, train.lr, train.batch_size, train.drift, train.valid) == (2, 0.01, 16, 0.5, 0.4)
    assert config.seed == 3


def test_pipeline_cross_validation_and_search():
    x, y = load_iris(return_X_y=True)
    pipeline = make_pipeline(StandardScaler(), ElasticClassifier(**SMALL))
    assert cross_val_score(pipeline, x, y, cv=2).mean() > 0.85
    search = GridSearchCV(ElasticClassifier(**TINY), {"dim": [8, 16], "lr": [1e-5, 1e-2]}, cv=2).fit(x, y)
    assert search.best_params_["lr"] == 1e-2
    assert search.best_estimator_.model_.config.model.dim == search.best_params_["dim"]


@pytest.mark.parametrize("convert", [lambda f: f, pl.from_pandas, pa.Table.from_pandas])
def test_tables_of_mixed_columns(convert):
    frame, y = mixed()
    classifier = ElasticClassifier(**SMALL).fit(convert(frame), y)
    assert [spec.kind for spec in classifier.model_.schema.inputs] == ["number", "category", "text"]
    assert classifier.feature_names_in_.tolist() == ["size", "town", "note"]
    fresh, answer = mixed(seed=1)
    assert classifier.score(convert(fresh), answer) > 0.9
    assert classifier.model_.schema.target == "side"


def test_arrays_of_objects_are_read_like_tables():
    frame, y = mixed()
    cells = frame.to_numpy()
    classifier = ElasticClassifier(**TINY, kinds={2: "ignore"}).fit(cells, y)
    assert [(spec.name, spec.kind) for spec in classifier.model_.schema.inputs] == [
        ("x0", "number"),
        ("x1", "category"),
    ]
    assert len(classifier.predict(cells)) == len(frame)
    cells[4, 0] = {"a": 1}
    with pytest.raises(TypeError, match="Row 5, column 0: the argument must be a string or a number, got dict"):
        classifier.predict(cells)


def test_columns_by_name_and_by_position():
    x = np.random.default_rng(0).normal(size=(60, 4))
    y = np.where(x[:, 0] > 0, 1, 0)
    by_place = ElasticClassifier(**TINY, groups={"pair": [0, -3]}, kinds={2: "ignore"}).fit(x, y)
    assert by_place.model_.token_names() == ["pair", "x3"]
    frame = pd.DataFrame(x, columns=list("abcd"))
    by_name = ElasticClassifier(**TINY, groups={"pair": "a:b"}, kinds={"c": "ignore"}).fit(frame, y)
    np.testing.assert_array_equal(by_name.predict_proba(frame), by_place.predict_proba(x))


def test_a_target_called_like_a_column_gets_another_name():
    frame, y = mixed()
    classifier = ElasticClassifier(**TINY).fit(frame, y.rename("size"))
    assert classifier.model_.schema.target == "size_"


@pytest.mark.parametrize(
    "classes",
    [np.array([10, 9, 2]), np.array([2.0, 10.0, 9.0]), np.array(["b", "c", "a"]), np.array(["10", "9", "2"])],
)
def test_probabilities_stand_in_the_order_of_the_classes(classes):
    x, place = make_blobs(n_samples=90, centers=[[0, 0], [20, 0], [0, 20]], random_state=0)
    y = classes[place]
    classifier = ElasticClassifier(**SMALL).fit(x, y)
    assert classifier.classes_.tolist() == sorted(classes.tolist())
    assert classifier.classes_.dtype == classes.dtype
    proba = classifier.predict_proba(x)
    assert (classifier.classes_[proba.argmax(1)] == y).mean() > 0.95
    assert (classifier.predict(x) == classifier.classes_[proba.argmax(1)]).all()
    np.testing.assert_allclose(proba.sum(1), 1, rtol=1e-6)


def test_true_and_false_are_classes():
    x = np.random.default_rng(0).normal(size=(80, 2))
    classifier = ElasticClassifier(**SMALL).fit(x, x[:, 0] > 0)
    assert classifier.predict([[3.0, 0.0], [-3.0, 0.0]]).tolist() == [True, False]


def test_infinite_values_raise():
    frame, y = mixed()
    classifier = ElasticClassifier(**TINY).fit(frame, y)
    for bad in (frame.assign(size=np.inf), frame.assign(size=frame["size"].where(frame.index != 5, -np.inf))):
        with pytest.raises(DataError, match=r"column 'size': expected a finite number, got -?inf"):
            classifier.predict(bad)
        with pytest.raises(DataError, match=r"column 'size': expected a finite number"):
            clone(classifier).fit(bad, y)
    x, y = np.ones((10, 2)), np.arange(10.0)
    for bad in (np.inf, 1e300):
        x[3, 1] = bad
        with pytest.raises(ValueError, match=r"infinity|expected a finite number"):
            ElasticRegressor(**TINY).fit(x, y)


def test_rows_that_cannot_be_used_raise():
    frame, y = mixed()
    classifier = ElasticClassifier(**TINY).fit(frame, y)
    frame["size"] = frame["size"].astype(object)
    frame.loc[2, "size"] = "wide"
    with pytest.raises(DataError, match=r"1 of 120 rows cannot be used: row 3, column 'size': expected a number"):
        classifier.predict(frame)
    with pytest.raises(DataError, match="1 of 120 rows cannot be used"):
        classifier.fit(frame, y)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"weight": "mass"}, SchemaError, "there is no column 'mass'"),
        ({"weight": 7}, SchemaError, "no column 7: expected a name, or 0 to 2"),
        ({"kinds": {"town": "colour"}}, SchemaError, "no kind 'colour'"),
        ({"groups": {"pair": ["size", "town"]}}, SchemaError, "expected numbers"),
        ({"dim": 7}, ConfigError, "multiple of the heads"),
        ({"epochs": 0}, ConfigError, "train.epochs=0"),
    ],
)
def test_wrong_settings_say_so(settings, error, message):
    frame, y = mixed()
    with pytest.raises(error, match=message):
        ElasticClassifier(**{**TINY, **settings}).fit(frame, y)


def test_too_few_rows_and_classes_say_so():
    frame, y = mixed()
    with pytest.raises(DataError, match="n_samples = 3: expected at least 4 rows"):
        ElasticClassifier(**TINY).fit(frame[:3], y[:3])
    with pytest.raises(DataError, match="only 'south'"):
        ElasticClassifier(**TINY).fit(frame, ["south"] * len(frame))


def test_a_failed_fit_leaves_no_model():
    frame, y = mixed()
    classifier = ElasticClassifier(**TINY).fit(frame, y)
    with pytest.raises(DataError):
        classifier.fit(frame[["size"]], ["south"] * len(frame))
    with pytest.raises(NotFittedError):
        classifier.predict(frame[["size"]])


def test_weight_on_one_class_rules():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(200, 2)), rng.integers(0, 2, 200)
    for favoured in (0, 1):
        weighed = np.column_stack([x, np.where(y == favoured, 1.0, 0.0)])
        classifier = ElasticClassifier(**SMALL, weight=2).fit(weighed, y)
        assert classifier.model_.token_names() == ["x0", "x1"]
        assert (classifier.predict(weighed) == favoured).all()


def test_weight_two_is_the_row_given_twice():
    frame, y = mixed()
    frame["count"] = np.where(np.arange(len(frame)) % 3 == 0, 2.0, 1.0)
    model = ElasticClassifier(**TINY, weight="count").fit(frame, y).model_
    batch = model.encode(model.check(frame.assign(side=y)).frame, target=True)
    twice = torch.arange(len(batch)).repeat_interleave(batch.weight.long())
    logits = model.logits(batch)
    weighed = model.output.loss(logits, batch.target, batch.weight)
    torch.testing.assert_close(weighed, model.output.loss(logits[twice], batch.target[twice]))


def test_weights_pass_through_splits_and_are_not_needed_to_answer():
    frame, y = mixed()
    frame["count"] = 1.0
    classifier = ElasticClassifier(**SMALL, weight="count")
    assert cross_val_score(classifier, frame, y, cv=2).mean() > 0.9
    answers = classifier.fit(frame, y).predict_proba(frame)
    np.testing.assert_array_equal(answers, classifier.predict_proba(frame.assign(count=np.nan)))
    with pytest.raises(DataError, match="weight"):
        classifier.fit(frame.assign(count=frame["count"].where(frame.index != 3, -1.0)), y)
    with pytest.raises(DataError, match="0 in every row"):
        classifier.fit(frame.assign(count=0.0), y)


@pytest.mark.parametrize("make", [ElasticClassifier, ElasticRegressor])
def test_pickle_keeps_every_bit(make):
    frame, y = mixed()
    estimator = make(**TINY).fit(frame, np.arange(len(y)) % 2)
    again = pickle.loads(pickle.dumps(estimator))
    np.testing.assert_array_equal(again.predict(frame), estimator.predict(frame))
    assert again.get_params() == estimator.get_params()


def test_fits_repeat_and_leave_the_random_generators_alone():
    frame, y = mixed()
    torch.manual_seed(5)
    np.random.seed(5)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    first = ElasticClassifier(**TINY).fit(frame, y).predict_proba(frame)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()
    torch.manual_seed(6)
    np.testing.assert_array_equal(first, ElasticClassifier(**TINY).fit(frame, y).predict_proba(frame))
    np.testing.assert_array_equal(first, ElasticClassifier(**TINY, random_state=0).fit(frame, y).predict_proba(frame))
    drawn = [ElasticClassifier(**TINY, random_state=np.random.RandomState(s)).fit(frame, y) for s in (1, 1, 2)]
    answers = [estimator.predict_proba(frame) for estimator in drawn]
    np.testing.assert_array_equal(answers[0], answers[1])
    assert not np.array_equal(answers[0], answers[2])


def test_numbers_do_not_depend_on_the_rows_beside_them():
    x = np.random.default_rng(0).normal(size=(100, 3))
    regressor = ElasticRegressor(**TINY).fit(x, 1e9 + 1e6 * x.sum(1))
    together = regressor.predict(x)
    apart = np.concatenate([regressor.predict(x[[row]]) for row in range(len(x))])
    # float32 would be off by 0.1 or more here.
    np.testing.assert_allclose(together, apart, rtol=0, atol=1e-4)
    assert next(regressor.model_.parameters()).dtype == torch.float32


def test_intervals_hold_nine_of_ten():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(900, 2))
    y = 3 * x[:, 0] + rng.normal(size=900)
    regressor = ElasticRegressor(**SMALL, drift=0.0).fit(x[:500], y[:500])
    low, high = regressor.predict_interval(x[500:]).T
    assert 0.84 < ((low <= y[500:]) & (y[500:] <= high)).mean() < 0.97
    middle = regressor.predict(x[500:])
    assert ((low <= middle) & (middle <= high)).all()
    assert (high - low).mean() < 5


def test_a_stream_opens_on_the_fitted_model():
    x, y = make_blobs(n_samples=120, centers=2, random_state=0)
    classifier = ElasticClassifier(**SMALL)
    with pytest.raises(NotFittedError):
        classifier.stream()
    stream = classifier.fit(x, y).stream(guard="never")
    answers = stream.predict(x)
    assert (answers["prediction"].to_numpy() == classifier.predict(x)).all()
    assert set(answers["served_by"]) == {"source"}
