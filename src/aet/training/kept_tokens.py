"""Tokens of texts that a pretrained network has read, kept as long as the network does not change.

A frozen network gives the same text the same tokens in every epoch, and any network does while statistics of it are
taken. What is kept is what was computed, in its own precision; a text that is computed again, beside others in another
pack, comes out the same but for rounding (some 1e-7 of its size), and so does a model trained on kept tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from aet.batch import Batch
from aet.inputs import Input
from aet.inputs.backbone import Backbone, KeptTokens
from aet.model import Model, evaluating

DRIFTS = 16
"""Drifts that are tried to see how many texts they leave alone."""
LIMIT = 2**29
"""Bytes of tokens kept of a network at most; texts that find no room are computed each time."""


@contextmanager
def keeping(module: nn.Module, frozen: bool = False, limit: int = LIMIT) -> Iterator[list[KeptTokens]]:
    """Within the context the networks in `module`, or the frozen ones only, read no text twice."""
    networks = [part for part in module.modules() if isinstance(part, Backbone) and (part.freeze or not frozen)]
    for network in networks:
        network.kept = KeptTokens(limit)
    try:
        yield [network.kept for network in networks if network.kept is not None]
    finally:
        for network in networks:
            network.kept = None


@contextmanager
def kept_in_training(
    model: Model, train: Batch, judged: Sequence[Batch], strength: float, epochs: int
) -> Iterator[None]:
    """Within the context frozen networks know the tokens of the rows that are judged each epoch, and of those to train.

    All is read before the first step and nothing is added later, so that a run that was interrupted goes on with the
    same bits. Rows to train on are read where drift leaves enough of them alone for it to pay.
    """
    with keeping(model, frozen=True) as kept:
        if kept:
            pays = epochs * untouched(model, train, strength) > 1
            for batch in (*judged, train) if pays else judged:
                read(model, batch)
            for one in kept:
                one.open = False
        yield


@torch.no_grad()
def read(model: Model, batch: Batch) -> None:
    """Pass the texts of a batch through their frozen networks."""
    with evaluating(model):
        for index in torch.arange(len(batch)).split(model.rows_at_once()):
            for name, part in frozen_parts(model):
                part(batch.values[name][index].to(model.device))


def frozen_parts(model: Model) -> Iterator[tuple[str, Input]]:
    """The inputs that have a frozen network."""
    for name, part in model.parts():
        if any(isinstance(one, Backbone) and one.freeze for one in part.children()):
            yield name, part


def untouched(model: Model, batch: Batch, strength: float) -> float:
    """Share of the rows of texts that simulated drift leaves as they are."""
    if strength == 0:
        return 1.0
    generator = torch.Generator().manual_seed(model.config.seed)
    same: list[Tensor] = []
    for name, part in frozen_parts(model):
        for values in batch.values[name].chunk(DRIFTS):
            same.append((part.augment(values, strength, generator) == values).flatten(1).all(1))
    return float(torch.cat(same).float().mean())
