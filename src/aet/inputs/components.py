"""Fewer numbers for a declared group of columns: c = (u - m) P, m (S,) and P (S, C) learned from the training rows.

    pca    the directions in which the rows differ most, each divided by its deviation      Pearson 1901
    lda    the directions in which the classes differ most                                  Fisher 1936; Rao 1948

Both are scikit-learn's, on the squashed values, a missing one counting as the column's center.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from aet.errors import ConfigError

Reduction = Literal["pca", "lda"]


def components(
    u: np.ndarray, reduction: Reduction, count: int, target: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Mean m (S,) and directions P (S, C) of rows u (N, S); C is `count`, or as many as there are.

    Args:
        u: rows, none missing.
        reduction: pca or lda.
        count: components wanted.
        target: class numbers (N,), for lda.

    Raises:
        ConfigError: lda without classes.

    >>> mean, directions = components(np.array([[0.0, 1.0], [2.0, 1.0], [4.0, 1.0]]), "pca", 2, None)
    >>> mean.tolist(), directions.shape
    ([2.0, 1.0], (2, 1))
    """
    if reduction == "pca":
        from sklearn.decomposition import PCA

        found = PCA(min(count, *u.shape), svd_solver="full").fit(u)
        real = found.explained_variance_ > 1e-9 * max(found.explained_variance_[0], 1e-30)
        real[0] = True  # columns that never vary still make one component, of zeros
        deviation = np.sqrt(np.maximum(found.explained_variance_[real], 1e-12))
        return found.mean_, (found.components_[real] / deviation[:, None]).T
    if target is None or target.ndim != 1 or not np.issubdtype(target.dtype, np.integer):
        raise ConfigError(
            "inputs.number.reduce='lda' separates classes: expected a target that is a label, got another output. Use "
            "'pca', or declare the target as a label."
        )
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    classes = len(np.unique(target))
    lda = LinearDiscriminantAnalysis(n_components=min(count, classes - 1, u.shape[1])).fit(u, target)
    return lda.xbar_, lda.scalings_[:, : min(count, lda.scalings_.shape[1], classes - 1)]
