"""Weights on keys: a row, a sample or a token counts as often as its weight says."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor

from aet.attention.mechanisms import MECHANISMS, Dials, Mechanism
from aet.errors import ConfigError


def key_weights(weights: Tensor) -> Dials:
    """Dials that multiply the softmax's terms by `weights`.

        out_i = Σ_j w_j e^{s_ij} v_j / Σ_j w_j e^{s_ij}

    A rank-1 factor with a = 1 and b = log w, so it stays on the fused kernel. Weight 0 removes a key, weight
    2 is the key given twice; only ratios count. A weight of exactly 0 gets no gradient. Importance weights
    p_target / p_source of the rows are the usual source of `weights`.

    Args:
        weights: (S,), (B, S) or (B, Hkv, S), none negative.

    Raises:
        ConfigError: a negative weight, or one that is not a number.

    >>> from aet.attention.attend import attend
    >>> q, k, v = torch.randn(3, 1, 2, 3, 4).unbind()
    >>> out = attend(q, k, v, **key_weights(torch.tensor([1.0, 0.0, 1.0])))
    >>> kept = torch.tensor([0, 2])
    >>> torch.allclose(out, attend(q, k[:, :, kept], v[:, :, kept]), atol=1e-6)
    True
    """
    return Dials(query_factor=weights.new_ones(1, 1), key_factor=log_weights(weights))


def log_weights(weights: Tensor) -> Tensor:
    """Log of (S,), (B, S) or (B, H, S) weights as a key factor (S, 1), (B, 1, S, 1) or (B, H, S, 1)."""
    if not bool((weights >= 0).all()):
        worst = weights.min().item()
        raise ConfigError(f"Key weights must be 0 or more. Got {worst} among them. Clip or drop such weights.")
    present = weights > 0
    log = torch.where(present, torch.where(present, weights, 1).log(), -torch.inf)
    return (log[:, None] if log.dim() == 2 else log)[..., None]


@MECHANISMS.register("key_weights")
class KeyWeights(Mechanism):
    """`key_weights` as a mechanism; weights of 1 are its zero setting."""

    @classmethod
    def at_zero(cls, dim: int, heads: int) -> Self:
        """Nothing to set: the weights are given."""
        return cls()

    def forward(self, weights: Tensor) -> Dials:
        """Dials of `key_weights`."""
        return key_weights(weights)
