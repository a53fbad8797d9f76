"""Elastic self-attention and elastic norm: the two modules that carry most of the elastic state.

At the zero state they are `nn.MultiheadAttention` and `nn.LayerNorm`. With dials (DESIGN: "the one formula"):

    q̃ = q(1 + q_scale) + q_shift    k̃ = k(1 + k_scale)    ṽ = v(1 + v_scale) + v_shift
    out = g · softmax(β · q̃·k̃ᵀ / √D + B) · ṽ,   β = exp(log_beta),  g = exp(log_gate)

Mechanisms (`aet.attention.mechanisms`), named when the layer is built, read q̃, k̃ and the tokens and add dials of their
own; each starts at its zero setting.

β is a factor on q̃ and g one on ṽ, so a whole state is one multiply-add over the packed q, k, v. A state that all rows
share scales the rows of the projection's weights instead, which are fewer than the tokens, wherever no gradient is
asked for; `fold` keeps them so. A norm's state does the same with its weight and bias. There is no key shift: it adds
the same number to every score of a query and does nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aet.attention.attend import attend
from aet.attention.chosen import Mechanisms
from aet.attention.state import ElasticModule
from aet.errors import ConfigError


def affine(fresh: Tensor, gain: Tensor, shift: Tensor) -> Tensor:
    """gain·x + shift in one pass.

    Takes a tensor that nobody else holds: without a gradient it is written in place, which saves the memory traffic.
    """
    if torch.is_grad_enabled():
        return torch.addcmul(shift, fresh, gain)
    return torch.addcmul(shift, fresh, gain, out=fresh)


def scaled(weight: Tensor, bias: Tensor, gain: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
    """gain·W, row by row, and gain·b + shift, for weight (N, ...), the others N numbers each."""
    gain, shift = gain.view(-1).to(weight), shift.view(-1).to(bias)
    return weight * gain.view(-1, *[1] * (weight.ndim - 1)), torch.addcmul(shift, bias, gain)


def folds(dial: Tensor, ndim: int) -> bool:
    """Whether a state goes into the weights at each call: all rows share it (`ndim` axes), and nobody trains on it."""
    return dial.ndim == ndim and not torch.is_grad_enabled()


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
        """Gain and shift over the packed (q, k, v) channels: (1, 3·dim), or (B, 1, 3·dim) for a batched state."""
        scales = torch.stack([dials["q_scale"], dials["k_scale"], dials["v_scale"]], -4)  # (..., 3, H, 1, D)
        shifts = torch.stack([dials["q_shift"], torch.zeros_like(dials["k_scale"]), dials["v_shift"]], -4)
        logs = torch.stack([dials["log_beta"], torch.zeros_like(dials["log_beta"]), dials["log_gate"]], -4)
        factor = logs.exp()  # (..., 3, H, 1, 1)
        # Heads lie side by side in the projection's output, so the packed channels are (3, H, D).
        wide = (*scales.shape[:-4], 1, -1)
        return (factor * (1 + scales)).view(wide), (factor * shifts).view(wide)

    def projected(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """q̃, k̃, ṽ of tokens x (B, T, dim), (B, H, T, D) each."""
        b, t, _ = x.shape
        dials = self.dials()
        if not dials:
            qkv = self.qkv(x)  # (B, T, 3*dim)
        elif type(self.qkv) is nn.Linear and folds(dials["q_scale"], 3):
            qkv = F.linear(x, *scaled(self.qkv.weight, self.qkv.bias, *self.packed(dials)))
        else:
            qkv = affine(self.qkv(x), *self.packed(dials))
        query, key, value = qkv.view(b, t, 3, self.heads, self.head_dim).permute(2, 0, 3, 1, 4)
        return query, key, value

    def forward(self, x: Tensor, bias: Tensor | None = None, given: Mapping[str, Any] | None = None) -> Tensor:
        """Attend from every token to every token; `given` is what mechanisms may read beside the tokens."""
        query, key, value = self.projected(x)
        if len(self.mechanisms):
            mixed = self.mechanisms(x, query, key, value, bias, given=given)  # (B, H, T, D)
        else:
            mixed = attend(query, key, value, bias=bias)
        if self.prefix is not None:
            mixed = mixed + self.prefix(query)
        out: Tensor = self.out(mixed.transpose(1, 2).flatten(-2))
        return out

    def weights(self, x: Tensor, bias: Tensor | None = None, given: Mapping[str, Any] | None = None) -> Tensor:
        """The attention weights themselves, (B, H, T, T), written out: for looking at, not for speed.

        What a null slot takes is missing from a row's sum; gates, which weigh the output, are left out.
        """
        query, key, _ = self.projected(x)
        if len(self.mechanisms):
            # Values that name their token: the output is then the weights.
            each = torch.eye(x.shape[1], dtype=query.dtype, device=x.device).expand(*query.shape[:2], -1, -1)
            seen: Tensor = self.mechanisms(x, query, key, each, bias, gated=False, given=given)
            return seen
        scores = query @ key.transpose(-2, -1) / self.head_dim**0.5
        if bias is not None:
            scores = scores.masked_fill(~bias, -torch.inf) if bias.dtype == torch.bool else scores + bias
        return F.softmax(scores, dim=-1)

    def fold(self, dials: Mapping[str, Tensor]) -> None:
        """W ← gain·W, b ← gain·b + shift."""
        weight, bias = scaled(self.qkv.weight, self.qkv.bias, *self.packed(dials))
        self.qkv.weight.copy_(weight)
        self.qkv.bias.copy_(bias)


class NormDials(ElasticModule, ABC):
    """What every elastic norm has: a scale and a shift dial on its output, (1, dim) each, after `weight` and `bias`."""

    weight: Tensor
    bias: Tensor

    def dial_shapes(self) -> dict[str, tuple[int, ...]]:
        """(1, dim) each."""
        return dict.fromkeys(("scale", "shift"), (1, len(self.weight)))

    @abstractmethod
    def normed(self, x: Tensor, weight: Tensor, bias: Tensor, mask: Tensor | None) -> Tensor:
        """The norm of x (B, T, dim) with this weight and bias (dim,)."""

    def dialled(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """The norm of x under the dials, (B, T, dim)."""
        dials = self.dials()
        if dials and folds(dials["scale"], 2):
            return self.normed(x, *self.moved(dials), mask)
        plain = self.normed(x, self.weight, self.bias, mask)
        return affine(plain, 1 + dials["scale"], dials["shift"]) if dials else plain

    def dressed(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """The norm of x under the dials, or what `watched_norms` makes of it; all (B, T, dim)."""
        watch = _WATCH.get()
        if watch is None:
            return self.dialled(x, mask)
        return watch(self, x, self.normed(x, self.weight, self.bias, mask), mask)

    def moved(self, dials: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """(1 + scale)·w and (1 + scale)·b + shift."""
        return scaled(self.weight, self.bias, 1 + dials["scale"], dials["shift"])

    def fold(self, dials: Mapping[str, Tensor]) -> None:
        """Keep them."""
        weight, bias = self.moved(dials)
        self.weight.copy_(weight)
        self.bias.copy_(bias)


Watch = Callable[[NormDials, Tensor, Tensor, Tensor | None], Tensor]
"""A norm, its input, its output without dials (B, T, dim), mask (B, T) or None -> what goes on in its place."""

_WATCH: ContextVar[Watch | None] = ContextVar("aet_norm_watch", default=None)


def watching() -> bool:
    """Whether norms are watched: who watches expects each norm once for all rows of the batch."""
    return _WATCH.get() is not None


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

    def normed(self, x: Tensor, weight: Tensor, bias: Tensor, mask: Tensor | None) -> Tensor:
        """The formula of Ba et al. 2016 (`aet.attention.norms`)."""
        return F.layer_norm(x, self.normalized_shape, weight, bias, self.eps)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Norm, then the dials."""
        return self.dressed(x, mask)
