"""Copying from what was read: a pointer beside the vocabulary (See et al. 2017, 1704.04368).

    p(w) = g · p_vocabulary(w) + (1 - g) · Σ_{t: piece t is w} a_t,    a = softmax(β q·kᵀ / √dim),   g = σ(u·h + c)

over the places t whose piece the vocabulary knows; g is 1 for a row without any. A key is made of the token at its
place and of the one before, k_t = A m_t + B m_{t-1}: what follows in a copy is found by what came last, which takes far
fewer rows to learn. The dials are log β and a shift of c.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aet.attention.state import ElasticModule

LEAST = 1e-12
"""Added to a probability before its logarithm is taken."""


class Pointer(ElasticModule):
    """Where to copy from, and how much.

    h (B, T, dim), keys (B, S, dim), there (B, S) -> a (B, T, S), g (B, T, 1)

    >>> pointer = Pointer(4)
    >>> weights, gate = pointer(torch.randn(2, 3, 4), pointer.kept(torch.randn(2, 5, 4)), torch.eye(2, 5).bool())
    >>> weights[0, :, 0].tolist()
    [1.0, 1.0, 1.0]
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.query, self.key, self.gate = nn.Linear(dim, dim), nn.Linear(dim, dim), nn.Linear(dim, 1)
        self.before = nn.Linear(dim, dim, bias=False)

    def dial_shapes(self) -> dict[str, tuple[int, ...]]:
        """(1, 1) each."""
        return {"log_beta": (1, 1), "gate": (1, 1)}

    def kept(self, memory: Tensor) -> Tensor:
        """Keys of tokens (B, S, dim)."""
        keys: Tensor = self.key(memory) + F.pad(self.before(memory[:, :-1]), (0, 0, 1, 0))
        return keys

    def forward(self, h: Tensor, keys: Tensor, there: Tensor) -> tuple[Tensor, Tensor]:
        """Weights that sum to one over the places that are `there`, and the share g of the vocabulary."""
        scores, gate, dials = self.query(h) @ keys.mT / h.shape[-1] ** 0.5, self.gate(h), self.dials()
        if dials:
            scores, gate = scores * dials["log_beta"].exp(), gate + dials["gate"]
        there = there[:, None]  # (B, 1, S)
        scores = scores.masked_fill(~there, torch.finfo(scores.dtype).min)
        weights = scores.softmax(-1) * there
        return weights, torch.where(there.any(-1, keepdim=True), gate.sigmoid(), 1.0)

    def fold(self, dials: Mapping[str, Tensor]) -> None:
        """β into the query, the shift into c."""
        self.query.weight.mul_(dials["log_beta"].exp())
        self.query.bias.mul_(dials["log_beta"].exp().squeeze())
        self.gate.bias.add_(dials["gate"].squeeze())


def told(logs: Tensor, target: Tensor, weights: Tensor, gate: Tensor, pieces: Tensor) -> Tensor:
    """Log p (B, T) of the told pieces alone, without the whole mixture.

    Args:
        logs: log p_vocabulary (B, T, V).
        target: the pieces (B, T).
        weights: a (B, T, S).
        gate: g (B, T, 1).
        pieces: what stands at each place (B, S).
    """
    own = logs.gather(-1, target[..., None]).exp()
    copied = (weights * (pieces[:, None] == target[..., None])).sum(-1, keepdim=True)
    return (gate * own + (1 - gate) * copied + LEAST).log().squeeze(-1)


def mixed(logs: Tensor, weights: Tensor, gate: Tensor, pieces: Tensor) -> Tensor:
    """Log p (B, T, V) of every piece; arguments as for `told`, `pieces` clamped to the vocabulary where a is 0."""
    index = pieces.clamp_min(0)[:, None].expand(weights.shape)
    return (gate * logs.exp()).scatter_add(-1, index, (1 - gate) * weights).add(LEAST).log()
