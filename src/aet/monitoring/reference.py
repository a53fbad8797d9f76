"""What a watch compares with: sketches of the columns, features, answers and errors of known rows; never the rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from aet.errors import ConfigError
from aet.monitoring.kernel import View
from aet.monitoring.performance import HeldOut
from aet.monitoring.sketch import Sketch

Floats = npt.NDArray[np.float64]

SKETCHES = ("columns", "features", "answers", "errors")


def answered(probabilities: Any) -> dict[str, Floats]:
    """What is watched of answers: the class and its probability of (N, C), the number itself of (N,).

    >>> {name: found.tolist() for name, found in answered([[0.2, 0.8], [0.7, 0.3]]).items()}
    {'class': [1.0, 0.0], 'confidence': [0.8, 0.7]}
    """
    given = np.asarray(probabilities, dtype=float)
    if given.ndim == 1:
        return {"number": given}
    if given.ndim != 2 or not given.shape[1]:
        raise ConfigError(f"Answers are probabilities (N, C) or numbers (N,): got shape {given.shape}.")
    lost = np.isnan(given).any(-1)
    known = np.where(lost[:, None], 0.0, given)
    # Rounded, so that which rows passed together changes nothing.
    classes, sure = known.argmax(-1).astype(float), np.round(known.max(-1), 5)
    return {"class": np.where(lost, np.nan, classes), "confidence": np.where(lost, np.nan, sure)}


@dataclass(frozen=True)
class Reference:
    """Any part may be missing: a `Watch` then learns it from the first rows of its stream.

    columns: training rows. features, answers, errors: held-out rows, since a model is surer of rows that it learned;
    `view`, how features are looked at, and `mean` (R,), their mean embedding. held_out: what accuracy is estimated by.
    """

    columns: Sketch | None = None
    features: Sketch | None = None
    answers: Sketch | None = None
    errors: Sketch | None = None
    view: View | None = None
    mean: Floats | None = None
    held_out: HeldOut | None = None

    @classmethod
    def of(
        cls,
        columns: Mapping[str, Any] | None = None,
        features: Any = None,
        probabilities: Any = None,
        errors: Any = None,
        known_features: Any = None,
        held_out: HeldOut | None = None,
        seed: int = 0,
    ) -> Reference:
        """Of rows at hand.

        Args:
            columns: of training rows, one array a column: numbers, names or None.
            features: of held-out rows (n, D).
            probabilities: of their answers (n, C), or numbers answered (n,).
            errors: of their answers (n,), each 0 (right) to 1 (wrong).
            known_features: of other rows, to which the view of features is fitted.
            held_out: figures by which accuracy is estimated.
            seed: of draws.

        >>> rng = np.random.default_rng(0)
        >>> reference = Reference.of({"x": rng.normal(size=500)}, errors=rng.random(90) < 0.1)
        >>> reference.columns.rows, reference.errors.rows, reference.answers
        (500, 90, None)
        """
        view = View.of(known_features, seed) if features is not None and known_features is not None else None
        seen = None if view is None else np.asarray(features, float)
        return cls(
            columns=Sketch.of(columns, seed=seed) if columns else None,
            features=None if view is None or seen is None else sketch_of_features(view, seen, seed),
            answers=None if probabilities is None else Sketch.of(answered(probabilities), seed=seed),
            errors=None if errors is None else Sketch.of({"error": np.asarray(errors, float)}, seed=seed),
            view=view,
            mean=None if view is None or seen is None else view.embed(seen).mean(0),
            held_out=held_out,
        )

    def to_arrays(self) -> dict[str, Any]:
        """By name, to be saved."""
        parts = {name: getattr(self, name) for name in (*SKETCHES, "view", "held_out")}
        named = {
            f"{name}.{array}": value
            for name, part in parts.items()
            if part is not None
            for array, value in part.to_arrays().items()
        }
        return named if self.mean is None else {**named, "mean": self.mean}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> Reference:
        """Take back what `to_arrays` gave; KeyError or ValueError if something is missing or does not fit."""

        def part(name: str, made: Any) -> Any:
            own = {n.removeprefix(f"{name}."): a for n, a in arrays.items() if n.startswith(f"{name}.")}
            return made.from_arrays(own) if own else None

        sketches = {name: part(name, Sketch) for name in SKETCHES}
        mean = np.asarray(arrays["mean"], float) if "mean" in arrays else None
        return cls(**sketches, view=part("view", View), held_out=part("held_out", HeldOut), mean=mean)


def sketch_of_features(view: View, features: Floats, seed: int) -> Sketch:
    """Of what the view shows of features (n, D)."""
    return Sketch.of(dict(zip(view.names, view.numbers(features).T, strict=True)), seed=seed)
