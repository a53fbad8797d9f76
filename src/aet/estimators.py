"""aet behind scikit-learn's contract: `fit`, `predict` and `score`, in pipelines, cross-validation and searches."""

from __future__ import annotations

import copy
import numbers
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_array, check_consistent_length, check_random_state, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from aet.batch import Batch
from aet.config import Config
from aet.errors import DataError, SchemaError
from aet.model import Model
from aet.rows import check_rows
from aet.schema import infer
from aet.tables import read_table
from aet.training.train import train_on

if TYPE_CHECKING:
    from aet.adaptation.stream import Stream

Array = npt.NDArray[Any]
LEAST = 4
"""Rows that training needs, some of them held out."""
STEPS = 240
"""Steps of the optimiser that a small table gets when nobody says how many epochs."""


class _Elastic(BaseEstimator):  # type: ignore[misc]
    """What both estimators share: X becomes a frame with a schema, the parameters become a `Config`."""

    model_: Model

    def __init__(
        self,
        *,
        kinds: Mapping[str | int, str] | None = None,
        groups: Mapping[str, str | Sequence[str | int]] | None = None,
        weight: str | int | None = None,
        epochs: int | None = None,
        dim: int | None = None,
        depth: int | None = None,
        heads: int | None = None,
        lr: float | None = None,
        batch_size: int | None = None,
        dropout: float | None = None,
        drift: float | None = None,
        valid: float | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: bool = False,
    ) -> None:
        self.kinds = kinds
        self.groups = groups
        self.weight = weight
        self.epochs = epochs
        self.dim = dim
        self.depth = depth
        self.heads = heads
        self.lr = lr
        self.batch_size = batch_size
        self.dropout = dropout
        self.drift = drift
        self.valid = valid
        self.random_state = random_state
        self.verbose = verbose

    def stream(self, **settings: Any) -> Stream:
        """A deployed flow of rows with its own elastic state; arguments as in `aet.adaptation.stream.Stream`.

        Its tables have the columns of X by name: x0, x1, ... where X had no names.
        """
        check_is_fitted(self, "model_")
        return self.model_.stream(**settings)

    def _begin(self, X: Any, y: Any) -> tuple[Array, str]:
        """The target (N,) and its name; whatever was trained before is gone."""
        self.__dict__.pop("model_", None)  # should training fail, no model of other columns must answer
        validate_data(self, X, y, skip_check_array=True)
        name = getattr(y, "name", None)
        return column_or_1d(y, warn=True), name if isinstance(name, str) else "y"

    def _train(self, X: Any, y: Array, target: str, output: str) -> None:
        frame = self._table(X, reset=True)
        check_consistent_length(frame, y)
        if len(frame) < LEAST:
            raise DataError(
                f"Got n_samples = {len(frame)}: expected at least {LEAST} rows, some to train on and some to hold out. "
                "Give more rows."
            )
        while target in frame.columns:
            target += "_"
        frame[target] = y
        schema = infer(frame, target, output=output, **self._roles(list(frame.columns[:-1])))
        checked = check_rows(frame, schema, need_target=True, infinite="raise")
        _raise_problems(checked.problems, len(frame))
        if schema.weight is not None and not checked.frame[schema.weight].any():
            raise DataError(f"The weight column {schema.weight!r} is 0 in every row: expected some weight above 0.")
        self.model_ = train_on(checked.frame, schema, self._config(len(frame)), progress=bool(self.verbose))

    def _table(self, X: Any, *, reset: bool) -> pd.DataFrame:
        """X as a frame whose columns are called x0, x1, ... unless they have names."""
        if hasattr(X, "columns"):
            validate_data(self, X, reset=reset, skip_check_array=True)
            frame = read_table(X)
        else:
            cells = validate_data(self, X, reset=reset, dtype=None, ensure_all_finite="allow-nan")
            frame = pd.DataFrame(cells)
            if cells.dtype == object:
                _raise_objects(frame)
                frame = frame.infer_objects()
        names = getattr(self, "feature_names_in_", [f"x{place}" for place in range(self.n_features_in_)])
        return frame.set_axis([str(name) for name in names], axis="columns")

    def _roles(self, names: list[str]) -> dict[str, Any]:
        """Kinds, groups and weight by name, as `infer` takes them; positions are names too."""

        def named(given: str | int) -> str:
            if isinstance(given, str):
                return given
            if not isinstance(given, numbers.Integral) or not -len(names) <= given < len(names):
                raise SchemaError(f"There is no column {given!r}: expected a name, or 0 to {len(names) - 1}.")
            return names[int(given)]

        groups = {
            name: columns if isinstance(columns, str) else [named(column) for column in columns]
            for name, columns in (self.groups or {}).items()
        }
        kinds = {named(column): kind for column, kind in (self.kinds or {}).items()}
        return {"groups": groups, "kinds": kinds, "weight": None if self.weight is None else named(self.weight)}

    def _config(self, rows: int) -> Config:
        def given(*names: str) -> dict[str, Any]:
            return {name: getattr(self, name) for name in names if getattr(self, name) is not None}

        train = given("epochs", "lr", "batch_size", "drift", "valid")
        if self.random_state is None or isinstance(self.random_state, numbers.Integral):
            seed = int(self.random_state or 0)
        else:
            seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        config = Config.read({"model": given("dim", "depth", "heads", "dropout"), "train": train, "seed": seed})
        if self.epochs is not None:
            return config
        # The default of the epochs is meant for tables of thousands of rows; patience keeps its share of them.
        batches = ceil(rows * (1 - config.train.valid) / config.train.batch_size)
        epochs = max(config.train.epochs, ceil(STEPS / batches))
        patience = config.train.patience * epochs // config.train.epochs
        return config.model_copy(
            update={"train": config.train.model_copy(update={"epochs": epochs, "patience": patience})}
        )

    def _encoded(self, X: Any) -> Batch:
        """Rows to answer; raises DataError unless all of them can be."""
        check_is_fitted(self, "model_")
        frame = self._table(X, reset=False)
        schema = self.model_.schema
        # An answer does not depend on the row's weight, so it may be anything.
        checked = check_rows(frame.drop(columns=schema.weight or []), schema, infinite="raise")
        _raise_problems(checked.problems, len(frame))
        return self.model_.encode(checked.frame)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags


