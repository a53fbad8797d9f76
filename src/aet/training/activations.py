"""Moments of a trained model's activations, all of them from one pass over the rows."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from aet.attention.layer import NormDials, watched_norms
from aet.attention.state import applied
from aet.batch import Batch
from aet.model import Model
from aet.statistics import Moments
from aet.token_moments import LARGEST, LEAST


@dataclass(frozen=True)
class Activations:
    """Moments over unpadded tokens.

    layers: of each tapped layer, (dim,) each; classes: the same over the rows of each class, (C, dim), None without
    classes or with very many; norms: of each norm's output, by its name.
    """

    layers: list[Moments]
    classes: list[Moments] | None
    norms: dict[str, Moments]


@torch.no_grad()
def activations(model: Model, batch: Batch, rows: int = 512) -> Activations:
    """Of all rows at the source's state, so many at a time.

    k = 10 rows of the whole are counted in to each class, so that the moments of few rows are not those rows:

        mean_c ← (n_c mean_c + k mean) / (n_c + k),   std² likewise
    """
    layers: list[Sums] = []
    classes: list[dict[int, Sums]] = []  # of each layer, the classes that occur
    norms: dict[str, Sums] = {}

    def watch(norm: NormDials, _: Tensor, plain: Tensor, mask: Tensor | None) -> Tensor:
        norms.setdefault(norm.elastic_name, Sums()).add(plain, mask)
        return plain

    target = batch.target if model.output.kind == "label" else None
    for index in torch.arange(len(batch)).split(rows):
        piece, taps = batch[index], list[Tensor]()
        with applied(None), watched_norms(watch):
            tokens, mask = model.tokens(piece)
            model.trunk(tokens, mask, taps, concepts=model.concepts(piece))
        if not layers:
            layers, classes = [Sums() for _ in taps], [{} for _ in taps]
            if model.output.width * sum(tap.shape[-1] for tap in taps) > LARGEST:
                target = None
        of_class = [] if target is None else [(c, target[index] == c) for c in target[index].unique().tolist()]
        for whole, each, tap in zip(layers, classes, taps, strict=True):
            own = mask if mask is not None and tap.shape[1] == mask.shape[1] else None
            whole.add(tap, own)
            for number, chosen in of_class:
                each.setdefault(number, Sums()).add(chosen_rows(tap, chosen), None if own is None else own[chosen])
    found = [sums.moments() for sums in layers]
    shrunk = None
    if target is not None:
        counts = torch.bincount(target, minlength=model.output.width)
        shrunk = [by_class(whole, each, counts) for whole, each in zip(found, classes, strict=True)]
    return Activations(found, shrunk, {name: sums.moments() for name, sums in norms.items()})


def chosen_rows(tap: Tensor, chosen: Tensor) -> Tensor:
    """Rows of activations (B·k, T, dim), where k members stand side by side, by chosen (B,)."""
    return tap[chosen.repeat_interleave(len(tap) // len(chosen))]


def by_class(whole: Moments, each: dict[int, Sums], counts: Tensor) -> Moments:
    """Moments of one layer over the rows of each class, (C, dim), drawn in to the whole."""
    made = []
    for number, rows in enumerate(counts.tolist()):
        share, own = rows / (rows + LEAST), each[number].moments() if rows else whole
        made.append(Moments(whole.mean.lerp(own.mean, share), whole.std.square().lerp(own.std.square(), share).sqrt()))
    return Moments(torch.stack([m.mean for m in made]), torch.stack([m.std for m in made]))


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
