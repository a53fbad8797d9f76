"""The one formula: every adaptive attention of aet is a choice of the dials of `attend`."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from aet.errors import ConfigError


def attend(
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
    """Attention with dials, on the fused kernel.

        out = g · softmax( β · q·kᵀ · scale + a·bᵀ + B ) · v

    At its defaults it is `torch.nn.functional.scaled_dot_product_attention`, to the bit. `attend_obvious` is
    the same formula written out.

    Args:
        query: q, (B, H, T, D).
        key: k, (B, Hkv, S, D); Hkv divides H (grouped queries).
        value: v, (B, Hkv, S, Dv).
        inverse_temperature: β, broadcasts to (B, H, T, 1), or to (B, H, T, D) for one value a channel.
        gate: g, broadcasts to (B, H, T, Dv).
        query_factor: a, broadcasts to (B, H, T, r). With `key_factor` it adds a learned or fixed bias of
            rank r as r more channels of q and k, so that no (T, S) matrix is ever made and gradients flow to
            both. Under bfloat16 or float16, give both factors in float32: what the narrow type would lose
            goes into 2r more channels.
        key_factor: b, broadcasts to (B, Hkv, S, r). An entry of -inf removes its key.
        bias: B, broadcasts to (B, H, T, S). Added to the scores if float; if boolean, True means attend.
        null_slot: append one key and value of zeros, so that a query can attend to nothing. Factors and bias
            do not touch it.
        causal: query i sees the keys j <= i.
        scale: 1/sqrt(D) unless given.

    Returns:
        (B, H, T, Dv). A query that sees no key gets zeros.

    Raises:
        ConfigError: shapes that do not fit, one factor without the other, an integer mask, or `null_slot`
            with `causal` (give the causal mask as `bias` then).

    The kernel has no second derivative: run those under `torch.nn.attention.sdpa_kernel(SDPBackend.MATH)`. A
    `bias` that needs a gradient also leaves the fused kernel.

    >>> q, k, v = torch.randn(3, 2, 4, 5, 8).unbind()
    >>> attend(q, k, v, inverse_temperature=2.0, gate=torch.ones(4, 1, 1)).shape
    torch.Size([2, 4, 5, 8])
    """
    check_shapes(query, key, value)
    check_null_slot(null_slot, causal)
    grouped = key.shape[1] != query.shape[1]
    if inverse_temperature is not None:
        beta = stretch("inverse_temperature", inverse_temperature, query.shape)
        query = (query * beta).to(query.dtype)
    if query_factor is not None or key_factor is not None:
        width = value.shape[-1]
        query, key, value, scale = _carry(query, key, value, query_factor, key_factor, scale)
    else:
        width = None
    if bias is not None:
        bias = as_mask(bias, query, key)
    if null_slot:
        key, value = F.pad(key, (0, 0, 0, 1)), F.pad(value, (0, 0, 0, 1))  # (B, Hkv, S + 1, ...)
        if bias is not None:
            bias = F.pad(bias, (0, 1), value=bias.dtype == torch.bool)
    if causal and bias is not None:
        # The kernels differ in whether they take both; one mask means the same to all of them.
        seen = torch.ones(query.shape[2], key.shape[2], dtype=torch.bool, device=query.device).tril()
        bias = bias & seen if bias.dtype == torch.bool else bias.masked_fill(~seen, -torch.inf)
        causal = False
    out = F.scaled_dot_product_attention(
        query, key, value, attn_mask=bias, is_causal=causal, scale=scale, enable_gqa=grouped
    )
    if width is not None:
        out = out[..., :width]
    if gate is not None:
        out = (out * stretch("gate", gate, out.shape)).to(out.dtype)
    return out


def _carry(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    query_factor: Tensor | None,
    key_factor: Tensor | None,
    scale: float | None,
) -> tuple[Tensor, Tensor, Tensor, float]:
    """Wide q' = [q, a / scale], k' = [k, b], v' = [v, 0], so that q'·k'·scale = q·k·scale + a·b.

    Zeros pad the value because the fused kernels want one width for q, k and v.
    """
    a, b = check_factors(query, key, query_factor, key_factor)
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    if scale == 0:
        raise ConfigError(
            "scale is 0, but the factors ride on it. Expected another number. Use inverse_temperature=0.0."
        )
    a = a / scale
    dtype = _kernel_dtype(query)
    if torch.finfo(torch.promote_types(a.dtype, b.dtype)).bits > torch.finfo(dtype).bits:
        a, b = _split(a, b, dtype)
    query = torch.cat([query.to(dtype), a.to(dtype)], -1)
    key = torch.cat([key.to(dtype), b.to(dtype)], -1)
    missing = key.shape[-1] - value.shape[-1]
    value = F.pad(value.to(dtype), (0, missing)) if missing > 0 else value.to(dtype)
    return query, key, value, scale


def _split(a: Tensor, b: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """a·b = hi(a)·hi(b) + lo(a)·hi(b) + hi(a)·lo(b) in a narrow type; lo·lo is too small to matter."""
    a_hi, b_hi = a.to(dtype), b.to(dtype)
    a_lo, b_lo = (a - a_hi).to(dtype), (b - b_hi).to(dtype)
    # A removed key (-inf) must stay in the first product only: elsewhere it would meet zeros or the other
    # sign.
    finite = torch.isfinite(b_hi)
    b_kept, b_lo = b_hi.where(finite, 0), b_lo.where(finite, 0)
    return torch.cat([a_hi, a_lo, a_hi], -1), torch.cat([b_hi, b_kept, b_lo], -1)


def _kernel_dtype(query: Tensor) -> torch.dtype:
    """The type the kernel will compute in, which under autocast is not the query's."""
    device = query.device.type
    if query.dtype == torch.float64 or not torch.amp.is_autocast_available(device):
        return query.dtype
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else query.dtype