class ElasticClassifier(ClassifierMixin, _Elastic):  # type: ignore[misc]
    """Classifier on tables of numbers, categories, texts and images, with scikit-learn's contract.

    X is an array (N, D), or a pandas, polars or Arrow table whose columns may be of different kinds; missing values are
    welcome, infinite ones raise. What a column is follows from its cells (`aet.schema.infer`) unless `kinds` says so.
    Weights of rows are a column of X, so that they pass through splits and searches with their rows; `score` and the
    scorers of scikit-learn do not use them.

    Args:
        kinds: kind by column name or position where the inferred one is wrong: number, category, text, image, ignore.
        groups: several number columns as one token, `{"s00": ["a", "b"]}`, `{"s00": [0, 1]}` or `{"s00": "a:c"}`;
            columns without names are called x0, x1, ...
        weight: name or position of the column of X that holds the weight of each row; it is no input, and may hold
            anything when predicting.
        epochs: None for the default of `aet.config.TrainConfig`, or for as many as make 240 steps if rows are few.
        dim: channels of a token, as in `aet.config.ModelConfig`; None for its default, as below.
        depth: blocks.
        heads: attention heads.
        dropout: share of activations left out in training.
        lr: learning rate, as in `aet.config.TrainConfig`.
        batch_size: rows a batch.
        drift: strength of the simulated drift.
        valid: share of the rows held out.
        random_state: None for seed 0, so that the same rows always give the same model.
        verbose: show a progress bar.

    Attributes:
        classes_ (C,): the classes, sorted.
        model_: the `aet.Model`, which also saves itself, tells its statistics and opens streams.
        n_features_in_, feature_names_in_: as in scikit-learn.

    Raises:
        DataError, SchemaError, ConfigError: all of them ValueErrors; each says what was wrong and how to mend it.

    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(120, 2))
    >>> classifier = ElasticClassifier(epochs=20).fit(x, np.where(x[:, 0] > 0, "plus", "minus"))
    >>> classifier.predict([[2.0, 0.0], [-2.0, np.nan]]).tolist(), classifier.classes_.tolist()
    (['plus', 'minus'], ['minus', 'plus'])
    """

    classes_: Array

    def fit(self, X: Any, y: Any) -> ElasticClassifier:
        """Train on rows X (N, D) with classes y (N,)."""
        y, name = self._begin(X, y)
        check_array(y, ensure_2d=False, dtype=None, input_name="y", estimator=self)
        check_classification_targets(y)
        self.classes_ = np.unique(y)
        self._train(X, y, name, "label")
        return self

    def predict_proba(self, X: Any) -> Array:
        """Calibrated probabilities (N, C), columns in the order of `classes_`."""
        batch = self._encoded(X)
        answers = self.model_.output.answers(self.model_.logits(batch), proba=True)
        probabilities: Array = answers.iloc[:, -len(self.classes_) :].to_numpy()
        return probabilities

    def predict(self, X: Any) -> Array:
        """The most probable class of each row, (N,)."""
        places = self.predict_proba(X).argmax(1)
        classes: Array = self.classes_[places]
        return classes


