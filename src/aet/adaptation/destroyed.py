"""Rows without the object that they show, its small parts still there: what DeYO compares an answer with.

    images:      a grid of 4 x 4 pieces, each image's in an order of its own (Lee et al. 2024, 2403.07366)
    texts:       the pieces of each text in an order of its own: its words without the sentence; of words likewise
    any other:   half of a row's columns taken from another row: every value is real, the row is not

A column of a table has its own meaning and scale, so columns are never exchanged for one another. A batch of one row
has no other row: its tables stay whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from aet.batch import Batch
from aet.inputs.text import PAD, START, TextInput
from aet.model import Model

Rule = Callable[[Tensor, torch.Generator], Tensor]
GRID = 4
"""Pieces of an image down and across."""


def destroyed(model: Model, batch: Batch, draws: torch.Generator) -> Batch:
    """The batch with each input's rows destroyed after its kind, drawn from `draws`."""
    values = {}
    for name, part in model.parts():
        given = batch.values[name]
        rule = RULES.get(part.kind, columns_of_others)
        if type(part) is TextInput:  # a network has marks of its own
            rule = partial(shuffled_words, fixed=part.marks.fixed)
        values[name] = rule(given.cpu(), draws).to(given.device)
    return replace(batch, values=values)


def shuffled_pieces(images: Tensor, draws: torch.Generator) -> Tensor:
    """(B, C, H, W); a rim that does not fill a piece stays.

    >>> image = torch.arange(64.0).view(1, 1, 8, 8)
    >>> moved = shuffled_pieces(image, torch.Generator().manual_seed(0))
    >>> torch.equal(moved, image), torch.equal(moved.flatten().sort().values, image.flatten())
    (False, True)
    """
    b, c, height, width = images.shape
    down, across = min(GRID, height), min(GRID, width)
    h, w = height // down, width // across
    inside = images[:, :, : down * h, : across * w]
    pieces = inside.reshape(b, c, down, h, across, w).permute(0, 2, 4, 1, 3, 5).flatten(1, 2)  # (B, P, C, h, w)
    order = torch.rand(b, down * across, generator=draws).argsort(1)
    pieces = pieces[torch.arange(b)[:, None], order]
    whole = images.clone()
    back = pieces.view(b, down, across, c, h, w).permute(0, 3, 1, 4, 2, 5)
    whole[:, :, : down * h, : across * w] = back.reshape(b, c, down * h, across * w)
    return whole


def shuffled_words(pieces: Tensor, draws: torch.Generator, fixed: Sequence[int] = (PAD, START)) -> Tensor:
    """(B, L) piece numbers; those that are `fixed`, such as the start and the padding, stay where they are.

    >>> shuffled_words(torch.tensor([[START, 7, 8, 9, 0]]), torch.Generator().manual_seed(0)).tolist()
    [[2, 8, 9, 7, 0]]
    """
    return pieces.gather(1, new_order(~torch.isin(pieces, torch.tensor(fixed)), draws))


def shuffled_cells(values: Tensor, draws: torch.Generator) -> Tensor:
    """(B, L, 3) of words (`aet.inputs.words`): pieces with their casing change places, and places keep their words.

    >>> shuffled_cells(torch.tensor([[[2, 0, 0], [7, 1, 1], [8, 2, 3]]]), torch.Generator().manual_seed(0)).tolist()
    [[[2, 0, 0], [8, 1, 3], [7, 2, 1]]]
    """
    order = new_order(values[..., 2] > 0, draws)
    moved = values.gather(1, order[..., None].expand_as(values))
    return torch.stack([moved[..., 0], values[..., 1], moved[..., 2]], -1)


def new_order(movable: Tensor, draws: torch.Generator) -> Tensor:
    """Which place each place (B, L) takes its piece from; those that are not movable stay."""
    keys = torch.rand(movable.shape, generator=draws)
    # The movable ones come first in both orders: those at the places of the one go to the places of the other.
    drawn = keys.masked_fill(~movable, 2.0).argsort(dim=1, stable=True)
    there = (~movable).to(torch.uint8).argsort(dim=1, stable=True)
    return torch.empty_like(drawn).scatter_(1, there, drawn)


def columns_of_others(values: Tensor, draws: torch.Generator) -> Tensor:
    """(B, ...) with half of the columns of each row, at least one, from a row drawn among the others."""
    rows = len(values)
    if rows < 2:
        return values
    flat = values.reshape(rows, -1)
    columns = flat.shape[1]
    rank = torch.rand(rows, columns, generator=draws).argsort(1).argsort(1)
    other = (torch.arange(rows) + torch.randint(1, rows, (rows,), generator=draws)) % rows
    return torch.where(rank < max(1, columns // 2), flat[other], flat).view_as(values)


RULES: dict[str, Rule] = {"image": shuffled_pieces, "text": shuffled_words, "words": shuffled_cells}
