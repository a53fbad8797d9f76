"""Pooled features as a few numbers a row, and the kernel mean of many rows: moments, never rows.

With random Fourier features (Rahimi and Recht 2007) of an RBF kernel

    φ(z) = √(2/R) cos(Wᵀz + b),   W ~ N(0, 1/σ²),  b ~ U(0, 2π),    E φ(z)·φ(z') = exp(-|z - z'|² / 2σ²)

the mean embedding μ = mean φ(z) is itself a moment, and the maximum mean discrepancy of two sets of rows (Gretton et
al. 2012) is MMD² = |μ - μ'|². z are the first principal components of the features, σ the median distance of two rows.

For tests row by row each row gives some numbers whose meaning is fixed beforehand, on other rows than the reference:
its first components, how far it lies from all components kept, and φ(z)·μ, its kernel with the rows known: the witness
of MMD between them and this row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from aet.errors import ConfigError

Floats = npt.NDArray[np.float64]

COMPONENTS, SHOWN, WAVES, PAIRS = 16, 6, 128, 256
"""Principal components kept, of which so many are watched singly; R; rows whose distances give σ."""
LEAST = 1e-3
"""A component with less of the largest one's spread is left out: it would be rounding."""
DECIMALS = 4
"""Numbers are rounded to it, in spreads of the first component, so that which rows pass together changes nothing."""


@dataclass(frozen=True)
class View:
    """How features (N, D) are seen.

    `center` (D,); `axes` (D, P), orthonormal; `scale` (), the first component's spread; `waves` (P, R); `phases` (R,);
    `mean` (R,): μ; `beside` (): 1 if features have more than the components kept.
    """

    center: Floats
    axes: Floats
    scale: Floats
    waves: Floats
    phases: Floats
    mean: Floats
    beside: Floats

    @classmethod
    def of(cls, features: Any, seed: int = 0) -> View:
        """Fitted to features (n, D) of rows that are not the reference; ConfigError for fewer than two good rows.

        >>> view = View.of(np.random.default_rng(0).normal(size=(200, 20)))
        >>> view.numbers(np.zeros((3, 20))).shape, view.names
        ((3, 8), ('component 1', ..., 'component 6', 'residual', 'kernel'))
        """
        known = np.asarray(features, dtype=float)
        known = known[np.isfinite(known).all(-1)] if known.ndim == 2 else known
        if known.ndim != 2 or len(known) < 2:
            raise ConfigError(f"A view is fitted to features (n, D) of two rows or more: got {known.shape}.")
        rng = np.random.default_rng(seed)
        center = known.mean(0)
        _, sizes, axes = np.linalg.svd(known - center, full_matrices=False)
        kept = max(1, int((sizes[:COMPONENTS] > LEAST * sizes[0]).sum()))
        scale = sizes[0] / len(known) ** 0.5 or 1.0
        beside = np.square(sizes[kept:]).sum() > np.square(LEAST * sizes[0])
        z = (known - center) @ axes[:kept].T / scale
        some = z[rng.permutation(len(z))[:PAIRS]]
        apart = np.square(some[:, None] - some[None]).sum(-1)[np.triu_indices(len(some), 1)]
        sigma = float(np.sqrt(np.median(apart))) or 1.0
        waves, phases = rng.normal(size=(kept, WAVES)) / sigma, rng.uniform(0, 2 * np.pi, WAVES)
        # Single precision from the start, so that a view that was saved sees the same.
        parts = [np.float32(p) for p in (center, axes[:kept].T, scale, waves, phases, np.zeros(WAVES), beside)]
        made = cls(*(np.asarray(part, float) for part in parts))
        return replace(made, mean=np.asarray(np.float32(made.embed(known).mean(0)), float))

    @property
    def names(self) -> tuple[str, ...]:
        """What `numbers` gives."""
        components = (f"component {i + 1}" for i in range(min(SHOWN, self.axes.shape[1])))
        return (*components, *(("residual",) if self.beside else ()), "kernel")

    def embed(self, features: Floats) -> Floats:
        """φ (N, R)."""
        z = (features - self.center) @ self.axes / self.scale
        return np.asarray(np.sqrt(2 / WAVES) * np.cos(z @ self.waves + self.phases))

    def numbers(self, features: Floats) -> Floats:
        """The numbers (N, S) that `names` names; NaN where a feature is not finite."""
        away = (np.asarray(features, float) - self.center) / self.scale
        z = away @ self.axes
        residual = np.sqrt(np.maximum(np.square(away).sum(-1) - np.square(z).sum(-1), 0.0))
        kernel = self.embed(features) @ self.mean
        shown = [*z[:, :SHOWN].T, *([residual] if self.beside else []), kernel]
        return np.round(np.stack(shown, 1), DECIMALS)

    def to_arrays(self) -> dict[str, Any]:
        """By name, to be saved."""
        return {name: np.asarray(getattr(self, name), np.float32) for name in VIEW}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> View:
        """Take back what `to_arrays` gave; KeyError or ValueError if something is missing or does not fit."""
        made = cls(*(np.asarray(arrays[name], float) for name in VIEW))
        made.numbers(np.zeros((1, len(made.center))))
        return made


VIEW = tuple(field.name for field in fields(View))


class Embedded:
    """Mean embedding of the newest rows, older ones discounted.

    >>> newest = Embedded(2)
    >>> newest.take(np.array([[1.0, 0.0], [1.0, 0.0]]))
    >>> newest.mean.tolist(), newest.rows > 1.9
    ([1.0, 0.0], True)
    """

    def __init__(self, size: int, memory: float = 100.0) -> None:
        self.kept, self.total, self.rows = 1 - 1 / memory, np.zeros(size), 0.0

    def take(self, embedded: Floats) -> None:
        """Rows φ (N, R), in order."""
        ages = self.kept ** np.arange(len(embedded) - 1, -1, -1.0)
        self.total = self.total * self.kept ** len(embedded) + ages @ embedded
        self.rows = self.rows * self.kept ** len(embedded) + float(ages.sum())

    @property
    def mean(self) -> Floats:
        """μ'."""
        return np.asarray(self.total / max(self.rows, 1e-12))


def discrepancy(reference: Floats, rows: float, newest: Embedded) -> dict[str, float]:
    """MMD of the newest rows to a mean embedding (R,) of so many rows, and what chance alone would give.

    E MMD² = (1 - |μ|²) (1/n + 1/m) without a shift, m the effective number of the newest rows.
    """
    m = newest.rows * (1 + newest.kept) / 2 if newest.rows else 0.0
    if m < 1 or rows < 1:
        return {"mmd": float("nan"), "by_chance": float("nan")}
    gap = float(np.square(newest.mean - reference).sum())
    chance = max(0.0, 1 - float(np.square(reference).sum())) * (1 / rows + 1 / m)
    return {"mmd": gap**0.5, "by_chance": chance**0.5}
