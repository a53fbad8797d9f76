"""How spread out each query's attention is, without the (T, S) matrix."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from aet.attention.attend import as_mask, check_shapes, stretch
from aet.errors import ConfigError


def attention_entropy(
    query: Tensor,
    key: Tensor,
    *,
    inverse_temperature: Tensor | float | None = None,
    bias: Tensor | None = None,
    causal: bool = False,
    scale: float | None = None,
) -> Tensor:  # (B, H, T)
    """Entropy in nats of softmax(β · q·kᵀ · scale) for each query, with gradient, from one kernel call.

    One more key has a known score c and collects the mass p; the value of every other key is the key itself:

        lse = c + log((1 - p) / p)        E[k] = out / (1 - p)        entropy = lse - β · scale · q·E[k]

    c is the mean score plus log n. By Jensen's inequality it never exceeds lse, so that 1 - p is exact. p
    itself holds while lse - c stays below some 80; a row of larger scores gives inf. Inside, float32 is the
    narrowest type.

    Args:
        query: (B, H, T, D).
        key: (B, Hkv, S, D).
        inverse_temperature: β as in `attend`.
        bias: boolean mask only, True = attend.
        causal: as in `attend`.
        scale: 1/sqrt(D) unless given.

    Returns:
        (B, H, T), 0 for a query that sees no key.

    Raises:
        ConfigError: shapes that do not fit, or a bias of floats.

    >>> attention_entropy(torch.zeros(1, 1, 1, 4), torch.randn(1, 1, 7, 4)).exp()
    tensor([[[7.0000]]])
    """
    check_shapes(query, key, key)
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    if inverse_temperature is not None:
        query = query * stretch("inverse_temperature", inverse_temperature, query.shape)
    seen = _seen(query, key, bias, causal)
    # Differences of large numbers follow: never in a narrow type.
    query, key = (x if x.dtype == torch.float64 else x.float() for x in (query * scale, key))
    with torch.autocast(query.device.type, enabled=False):
        entropy = _entropy(query, key.repeat_interleave(query.shape[1] // key.shape[1], 1), seen)
    return entropy if seen is None else entropy.where(seen.any(-1), 0)


def _entropy(query: Tensor, key: Tensor, seen: Tensor | None) -> Tensor:  # (B, H, T)
    if seen is None:
        count = query.new_tensor(key.shape[2])
        mean = key.mean(2, keepdim=True)  # (B, H, 1, D)
    else:
        count = seen.sum(-1, dtype=query.dtype).clamp(min=1)  # (B, H, T)
        mean = seen.to(query.dtype) @ key / count[..., None]  # (B, H, T, D)
        seen = F.pad(seen, (0, 1), value=True)
    c = ((query * mean).sum(-1) + count.log()).detach()  # (B, H, T)
    # q' = [q, c], k' = v' = [k, 0], and [0, 1] for the known key.
    known = F.one_hot(torch.tensor(key.shape[-1], device=key.device), key.shape[-1] + 1).to(key.dtype)
    wide = torch.cat([F.pad(key, (0, 1)), known.expand(*key.shape[:2], 1, -1)], 2)  # (B, H, S + 1, D + 1)
    out = F.scaled_dot_product_attention(torch.cat([query, c[..., None]], -1), wide, wide, attn_mask=seen, scale=1.0)
    p = out[..., -1]
    rest = (1 - p).clamp(min=torch.finfo(p.dtype).tiny)
    return c + rest.log() - p.log() - (query * out[..., :-1]).sum(-1) / rest


def _seen(query: Tensor, key: Tensor, bias: Tensor | None, causal: bool) -> Tensor | None:
    """Mask and causal order as one boolean mask that broadcasts to (B, H, T, S), or None for all of them."""
    seen = None
    if bias is not None:
        if bias.dtype != torch.bool:
            raise ConfigError(
                f"attention_entropy takes no added scores. Expected a boolean bias, got {bias.dtype}. "
                "Use attention_scores and softmax_or_zero instead."
            )
        seen = as_mask(bias, query, key)
    if causal:
        past = torch.ones(1, 1, query.shape[2], key.shape[2], dtype=torch.bool, device=query.device).tril()
        seen = past if seen is None else seen & past
    return seen
