"""Source statistics of a trained model, gathered in one pass over training and validation rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from aet.batch import Batch, some_rows
from aet.drift import drifted
from aet.focus import focus
from aet.inputs.backbone import Backbone
from aet.levels import LEVELS, levels
from aet.model import Model
from aet.monitoring.performance import HeldOut, bounded
from aet.statistics import SourceStatistics, describe_measured, label_shares, measured
from aet.token_moments import LARGEST, LEAST, TokenMoments
from aet.training.activations import activations
from aet.training.dial_fisher import dial_fisher
from aet.training.kept_tokens import keeping
from aet.training.switches.moment_replay import token_moments
from aet.watched import compared

ROWS = 4096
"""Rows that the activation moments are taken over at most."""

DRIFTS, STRONGEST, DRIFTED_ROWS, DRIFTED_TEXTS = 16, 2.0, 256, 128
"""Simulated drifts under which held-out rows are answered, up to which strength, and at most how many rows; texts that
pass through a pretrained network are fewer, since each costs as much as hundreds of rows of numbers."""


@torch.no_grad()
def gather(
    model: Model, frame: pd.DataFrame, train: Batch, valid: Batch, logits: Tensor | None = None
) -> SourceStatistics:
    """Moments over (at most 4,096 of) the training rows; entropy and confusion on the validation rows.

    `logits` (B, width) of the validation rows, where they are known.
    """
    index = some_rows(len(train), ROWS, model.config.seed)
    cells = measured(frame.iloc[index.numpy()], model.schema)
    return gathered(model, describe_measured(cells, model.schema), train, index, valid, logits, cells)


@torch.no_grad()
def gathered(
    model: Model,
    columns: dict[str, dict[str, Any]],
    train: Batch,
    index: Tensor,
    valid: Batch,
    logits: Tensor | None = None,
    cells: pd.DataFrame | None = None,
) -> SourceStatistics:
    """The same with the columns' summary at hand; `index` says which training rows the activations are taken over, and
    `cells` is what was measured on rows that stand for all of them, if there are such.
    """
    with keeping(model):
        return statistics(model, columns, train, index, valid, logits, cells)


def statistics(
    model: Model,
    columns: dict[str, dict[str, Any]],
    train: Batch,
    index: Tensor,
    valid: Batch,
    logits: Tensor | None,
    cells: pd.DataFrame | None,
) -> SourceStatistics:
    """The statistics, each of which passes its rows through the model."""
    sample = train[index]
    logits = model.logits(valid) if logits is None else logits
    seen = activations(model, sample)
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
        layers=seen.layers,
        label_mix=mix,
        confusion=confusion,
        entropy=torch.from_numpy(np.quantile(uncertainty, np.linspace(0, 1, 101)).astype(np.float32)),
        columns=columns,
        attention=focus(model, sample).mean(0).tolist(),
        tokens=known_tokens(model, train),
        classes=seen.classes,
        fisher=dial_fisher(model, sample),
        inputs=input_levels(model, sample),
        held_out=held_out(model, valid, logits) if model.output.probable else None,
        norms=seen.norms,
        confusion_rows=None if confusion is None else len(valid),
        watch=compared(model, cells, sample, valid, logits),
    )


def held_out(model: Model, valid: Batch, logits: Tensor) -> HeldOut:
    """How sure and how right the answers to the held-out rows are, as they came and under simulated drifts."""
    generator = torch.Generator().manual_seed(model.config.seed)
    texts = any(isinstance(part, Backbone) for part in model.inputs.modules())
    some = valid[some_rows(len(valid), DRIFTED_TEXTS if texts else DRIFTED_ROWS, model.config.seed)]
    pairs = []
    for strength in torch.linspace(0, STRONGEST, DRIFTS + 1)[1:].tolist():
        worse = drifted(model, some, strength, generator)
        pairs.append(sure_and_right(model, worse, model.logits(worse)))
    return HeldOut.of(*sure_and_right(model, valid, logits), pairs)


def sure_and_right(model: Model, batch: Batch, logits: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Confidence (B,) and whether what it speaks of is right (B,)."""
    assert batch.target is not None
    sure = bounded(model.output.answers(logits)["confidence"])
    return sure, model.output.hits(logits, batch.target).numpy().astype(np.float64)


def known_tokens(model: Model, train: Batch) -> TokenMoments | None:
    """Moments of the tokens, where they stay small."""
    classes = model.output.width if model.output.kind == "label" else 1
    fits = TokenMoments.fits(classes, len(model.token_names()), model.dim)
    return token_moments(model, train) if fits else None


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
