"""Rows that belong to none of the classes: how strange a row is, and how seldom a known row is that strange.

Strangeness of logits z (N, C), of summaries s (N, D) and class means μ_c (D,) with a common spread σ (D,):

    unsure    -max_c softmax(z)_c                          (Hendrycks and Gimpel 2017, 1610.02136)
    max_logit -max_c z_c                                   (Hendrycks et al. 2022, 1911.11132)
    energy    -log Σ_c exp z_c                             (Liu et al. 2020, 2010.03759)
    distance  min_c Σ_d ((s_d - μ_cd) / σ_d)²              (Lee et al. 2018, 1807.03888, with a diagonal covariance)

Held-out rows of known classes turn a strangeness t into a p-value (Vovk et al. 2005; Bates et al. 2023, 2104.08279):

    p = (1 + #{held-out rows at least as strange as t}) / (1 + number of held-out rows)

so that at most a share α of known rows has p <= α, whatever the strangeness, while rows are like the held-out ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from aet.errors import ConfigError

Floats = npt.NDArray[np.float64]


def unsure(logits: Tensor) -> Tensor:
    """-max softmax (N,)."""
    return -logits.softmax(-1).amax(-1)


def max_logit(logits: Tensor) -> Tensor:
    """-max z (N,)."""
    return -logits.amax(-1)


def energy(logits: Tensor) -> Tensor:
    """-logsumexp z (N,).

    >>> energy(torch.tensor([[4.0, 0.0], [0.1, 0.0]])).argmax()
    tensor(1)
    """
    return -logits.logsumexp(-1)


def distance(summary: Tensor, means: Tensor, std: Tensor) -> Tensor:
    """Distance (N,) of summaries (N, D) to the nearest of the means (C, D), in units of the spread (D,).

    >>> distance(torch.tensor([[0.0, 2.0]]), torch.tensor([[0.0, 0.0], [1.0, 2.0]]), torch.tensor([0.5, 1.0]))
    tensor([4.])
    """
    nearest: Tensor = torch.cdist(summary / std, means / std).square().amin(-1)
    return nearest


OF_LOGITS: dict[str, Callable[[Tensor], Tensor]] = {"unsure": unsure, "max_logit": max_logit, "energy": energy}


@dataclass(frozen=True)
class Calibration:
    """Strangeness of held-out rows of known classes, rising.

    >>> known = Calibration.of(np.arange(99.0))
    >>> known.p_values(np.array([-5.0, 97.5, 200.0])).tolist()
    [1.0, 0.02, 0.01]
    """

    held: Floats

    @classmethod
    def of(cls, strangeness: npt.ArrayLike) -> Calibration:
        """Of the strangeness of some rows; ConfigError if there are none or one is no number."""
        held = np.sort(np.asarray(strangeness, dtype=np.float64))
        if held.ndim != 1 or not len(held) or not np.isfinite(held).all():
            raise ConfigError(
                f"Scope is calibrated on the strangeness of held-out rows, one finite number each: got {held.shape}."
            )
        return cls(held)

    def p_values(self, strangeness: npt.ArrayLike) -> Floats:
        """The p-value of each row (N,); 0 for one whose strangeness is not a number."""
        given = np.asarray(strangeness, dtype=np.float64)
        stranger = len(self.held) - np.searchsorted(self.held, given, side="left")
        p: Floats = np.where(np.isnan(given), 0.0, (1 + stranger) / (1 + len(self.held)))
        return p
