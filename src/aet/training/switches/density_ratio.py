"""Density ratio: training rows that look like a given sample of the target, which has no answers, count more.

A logistic discriminator tells the target sample p from the training rows q by their inputs, both sides given the same
total weight; of its probability D of the target come the ratio p/q = D/(1 - D) (Bickel et al. 2009) and the relative
ratio of RuLSIF (Yamada et al. 2013, 1106.4729), which never exceeds 1/α:

    w = clip(p / (α p + (1 - α) q), 0, clip),    then divided by its mean

Each row's D comes from a discriminator fitted without it (five parts), or any sample would look unlike any other. It
reads numbers and pixels squashed by asinh with their squares and marks of missing ones, and of categories and texts the
tokens at the start of training, texts as their mean; wide inputs by a random projection (Johnson and Lindenstrauss
1984).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from aet.batch import Batch
from aet.errors import ConfigError
from aet.inputs import Input
from aet.model import Model
from aet.training.row_weights import RowWeights, mean_one
from aet.training.switch import SWITCHES, Pass, Run
from aet.training.unlabelled import unlabelled_rows

PARTS = 5
WIDEST = 512
"""Features of one input at most."""


@SWITCHES.register("density_ratio")
class DensityRatio(RowWeights):
    """Settings: `file` of the target sample; `alpha` in 0..1; `clip`, the largest ratio."""

    name = "density_ratio"
    defaults: ClassVar[dict[str, Any]] = {"file": "", "alpha": 0.1, "clip": 10.0}

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        if not self.settings["file"]:
            raise ConfigError(
                "The switch 'density_ratio' needs the setting file: a table of rows as the model will meet them, "
                "without answers. Got none."
            )
        if self.settings["alpha"] > 1:
            raise ConfigError(
                f"The setting alpha of the switch 'density_ratio' is from 0 to 1; got {self.settings['alpha']}."
            )
        if self.settings["clip"] == 0:
            raise ConfigError("The setting clip of the switch 'density_ratio' is above 0; got 0: all rows would go.")
        self.ratios = torch.empty(0)
        """The weight of each training row (N,)."""

    def begin(self, run: Run) -> None:
        """The weights of all training rows."""
        model, seed = run.model, run.model.config.seed
        sample = unlabelled_rows(self.name, self.settings["file"], model, PARTS, "The target sample")
        both = Batch.concat([Batch(run.train.values), Batch(sample.values)])
        x = features(model, both, torch.Generator().manual_seed(seed))
        counts = None if run.train.weight is None else run.train.weight.double().numpy()
        odds = target_odds(x[: len(run.train)], x[len(run.train) :], counts, seed)
        values = relative_ratio(torch.from_numpy(odds), self.settings["alpha"]).clamp(max=self.settings["clip"])
        self.ratios = mean_one(values, run.train.weight).float()

    def weights(self, run: Run, seen: Pass) -> Tensor:
        """Of these training rows."""
        assert seen.batch.positions is not None
        self.calls += 1
        return self.ratios[seen.batch.positions.cpu()].to(seen.losses)

    def acted(self) -> str:
        """How far the weights differ: (Σw)²/(n Σw²) of the rows are left in effect."""
        if not self.calls:
            return ""
        worth = float(self.ratios.sum().square() / (len(self.ratios) * self.ratios.square().sum()))
        low, high = float(self.ratios.min()), float(self.ratios.max())
        return f"{len(self.ratios):,} rows weighed {low:.2g} to {high:.2g}, worth {worth:.0%} of them"

    def memory(self) -> dict[str, Tensor]:
        """The weights: the file may have gone when the run is taken up."""
        return {"ratios": self.ratios}

    def load_memory(self, memory: Mapping[str, Tensor]) -> None:
        """Take them back."""
        self.ratios = memory["ratios"]


def relative_ratio(odds: Tensor, alpha: float) -> Tensor:
    """r_α = p / (α p + (1 - α) q) of odds p/q.

    >>> relative_ratio(torch.tensor([0.0, 1.0, 3.0]), 0.5)
    tensor([0.0000, 1.0000, 1.5000])
    """
    return odds / (alpha * odds + (1 - alpha)) if alpha < 1 else torch.ones_like(odds)


def target_odds(train: np.ndarray, target: np.ndarray, counts: np.ndarray | None, seed: int) -> np.ndarray:
    """p/q of each training row (N,), from discriminators fitted without it; rows count `counts` times."""
    from sklearn.linear_model import LogisticRegression

    counts = np.ones(len(train)) if counts is None else counts
    rng = np.random.default_rng(seed)
    part_train, part_target = (rng.permutation(np.arange(len(x)) % PARTS) for x in (train, target))
    log_odds = np.zeros(len(train))
    for part in range(PARTS):
        own, other = part_train != part, part_target != part
        weight = np.concatenate([counts[own] / counts[own].sum(), np.full(other.sum(), 1 / other.sum())])
        weight *= 0.5 * (own.sum() + other.sum())
        answer = np.repeat([0, 1], [own.sum(), other.sum()])
        fitted = LogisticRegression(max_iter=1000).fit(np.concatenate([train[own], target[other]]), answer, weight)
        if (~own).any():
            log_odds[~own] = fitted.decision_function(train[~own])
    return np.exp(np.clip(log_odds, -30, 30))


@torch.no_grad()
def features(model: Model, batch: Batch, generator: torch.Generator, rows: int = 2048) -> np.ndarray:
    """What the discriminator reads of each row (N, F), each column with mean 0 and deviation 1."""
    columns = []
    for name, part in model.parts():
        values, mix = batch.values[name], None
        pieces = []
        for piece in values.split(rows):
            x = described(part, piece.to(model.device)).cpu().double()
            if x.shape[1] > WIDEST and mix is None:
                mix = torch.randn(x.shape[1], WIDEST, generator=generator, dtype=x.dtype) / WIDEST**0.5
            pieces.append(x if mix is None else x @ mix)
        columns.append(torch.cat(pieces))
    x = torch.cat(columns, 1)
    spread = x.std(0, correction=0)
    scaled: np.ndarray = ((x - x.mean(0)) / spread.where(spread > 1e-9, torch.inf)).numpy()
    return scaled


def described(part: Input, values: Tensor) -> Tensor:
    """Features of one input (B, F)."""
    if values.is_floating_point():
        absent = values.isnan().flatten(1)
        x = values.nan_to_num(0.0).flatten(1).asinh()
        return torch.cat([x, x.square(), absent.to(x)], 1)
    tokens, mask = part(values)
    if mask is not None:
        tokens = (tokens * mask[..., None]).sum(1, keepdim=True) / mask.sum(1).clamp(min=1)[:, None, None]
    flat: Tensor = tokens.flatten(1)
    return flat
