"""Source statistics of a trained model, gathered in one pass over training and validation rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from aet.attention.layer import NormDials, watched_norms
from aet.attention.state import applied
from aet.batch import Batch, some_rows
from aet.drift import drifted
from aet.focus import focus
from aet.levels import LEVELS, levels
from aet.model import Model
from aet.monitoring.performance import HeldOut
from aet.statistics import Moments, SourceStatistics, describe_columns, label_shares
from aet.token_moments import LARGEST, LEAST, TokenMoments
from aet.training.dial_fisher import dial_fisher
from aet.training.switches.moment_replay import token_moments

ROWS = 4096
"""Rows that the activation moments are taken over at most."""

DRIFTS, STRONGEST, DRIFTED_ROWS = 16, 2.0, 256
"""Simulated drifts under which held-out rows are answered, up to which strength, and at most how many rows."""


@torch.no_grad()
def gather(model: Model, frame: pd.DataFrame, train: Batch, valid: Batch) -> SourceStatistics:
    """Moments over (at most 4,096 of) the training rows; entropy and confusion on the validation rows."""
    index = some_rows(len(train), ROWS, model.config.seed)
    return gathered(model, describe_columns(frame.iloc[index.numpy()], model.schema), train, index, valid)


@torch.no_grad()
def gathered(
    model: Model, columns: dict[str, dict[str, Any]], train: Batch, index: Tensor, valid: Batch
) -> SourceStatistics:
    """The same with the columns' summary at hand; `index` says which training rows the activations are taken over."""
    sample = train[index]
    logits = model.logits(valid)
    assert train.target is not None
    assert valid.target is not None
    # NumPy's quantile has no limit on the number of rows.
    uncertainty = model.output.uncertainty(logits).numpy()
    mix = confusion = None
    if model.output.kind == "label":
        classes = model.output.width
        mix = label_shares(train.target, classes)
        joint = torch.zeros(classes, classes).index_put_(
            (valid.target, logits.argmax(-1)), torch.ones(len(valid)), accumulate=True
        )
        confusion = joint / len(valid)
    return SourceStatistics(
        layers=layer_moments(model, sample),
        label_mix=mix,
        confusion=confusion,
        entropy=torch.from_numpy(np.quantile(uncertainty, np.linspace(0, 1, 101)).astype(np.float32)),
        columns=columns,
        attention=focus(model, sample).mean(0).tolist(),
        tokens=known_tokens(model, train),
        classes=class_moments(model, sample),
        fisher=dial_fisher(model, sample),
        inputs=input_levels(model, sample),
        held_out=held_out(model, valid, logits) if model.output.probable else None,
        norms=norm_moments(model, sample),
        confusion_rows=None if confusion is None else len(valid),
    )


def held_out(model: Model, valid: Batch, logits: Tensor) -> HeldOut:
    """How sure and how right the answers to the held-out rows are, as they came and under simulated drifts."""
    generator = torch.Generator().manual_seed(model.config.seed)
    some = valid[some_rows(len(valid), DRIFTED_ROWS, model.config.seed)]
    pairs = []
    for strength in torch.linspace(0, STRONGEST, DRIFTS + 1)[1:].tolist():
        worse = drifted(model, some, strength, generator)
        pairs.append(sure_and_right(model, worse, model.logits(worse)))
    return HeldOut.of(*sure_and_right(model, valid, logits), pairs)


