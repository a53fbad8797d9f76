"""What `fgm` and `pgd` share: moves of a row's tokens that raise its loss, within a ball.

    δ ← Π(δ + s · g / ‖g‖),    g = ∇_δ l(x + δ),    Π: back into ‖δ‖ ≤ radius · ‖x‖

with Euclidean norms over all real tokens of the row. The radius is a share of ‖x‖, because a bound that did not grow
with the tokens could be evaded by growing them (Miyato et al. normalise their embeddings for the same reason).
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from aet.training.switch import Pass, Run

TINY = 1e-12


def attacked(run: Run, seen: Pass, start: Tensor, reach: Tensor, pace: Tensor, steps: int) -> Iterator[Tensor]:
    """Losses (B,) after each of `steps` moves.

    Args:
        run: the run.
        seen: the pass whose tokens x are moved.
        start: δ before the first move, (B, T, dim).
        reach: largest ‖δ‖, (B, 1, 1).
        pace: s, the length of a move, (B, 1, 1).
        steps: how many moves.
    """
    delta = start.detach().requires_grad_()
    losses = seen.again(run, seen.forward(seen.tokens.detach() + delta, seen.mask))
    for _ in range(steps):
        (slope,) = torch.autograd.grad(losses.sum(), delta, retain_graph=True)
        delta = within(delta.detach() + pace * slope / lengths(slope).clamp_min(TINY), reach).requires_grad_()
        losses = seen.again(run, seen.forward(seen.tokens + delta, seen.mask))
        yield losses


def real(tokens: Tensor, mask: Tensor | None) -> Tensor:
    """The tokens (B, T, dim) without a gradient, 0 in the place of padding."""
    return tokens.detach() if mask is None else tokens.detach().masked_fill(~mask[..., None], 0)


def lengths(tokens: Tensor) -> Tensor:
    """Norm of each row, (B, 1, 1).

    >>> lengths(torch.tensor([[[3.0, 0.0], [0.0, 4.0]]]))
    tensor([[[5.]]])
    """
    norms: Tensor = torch.linalg.vector_norm(tokens, dim=(1, 2), keepdim=True)
    return norms


def within(delta: Tensor, reach: Tensor) -> Tensor:
    """The nearest point of the ball.

    >>> within(torch.tensor([[[3.0, 4.0]], [[0.3, 0.4]]]), torch.ones(2, 1, 1)).flatten().tolist()
    [0.6..., 0.8..., 0.3..., 0.4...]
    """
    return delta * (reach / lengths(delta).clamp_min(TINY)).clamp_max(1)
