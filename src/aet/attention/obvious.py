"""The formula of `attend` written out: slow, plain, and what the fast one is held to."""

from __future__ import annotations

import torch
from torch import Tensor

from aet.attention.attend import as_mask, check_factors, check_null_slot, check_shapes, stretch


def attention_scores(
    query: Tensor,
    key: Tensor,
    *,
    inverse_temperature: Tensor | float | None = None,
    query_factor: Tensor | None = None,
    key_factor: Tensor | None = None,
    bias: Tensor | None = None,
    null_slot: bool = False,
    causal: bool = False,
    scale: float | None = None,
) -> Tensor:  # (B, H, T, S), or (B, H, T, S + 1) with the null slot
    """What goes into the softmax: β · q·kᵀ · scale + a·bᵀ + B, with -inf where a key is hidden.

    Arguments and errors are those of `attend`.

    >>> q = torch.ones(1, 1, 1, 4)
    >>> attention_scores(q, q, inverse_temperature=3.0, null_slot=True)
    tensor([[[[6., 0.]]]])
    """
    check_shapes(query, key, key)
    check_null_slot(null_slot, causal)
    repeat = query.shape[1] // key.shape[1]
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    beta = 1.0 if inverse_temperature is None else stretch("inverse_temperature", inverse_temperature, query.shape)
    scores = (query * beta) @ key.repeat_interleave(repeat, 1).mT * scale  # (B, H, T, S)
    if query_factor is not None or key_factor is not None:
        a, b = check_factors(query, key, query_factor, key_factor)
        scores = scores + a @ b.repeat_interleave(repeat, 1).mT
    if bias is not None:
        bias = as_mask(bias, query, key)
        scores = scores.masked_fill(~bias, -torch.inf) if bias.dtype == torch.bool else scores + bias
    if causal:
        scores = scores.masked_fill(~torch.ones_like(scores, dtype=torch.bool).tril(), -torch.inf)
    if null_slot:
        scores = torch.cat([scores, torch.zeros_like(scores[..., :1])], -1)
    return scores


def softmax_or_zero(scores: Tensor, dim: int = -1) -> Tensor:
    """Softmax whose weights are all 0 where every score is -inf, with a gradient of 0 there.

    >>> softmax_or_zero(torch.tensor([[0.0, -torch.inf], [-torch.inf, -torch.inf]]))
    tensor([[1., 0.],
            [0., 0.]])
    """
    blind = (scores == -torch.inf).all(dim, keepdim=True)
    return torch.softmax(scores.masked_fill(blind, 0), dim).masked_fill(blind, 0)


def attend_obvious(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    inverse_temperature: Tensor | float | None = None,
    gate: Tensor | float | None = None,
    query_factor: Tensor | None = None,
    key_factor: Tensor | None = None,
    bias: Tensor | None = None,
    null_slot: bool = False,
    causal: bool = False,
    scale: float | None = None,
) -> Tensor:  # (B, H, T, D)
    """`attend` with the softmax written out. Same arguments, same errors, and a second derivative.

    >>> from aet.attention.attend import attend
    >>> q, k, v = torch.randn(3, 2, 4, 5, 8, dtype=torch.float64).unbind()
    >>> torch.allclose(attend(q, k, v, null_slot=True), attend_obvious(q, k, v, null_slot=True), atol=1e-12)
    True
    """
    check_shapes(query, key, value)
    scores = attention_scores(
        query,
        key,
        inverse_temperature=inverse_temperature,
        query_factor=query_factor,
        key_factor=key_factor,
        bias=bias,
        null_slot=null_slot,
        causal=causal,
        scale=scale,
    )
    weights = softmax_or_zero(scores)[..., : key.shape[2]]  # the null slot's value is zero
    out = weights @ value.repeat_interleave(query.shape[1] // key.shape[1], 1)
    return out if gate is None else out * stretch("gate", gate, out.shape)
