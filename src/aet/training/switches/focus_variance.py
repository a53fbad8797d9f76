"""Variance focus: attention that tells the tokens apart is rewarded.

The variance of the weights a over the T real tokens of a row is mean(a²) - mean(a)², of which the second part is 1/T²,
since they sum to one. (mean(a²) - mean(a²), as the term is often printed, is zero.) The loss is

    L_att = -(mean(a²) - mean(a)²) + (T - 1) / T²

whose constant, the variance of a row that looks at one token alone, changes no gradient; it makes 0 the least loss, as
a learned λ needs (`aet.training.focus`).

The pooling's weights are there anyway. Those of the blocks are written out, (B, H, T, T), beside the fused kernel that
does not show them: attention itself then costs about twice as much, and its memory grows with T².
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from aet.attention.layer import ElasticAttention
from aet.training.focus import FOCUS, Focus, real_mean
from aet.training.switch import SWITCHES


@SWITCHES.register("focus_variance")
class FocusVariance(Focus):
    """Settings: `strength` λ; `weight` fixed, rising or learned (at `rate`); `where` pooled, blocks or both."""

    name = "focus_variance"
    defaults: ClassVar[dict[str, Any]] = {**FOCUS, "where": "pooled"}
    figure = "missing variance of the attention"

    def pooled(self, weights: Tensor, mask: Tensor | None) -> Tensor:
        """(B, T) -> (B,)."""
        return missing_variance(weights, mask)

    def block(self, layer: ElasticAttention, x: Tensor, mask: Tensor | None) -> Tensor:
        """Mean over heads and real queries."""
        weights = layer.weights(x, None if mask is None else mask[:, None, None, :])  # (B, H, T, T)
        keys = None if mask is None else mask[:, None, None, :]
        return real_mean(missing_variance(weights.float(), keys), mask)


def missing_variance(weights: Tensor, mask: Tensor | None = None) -> Tensor:
    """(T - 1)/T² - (mean(a²) - mean(a)²) over the last axis, of which `mask` says what is real.

    >>> import torch
    >>> missing_variance(torch.tensor([[1.0, 0.0], [0.5, 0.5]]))
    tensor([0.0000, 0.2500])
    """
    count = weights.shape[-1] if mask is None else mask.sum(-1).clamp(min=1)
    return (1 - weights.square().sum(-1)) / count
