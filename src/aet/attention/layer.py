"""Elastic self-attention and elastic norm: the two modules that carry most of the elastic state.

At the zero state they are `nn.MultiheadAttention` and `nn.LayerNorm`. With dials (DESIGN: "the one formula"):

    q̃ = q(1 + q_scale) + q_shift    k̃ = k(1 + k_scale)    ṽ = v(1 + v_scale) + v_shift
    out = g · softmax(β · q̃·k̃ᵀ / √D + B) · ṽ,   β = exp(log_beta),  g = exp(log_gate)

Mechanisms (`aet.attention.mechanisms`), named when the layer is built, read q̃, k̃ and the tokens and add dials of their
own; each starts at its zero setting.

β is a factor on q̃ and g one on ṽ, so a whole state is one multiply-add over the packed q, k, v; `fold` moves it into
the projection's weights. There is no key shift: it adds the same number to every score of a query and does nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aet.attention.attend import attend
from aet.attention.chosen import Mechanisms
from aet.attention.state import ElasticModule
from aet.errors import ConfigError


def affine(fresh: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """x(1 + scale) + shift in one pass; zero scale and shift give x.

    Takes a tensor that nobody else holds: without a gradient it is written in place, which saves the memory traffic.
    """
    gain = 1 + scale
    if torch.is_grad_enabled():
        return torch.addcmul(shift, fresh, gain)
    return torch.addcmul(shift, fresh, gain, out=fresh)


class ElasticAttention(ElasticModule):
    """Multi-head self-attention with dials.

    x (B, T, dim), bias broadcastable to (B, H, T, T), float (added) or boolean (True attends) -> (B, T, dim)

    `mechanisms` are names of `MECHANISMS`. ConfigError for one that is unknown or reads what a layer does not have, and
    for two that both take the place of the softmax.

    >>> import torch
    >>> from aet.attention.state import ElasticState, applied, name_elastic
    >>> layer = name_elastic(ElasticAttention(8, heads=2))
    >>> x = torch.randn(3, 5, 8)
    >>> with applied(ElasticState.zeros(layer)):
    ...     torch.allclose(layer(x), layer.eval()(x), atol=1e-6)
    True
    """

    def __init__(self, dim: int, heads: int, mechanisms: Iterable[str] = ()) -> None:
        super().__init__()
        if dim % heads:
            raise ConfigError(
                f"The width {dim} cannot be split over {heads} heads. Choose a width that is a multiple of the heads."
            )
        self.heads, self.head_dim = heads, dim // heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)
        self.prefix: nn.Module | None = None
        """Learned keys and values beside the tokens' (`aet.grown.Prefix`)."""
        self.mechanisms = Mechanisms(dim, heads, mechanisms)

    def dial_shapes(self) -> dict[str, tuple[int, ...]]:
        """(H, 1, D) for scales and shifts, (H, 1, 1) for the inverse temperature and the gate."""
        wide, single = (self.heads, 1, self.head_dim), (self.heads, 1, 1)
        wide_dials = dict.fromkeys(("q_scale", "q_shift", "k_scale", "v_scale", "v_shift"), wide)
        return {**wide_dials, "log_beta": single, "log_gate": single}

    def packed(self, dials: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Gain - 1 and shift over the packed (q, k, v) channels: (1, 3·dim), or (B, 1, 3·dim) for a batched state."""
        beta, gate = dials["log_beta"].exp(), dials["log_gate"].exp()
        gain = (beta * (1 + dials["q_scale"]), 1 + dials["k_scale"], gate * (1 + dials["v_scale"]))
        shift = (beta * dials["q_shift"], torch.zeros_like(dials["k_scale"]), gate * dials["v_shift"])
        # (..., H, 1, D) -> (..., 1, H*D): heads lie side by side in the projection's output.
        pack = [torch.cat([part.transpose(-3, -2).flatten(-2) for part in parts], -1) for parts in (gain, shift)]
        return pack[0] - 1, pack[1]

    def projected(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """q̃, k̃, ṽ of tokens x (B, T, dim), (B, H, T, D) each."""
        b, t, _ = x.shape
        qkv = self.qkv(x)  # (B, T, 3*dim)
        dials = self.dials()
        if dials:
            qkv = affine(qkv, *self.packed(dials))
        query, key, value = qkv.view(b, t, 3, self.heads, self.head_dim).permute(2, 0, 3, 1, 4)
        return query, key, value

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """Attend from every token to every token."""
        query, key, value = self.projected(x)
        if len(self.mechanisms):
            mixed = self.mechanisms(x, query, key, value, bias)  # (B, H, T, D)
        else:
            mixed = attend(query, key, value, bias=bias)
        if self.prefix is not None:
            mixed = mixed + self.prefix(query)
        out: Tensor = self.out(mixed.transpose(1, 2).flatten(-2))
        return out

    def weights(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """The attention weights themselves, (B, H, T, T), written out: for looking at, not for speed.

        What a null slot takes is missing from a row's sum; gates, which weigh the output, are left out.
        """
        query, key, _ = self.projected(x)
        if len(self.mechanisms):
            # Values that name their token: the output is then the weights.
            each = torch.eye(x.shape[1], dtype=query.dtype, device=x.device).expand(*query.shape[:2], -1, -1)
            seen: Tensor = self.mechanisms(x, query, key, each, bias, gated=False)
            return seen
        scores = query @ key.transpose(-2, -1) / self.head_dim**0.5
        if bias is not None:
            scores = scores.masked_fill(~bias, -torch.inf) if bias.dtype == torch.bool else scores + bias
        return F.softmax(scores, dim=-1)

    def fold(self, dials: Mapping[str, Tensor]) -> None:
        """W ← gain·W, b ← gain·b + shift."""
        scale, shift = (part.flatten() for part in self.packed(dials))
        self.qkv.weight.mul_(1 + scale[:, None])
        self.qkv.bias.mul_(1 + scale).add_(shift)


class NormDials(ElasticModule):
    """What every elastic norm has: a scale and a shift dial on its output, (1, dim) each, after `weight` and `bias`."""

    weight: Tensor
    bias: Tensor

    def dial_shapes(self) -> dict[str, tuple[int, ...]]:
        """(1, dim) each."""
        return dict.fromkeys(("scale", "shift"), (1, len(self.weight)))

    def dressed(self, x: Tensor, plain: Tensor, mask: Tensor | None) -> Tensor:
        """The norm's own output for x under the dials, or what `watched_norms` makes of it; all (B, T, dim)."""
        watch = _WATCH.get()
        if watch is not None:
            return watch(self, x, plain, mask)
        dials = self.dials()
        return affine(plain, dials["scale"], dials["shift"]) if dials else plain

    def fold(self, dials: Mapping[str, Tensor]) -> None:
        """W ← (1 + scale)·w, b ← (1 + scale)·b + shift."""
        gain = 1 + dials["scale"].flatten()
        self.weight.mul_(gain)
        self.bias.mul_(gain).add_(dials["shift"].flatten())


Watch = Callable[[NormDials, Tensor, Tensor, Tensor | None], Tensor]
"""A norm, its input, its output without dials (B, T, dim), mask (B, T) or None -> what goes on in its place."""

_WATCH: ContextVar[Watch | None] = ContextVar("aet_norm_watch", default=None)


@contextmanager
def watched_norms(watch: Watch) -> Iterator[None]:
    """Within the context the norms hand their outputs to `watch`, one after the other; other threads are left alone."""
    token = _WATCH.set(watch)
    try:
        yield
    finally:
        _WATCH.reset(token)


class ElasticNorm(nn.LayerNorm, NormDials):
    """Layer norm with dials.

    x (B, T, dim), mask (B, T), which it does not need -> (B, T, dim)
    """

    weight: nn.Parameter
    bias: nn.Parameter

    def __init__(self, dim: int) -> None:
        super().__init__(dim)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Norm, then the dials."""
        return self.dressed(x, super().forward(x), mask)
