"""Entropy focus: attention is pulled to a given spread, neither on one token nor on all alike.

    L_att = (H/log T - target)²,    H = -Σ_j a_j log a_j over the T real tokens of a row, in nats

`target` 0 is one token, 1 all tokens alike. λ and its ways: `aet.training.focus`. In the blocks each query of each head
has its own H; `aet.attention.entropy` finds it with one more call of the fused kernel, without the (T, T) weights.
Entropy as a loss of attention: Attanasio et al. 2022, 2203.09192; entropy that collapses: Zhai et al. 2023, 2303.06296.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from aet.attention.entropy import attention_entropy
from aet.attention.layer import ElasticAttention, affine
from aet.errors import ConfigError
from aet.training.focus import FOCUS, Focus, real_mean
from aet.training.switch import SWITCHES


@SWITCHES.register("focus_entropy")
class FocusEntropy(Focus):
    """Settings: `target` in 0..1; `strength` λ; `weight` fixed, rising or learned (at `rate`); `where`.

    `where` is pooled, blocks or both.
    """

    name = "focus_entropy"
    defaults: ClassVar[dict[str, Any]] = {**FOCUS, "target": 0.5, "where": "pooled"}
    figure = "squared distance from the target entropy"

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        if self.settings["target"] > 1:
            raise ConfigError(
                f"The setting target of the switch 'focus_entropy' is a share of log T, from 0 to 1; got "
                f"{self.settings['target']}. Divide nats by log T."
            )

    def pooled(self, weights: Tensor, mask: Tensor | None) -> Tensor:
        """(B, T) -> (B,)."""
        seen = weights.clamp_min(torch.finfo(weights.dtype).tiny)  # -a log a has no slope at 0, where padding lies
        return self.distance(torch.special.entr(seen).sum(-1), count(weights, mask))

    def block(self, layer: ElasticAttention, x: Tensor, mask: Tensor | None) -> Tensor:
        """Mean over heads and real queries."""
        query, key = queries_and_keys(layer, x)
        entropy = attention_entropy(query, key, bias=None if mask is None else mask[:, None, None, :])  # (B, H, T)
        return real_mean(self.distance(entropy, count(x[..., 0], mask)[:, None, None]), mask)

    def distance(self, entropy: Tensor, tokens: Tensor) -> Tensor:
        """(H/log T - target)²; 0 where a single token is real and nothing can be chosen."""
        share = entropy / tokens.clamp(min=2).log()
        return (share - float(self.settings["target"])).square().where(tokens > 1, 0)


def count(weights: Tensor, mask: Tensor | None) -> Tensor:
    """Real tokens of each row (B,), as a float."""
    number = torch.full_like(weights[:, 0], weights.shape[1]) if mask is None else mask.sum(1)
    return number.float()


def queries_and_keys(layer: ElasticAttention, x: Tensor) -> tuple[Tensor, Tensor]:
    """What the layer's softmax compares, (B, H, T, D) each, under the active elastic state."""
    qkv = layer.qkv(x)
    if dials := layer.dials():
        qkv = affine(qkv, *layer.packed(dials))
    query, key, _ = qkv.view(*x.shape[:2], 3, layer.heads, layer.head_dim).permute(2, 0, 3, 1, 4)
    return query, key
