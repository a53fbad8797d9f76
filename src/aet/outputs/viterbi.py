"""The best sequence of tags among those that may follow one another (Viterbi 1967)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def bio_moves(tags: Sequence[str]) -> tuple[Tensor, Tensor]:
    """What a sequence may begin with (C,), and which tag may follow which (C, C), row by row: 0 or -inf.

    I-x follows B-x and I-x, nothing else.

    >>> start, moves = bio_moves(["O", "B-PER", "I-PER"])
    >>> start.tolist(), moves[0].tolist()
    ([0.0, 0.0, -inf], [0.0, 0.0, -inf])
    """
    inside = [tag[2:] if tag.startswith("I") else None for tag in tags]
    names = [tag[2:] if tag != "O" else None for tag in tags]
    start = torch.tensor([0.0 if name is None else -math.inf for name in inside], dtype=torch.float64)
    moves = [[0.0 if name is None or name == before else -math.inf for name in inside] for before in names]
    return start, torch.tensor(moves, dtype=torch.float64)


@torch.no_grad()
def viterbi(scores: Tensor, start: Tensor, moves: Tensor) -> Tensor:
    """The sequence y with the largest start_{y_1} + Σ_w scores_{w, y_w} + Σ_w moves_{y_{w-1}, y_w}, of each row.

    Args:
        scores: (B, W, C).
        start: (C,).
        moves: (C, C), from row to column.

    Returns:
        (B, W) numbers of tags; of equally good sequences the one with the smaller numbers at the end.

    >>> start, moves = bio_moves(["O", "B-PER", "I-PER"])
    >>> viterbi(torch.tensor([[[1.0, 0.0, 2.0], [0.0, 0.0, 5.0]]]), start, moves).tolist()
    [[1, 2]]
    """
    rows, length, _ = scores.shape
    if length == 0:
        return torch.zeros(rows, 0, dtype=torch.long, device=scores.device)
    scores, start, moves = scores.double(), start.to(scores.device), moves.to(scores.device)
    best, back = start + scores[:, 0], []
    for word in range(1, length):
        highest, came = (best[:, :, None] + moves).max(1)  # (B, C): over what stood before
        best = highest + scores[:, word]
        back.append(came)
    path = [best.argmax(-1)]
    for came in reversed(back):
        path.append(came.gather(1, path[-1][:, None]).squeeze(1))
    return torch.stack(path[::-1], 1)
