"""Training for shift: each batch is seen as a drifted world would show it.

Every batch passes through each input kind's own drift (`Input.augment`), by an amount drawn anew from nothing to
`strength`: gain, offset, noise and dropped columns for numbers; brightness, contrast, blur, noise and small moves for
images; unseen values for categories and texts.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from aet.batch import Batch
from aet.model import Model


def drifted(model: Model, batch: Batch, strength: float, generator: torch.Generator) -> Batch:
    """The batch under one drift, drawn from `generator`; strength 0 leaves it alone."""
    if strength == 0:
        return batch
    values = {name: part.augment(batch.values[name], strength, generator) for name, part in model.parts()}
    return replace(batch, values=values)


def worlds(model: Model, batch: Batch, strength: float, generator: torch.Generator, count: int = 8) -> Batch:
    """The rows in `count` parts, each under a drift of its own."""
    pieces = torch.arange(len(batch)).tensor_split(min(count, len(batch)))
    return Batch.concat([drifted(model, batch[index], strength, generator) for index in pieces])