def sure_and_right(model: Model, batch: Batch, logits: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Confidence (B,) and whether what it speaks of is right (B,)."""
    assert batch.target is not None
    sure = model.output.answers(logits)["confidence"].to_numpy(np.float64)
    return np.nan_to_num(sure).clip(0, 1), model.output.hits(logits, batch.target).numpy().astype(np.float64)


def known_tokens(model: Model, train: Batch) -> TokenMoments | None:
    """Moments of the tokens, where they stay small."""
    classes = model.output.width if model.output.kind == "label" else 1
    fits = TokenMoments.fits(classes, len(model.token_names()), model.config.model.dim)
    return token_moments(model, train) if fits else None


def class_moments(model: Model, sample: Batch) -> list[Moments] | None:
    """Moments of each tapped layer over the rows of each class, (C, dim); None without classes or with very many.

    k = 10 rows of the whole are counted in, so that the moments of few rows are not those rows:

        mean_c ← (n_c mean_c + k mean) / (n_c + k),   std² likewise
    """
    whole, width = layer_moments(model, sample), model.output.width
    if model.output.kind != "label" or width * sum(len(layer.mean) for layer in whole) > LARGEST:
        return None
    assert sample.target is not None
    classes = []
    for number in range(width):
        rows = (sample.target == number).nonzero().flatten()
        share = len(rows) / (len(rows) + LEAST)
        own = layer_moments(model, sample[rows]) if len(rows) else whole
        classes.append(
            [
                Moments(w.mean.lerp(o.mean, share), w.std.square().lerp(o.std.square(), share).sqrt())
                for w, o in zip(whole, own, strict=True)
            ]
        )
    layers = zip(*classes, strict=True)
    return [Moments(torch.stack([m.mean for m in of]), torch.stack([m.std for m in of])) for of in layers]


def input_levels(model: Model, sample: Batch) -> dict[str, Tensor] | None:
    """Quantile levels (C, K, D) of each input with gain and offset, class by class; None where there would be too many.

    A class of fewer than 10 rows has the levels of all rows, so that no level is a row.
    """
    labelled = model.output.kind == "label"
    classes = model.output.width if labelled else 1
    kept: dict[str, Tensor] = {}
    for name, part in model.parts():
        values = sample.values[name]
        known = part.channels(values)
        if known is None or not len(values):
            continue
        if classes * LEVELS * known.shape[1] > LARGEST:
            return None
        whole = levels(known)
        each = [whole] * classes
        for number in range(classes) if labelled else ():
            rows = values[sample.target == number]
            found = part.channels(rows) if len(rows) >= LEAST else None
            each[number] = whole if found is None else torch.where((own := levels(found)).isnan(), whole, own)
        kept[name] = torch.stack(each)
    return kept


def layer_moments(model: Model, batch: Batch, rows: int = 512) -> list[Moments]:
    """Moments of each tapped layer over all rows, in pieces."""
    sums: list[Sums] = []
    for index in torch.arange(len(batch)).split(rows):
        taps: list[Tensor] = []
        piece = batch[index]
        _, mask = model.tokens(piece)
        model(piece, taps)
        sums = sums or [Sums() for _ in taps]
        for own, tap in zip(sums, taps, strict=True):
            own.add(tap, mask if mask is not None and tap.shape[1] == mask.shape[1] else None)
    return [own.moments() for own in sums]


def norm_moments(model: Model, batch: Batch, rows: int = 512) -> dict[str, Moments]:
    """Moments of each norm's output over all rows, by the norm's name."""
    sums: dict[str, Sums] = {}

    def watch(norm: NormDials, _: Tensor, plain: Tensor, mask: Tensor | None) -> Tensor:
        sums.setdefault(norm.elastic_name, Sums()).add(plain, mask)
        return plain

    with applied(None), watched_norms(watch):
        for index in torch.arange(len(batch)).split(rows):
            model(batch[index])
    return {name: own.moments() for name, own in sums.items()}


class Sums:
    """Moments of tokens that come in pieces: E[x] and E[x²] add up."""

    def __init__(self) -> None:
        self.first = self.second = torch.zeros((), dtype=torch.float64)
        self.tokens = 0.0

    def add(self, tokens: Tensor, mask: Tensor | None) -> None:
        """Tokens (B, T, dim) where mask (B, T) is True, all without one."""
        moments = Moments.of(tokens, mask)
        size = float(tokens.shape[0] * tokens.shape[1] if mask is None else mask.sum())
        self.first = self.first + size * moments.mean.double()
        self.second = self.second + size * (moments.std.double().square() + moments.mean.double().square())
        self.tokens += size

    def moments(self) -> Moments:
        """Of all so far."""
        mean = self.first / self.tokens
        std = (self.second / self.tokens - mean.square()).clamp_min(1e-6).sqrt()
        return Moments(mean.float(), std.float())
