"""The search for an answer, piece by piece: the best piece each time, or the best of several beginnings at once.

An answer y of n pieces is worth log p(y) / ((5 + n) / 6)^α (Wu et al. 2016, 1609.08144): without the penalty, α = 0,
short answers win.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


class Steps(Protocol):
    """What writes: several beginnings side by side, each of which belongs to a row."""

    def __call__(self, pieces: Tensor) -> Tensor:
        """Log p (N, V) of what follows, after the newest piece (N,) of each beginning was taken in."""

    def pick(self, index: Tensor) -> None:
        """Go on with the beginnings at these places (N,), in order."""


def greedy(steps: Steps, rows: int, most: int, start: int, end: int) -> tuple[Tensor, Tensor]:
    """The best piece at each step, until all rows have ended.

    Returns:
        Pieces (rows, n) with `end` among them, 0 behind it, and log p of each (rows, n), n at most `most`.
    """
    pieces, logs = torch.zeros(rows, most, dtype=torch.long), torch.zeros(rows, most, dtype=torch.float64)
    alive = torch.arange(rows)
    newest: Tensor | None = None
    for place in range(most):
        if not len(alive):
            return pieces[:, :place], logs[:, :place]
        found = steps(torch.full((len(alive),), start) if newest is None else newest)
        best, newest = (t.cpu() for t in found.max(-1))
        pieces[alive, place], logs[alive, place] = newest, best.double()
        if bool((newest == end).any()):
            going = (newest != end).nonzero().flatten()
            alive, newest = alive[going], newest[going]
            steps.pick(going)
    return pieces, logs


def beam_search(
    steps: Steps, rows: int, beam: int, most: int, start: int, end: int, penalty: float
) -> tuple[Tensor, Tensor]:
    """As `greedy`, the best answer found with `beam` beginnings a row; `steps` begins with those side by side.

    A row's search ends when no beginning of it can become better than the best answer that has ended: its log p can
    only fall, and is divided by no more than an answer of `most` pieces is.
    """
    ended, worth = torch.zeros(rows, most, dtype=torch.long), torch.full((rows,), -torch.inf, dtype=torch.float64)
    ended_logs = torch.zeros(rows, most, dtype=torch.float64)
    alive = torch.arange(rows)
    pieces = torch.zeros(rows, beam, most, dtype=torch.long)
    logs = torch.zeros(rows, beam, most, dtype=torch.float64)
    total = torch.full((rows, beam), -torch.inf, dtype=torch.float64)
    total[:, 0] = 0.0  # at first all beginnings of a row are one
    newest = torch.full((rows * beam,), start)
    last = length_norm(most, penalty)
    for place in range(most):
        if not len(alive):
            break
        found = steps(newest).cpu().double().unflatten(0, (len(alive), beam))  # (R, beam, V)
        size = found.shape[-1]
        best, where = (total[..., None] + found).flatten(1).topk(min(2 * beam, beam * size), 1)
        origin, piece = where // size, where % size
        each = found.flatten(1).gather(1, where)
        stops = (piece == end) | (place == most - 1)
        values = (best / length_norm(place + 1, penalty)).masked_fill(~stops, -torch.inf)
        value, which = values.max(1)
        better = (value > worth[alive]).nonzero().flatten()
        if len(better):
            row, candidate = alive[better], which[better]
            from_beam = origin[better, candidate]
            worth[row] = value[better]
            ended[row], ended_logs[row] = pieces[better, from_beam], logs[better, from_beam]
            ended[row, place], ended_logs[row, place] = piece[better, candidate], each[better, candidate]
        live = best.masked_fill(stops, -torch.inf)
        total, kept = live.topk(beam, 1)
        origin, piece, each = origin.gather(1, kept), piece.gather(1, kept), each.gather(1, kept)
        at = torch.arange(len(alive))[:, None]
        pieces, logs = pieces[at, origin], logs[at, origin]
        pieces[..., place], logs[..., place] = piece, each
        going = (total[:, 0] / last > worth[alive]).nonzero().flatten()
        steps.pick((going[:, None] * beam + origin[going]).flatten())
        alive, total, pieces, logs = alive[going], total[going], pieces[going], logs[going]
        newest = piece[going].flatten()
    return ended, ended_logs


def length_norm(pieces: int, penalty: float) -> float:
    """((5 + n) / 6)^α.

    >>> length_norm(1, 0.6), length_norm(7, 1.0)
    (1.0, 2.0)
    """
    return float(((5 + pieces) / 6) ** penalty)