def stretch(name: str, dial: Tensor | float, shape: torch.Size) -> Tensor | float:
    """`dial` broadcast to `shape`, or a ConfigError that names it."""
    if not isinstance(dial, Tensor):
        return dial
    try:
        return dial.expand(shape)
    except RuntimeError as error:
        raise ConfigError(
            f"{name} does not fit. Expected a shape that broadcasts to {tuple(shape)}, got "
            f"{tuple(dial.shape)}. Add axes of length 1, for example (H, 1, 1) for one value a head."
        ) from error


def as_mask(bias: Tensor, query: Tensor, key: Tensor) -> Tensor:
    """`bias` in four dimensions with all its S keys, in the query's type if it is not boolean."""
    if bias.dtype != torch.bool and not bias.is_floating_point():
        raise ConfigError(
            f"bias holds {bias.dtype}. Expected booleans (True = attend) or floats (added to the scores). "
            "Use bias.bool() for a mask of ones and zeros."
        )
    full = torch.Size((*query.shape[:3], key.shape[2]))
    stretch("bias", bias, full)
    bias = bias.reshape((1,) * (4 - bias.dim()) + bias.shape)  # a mask of three dimensions leaves the fused kernel
    bias = bias.expand(*bias.shape[:3], full[3])
    return bias if bias.dtype == torch.bool else bias.to(query.dtype)


def check_shapes(query: Tensor, key: Tensor, value: Tensor) -> None:
    """Raise a ConfigError unless query (B, H, T, D), key (B, Hkv, S, D) and value (B, Hkv, S, Dv) fit."""
    q, k, v = query.shape, key.shape, value.shape
    if (
        len(q) == len(k) == len(v) == 4
        and q[0] == k[0]
        and q[3] == k[3]
        and k[:3] == v[:3]
        and k[1]
        and q[1] % k[1] == 0
    ):
        return
    raise ConfigError(
        "query, key and value do not fit together. Expected (B, H, T, D), (B, Hkv, S, D) and (B, Hkv, S, Dv) "
        f"with Hkv dividing H, got {tuple(q)}, {tuple(k)} and {tuple(v)}. Split the heads first, for example "
        "with x.unflatten(-1, (heads, -1)).transpose(1, 2)."
    )


def check_null_slot(null_slot: bool, causal: bool) -> None:
    """Raise a ConfigError if both are asked for."""
    if null_slot and causal:
        raise ConfigError(
            "null_slot with causal: the null slot is the last key, and the causal mask would hide it. "
            "Expected one of the two, got both. Give the causal mask as "
            "bias=torch.ones(T, S, dtype=torch.bool).tril() and leave causal out."
        )


def check_factors(
    query: Tensor, key: Tensor, query_factor: Tensor | None, key_factor: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The factors stretched to (B, H, T, r) and (B, Hkv, S, r), or a ConfigError."""
    if query_factor is None or key_factor is None:
        lone = "key_factor" if query_factor is None else "query_factor"
        raise ConfigError(f"{lone} came alone. Expected query_factor and key_factor together, got one. Give both.")
    rank = query_factor.shape[-1:]
    if rank != key_factor.shape[-1:] or not rank:
        raise ConfigError(
            "The factors differ in rank. Expected query_factor (..., T, r) and key_factor (..., S, r), got "
            f"{tuple(query_factor.shape)} and {tuple(key_factor.shape)}. Make their last axes equal."
        )
    a = stretch("query_factor", query_factor, torch.Size((*query.shape[:3], *rank)))
    b = stretch("key_factor", key_factor, torch.Size((*key.shape[:3], *rank)))
    assert isinstance(a, Tensor)
    assert isinstance(b, Tensor)
    return a, b
