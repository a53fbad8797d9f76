"""Forgetting in real time: old keys count less, by the clock and not by the position."""

from __future__ import annotations

from torch import Tensor

from aet.attention.mechanisms import MECHANISMS, Dials, RatedHeads


def decay(times: Tensor, rate: Tensor) -> Dials:
    """Dials that multiply the softmax's terms by exp(-λ(t_i - t_j)), causal.

    The part of t_i is one constant for a query and cancels, so the rest is a rank-1 factor: a = λ, b = t_j.
    Times are taken relative to the row's mean, in their own type first, so that seconds since 1970 lose
    nothing.

    Args:
        times: t, (B, S) or (S,), real or integer, sorted or not; padded entries must be finite.
        rate: λ, (H,) or a scalar, in 1 / unit of the times; half of a key's weight is gone after log(2) / λ.

    With a mask of your own replace the causal one: `attend(q, k, v, **(decay(t, λ) | {"causal": False,
    "bias": mask}))`.

    >>> import torch
    >>> from aet.attention.attend import attend
    >>> flat = torch.zeros(1, 1, 3, 4)
    >>> days = torch.tensor([[0.0, 1.0, 2.0]])
    >>> v = torch.eye(3, 4)[None, None]
    >>> attend(flat, flat, v, **decay(days, torch.log(torch.tensor(2.0))))[0, 0, 2, :3]
    tensor([0.1429, 0.2857, 0.5714])
    """
    since = (times - times[..., :1]).to(rate.dtype)
    since = since - since.mean(-1, keepdim=True)
    key_factor = (since[:, None] if since.dim() == 2 else since)[..., None]  # (B, 1, S, 1)
    return Dials(query_factor=rate[..., None, None], key_factor=key_factor, causal=True)


@MECHANISMS.register("decay")
class Decay(RatedHeads):
    """`decay` with a learned rate for each head; 0 is its zero setting, a negative rate favours old keys.

    >>> import torch
    >>> Decay(heads=2)(torch.arange(5)[None])["query_factor"].shape
    torch.Size([2, 1, 1])
    """

    def forward(self, times: Tensor) -> Dials:
        """Dials of `decay`."""
        return decay(times, self.rate)