class ElasticRegressor(RegressorMixin, _Elastic):  # type: ignore[misc]
    """Regressor on tables of numbers, categories, texts and images, with scikit-learn's contract.

    Arguments, attributes (but `classes_`) and errors as in `ElasticClassifier`. Answers are computed in float64: they
    must not depend on which rows are asked together, and sums in float32 do in their last digits.

    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(120, 2))
    >>> regressor = ElasticRegressor(epochs=20).fit(x, 3 * x[:, 0])
    >>> low, high = regressor.predict_interval([[1.0, 0.0]])[0]
    >>> bool(low <= regressor.predict([[1.0, 0.0]])[0] <= high)
    True
    """

    def fit(self, X: Any, y: Any) -> ElasticRegressor:
        """Train on rows X (N, D) with numbers y (N,)."""
        y, name = self._begin(X, y)
        y = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y", estimator=self)
        self._train(X, y, name, "number")
        return self

    def predict(self, X: Any) -> Array:
        """The expected value of each row, (N,)."""
        return self._answers(X)["prediction"].to_numpy()

    def predict_interval(self, X: Any) -> Array:
        """Lower and upper end (N, 2) of an interval that holds 90 % of the values, of rows like those held out."""
        return self._answers(X)[["lower", "upper"]].to_numpy()

    def _answers(self, X: Any) -> pd.DataFrame:
        batch = self._encoded(X)
        values = {name: t.double() if t.is_floating_point() else t for name, t in batch.values.items()}
        model = copy.deepcopy(self.model_).double()
        return model.output.answers(model.logits(replace(batch, values=values)))


def _raise_objects(frame: pd.DataFrame) -> None:
    """TypeError, in scikit-learn's words, for a cell that is no single value."""
    for column in frame:
        for row, cell in enumerate(frame[column]):
            if not pd.api.types.is_scalar(cell):
                raise TypeError(
                    f"Row {row + 1}, column {column}: the argument must be a string or a number, got "
                    f"{type(cell).__name__}. Give images and other objects as columns of a DataFrame."
                )


def _raise_problems(problems: Mapping[int, str], rows: int) -> None:
    if problems:
        shown = "; ".join([*problems.values()][:3])
        raise DataError(
            f"{len(problems)} of {rows} rows cannot be used: {shown}. Mend or drop them; aet.train keeps them aside."
        )
