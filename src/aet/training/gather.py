"""Source statistics of a trained model, gathered in one pass over training and validation rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from aet.batch import Batch, some_rows
from aet.focus import focus
from aet.model import Model
from aet.monitoring.performance import HeldOut
from aet.statistics import Moments, SourceStatistics, describe_columns, label_shares
from aet.token_moments import TokenMoments
from aet.training.drift import drifted
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
        held_out=held_out(model, valid, logits) if model.output.probable else None,
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


def layer_moments(model: Model, batch: Batch, rows: int = 512) -> list[Moments]:
    """Moments of each tapped layer over all rows, in pieces: E[x] and E[x²] add up."""
    first: list[Tensor] = []
    second: list[Tensor] = []
    sizes: list[float] = []
    for index in torch.arange(len(batch)).split(rows):
        taps: list[Tensor] = []
        piece = batch[index]
        _, mask = model.tokens(piece)
        model(piece, taps)
        for i, tap in enumerate(taps):
            real = mask if mask is not None and tap.shape[1] == mask.shape[1] else None
            moments = Moments.of(tap, real)
            size = float(tap.shape[0] * tap.shape[1] if real is None else real.sum())
            if len(first) <= i:
                sizes.append(0.0)
                first.append(torch.zeros_like(moments.mean, dtype=torch.float64))
                second.append(torch.zeros_like(moments.mean, dtype=torch.float64))
            first[i] += size * moments.mean.double()
            second[i] += size * (moments.std.double().square() + moments.mean.double().square())
            sizes[i] += size
    layers = []
    for total, squares, tokens in zip(first, second, sizes, strict=True):
        mean = total / tokens
        layers.append(Moments(mean.float(), (squares / tokens - mean.square()).clamp_min(1e-6).sqrt().float()))
    return layers
