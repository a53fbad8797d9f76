"""The dials of an attention layer that aet did not build.

    out = g · softmax( β · q̃·k̃ᵀ · scale + B ) · ṽ      q̃ = q(1+s_q)+t_q,  k̃ = k(1+s_k),  ṽ = v(1+s_v)+t_v

A score is a sum over channels, so k̃'s factor may as well stand before the query, and ṽ's after the sum over keys:

    q ← β(1+s_q)(1+s_k)·q + β(1+s_k)·t_q        out ← g(1+s_v)·out + g·t_v

Keys and values stay as they are: caches hold them before the dials, and one token more costs one token's work. The
shift of v is so only where the weights of a query sum to one; with sinks they do not, and v itself is moved.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from aet.backbones.attached import Attached
from aet.errors import ConfigError

if TYPE_CHECKING:
    from aet.backbones.probe import Probe
    from aet.backbones.sources import Source

PROBE: ContextVar[Probe | None] = ContextVar("aet_backbone_probe", default=None)
"""Who watches a trial pass; None in every other."""


class Moves(NamedTuple):
    """What the dials come to, (Hq, 1, D) for the query, (Hq, 1, Dv) for the output, (Hkv, 1, Dv) for the value.

    Batched with one more leading axis. None moves nothing.
    """

    query_gain: Tensor
    query_shift: Tensor | None
    value_gain: Tensor | None
    value_shift: Tensor | None
    gain: Tensor
    shift: Tensor | None


def line(x: Tensor, gain: Tensor, shift: Tensor | None, fresh: bool) -> Tensor:
    """gain·x + shift; in place if x is `fresh`, a tensor that nobody else holds, and there is no gradient."""
    if not fresh or torch.is_grad_enabled():
        return x * gain if shift is None else torch.addcmul(shift, x, gain)
    return x.mul_(gain) if shift is None else torch.addcmul(shift, x, gain, out=x)


def alike(dial: Tensor, x: Tensor) -> Tensor:
    """A dial in the type of x, on its device: parts of a model may lie on several."""
    return dial if dial.dtype == x.dtype and dial.device == x.device else dial.to(x.device, x.dtype)


class AttentionDials(Attached):
    """The dials; subclasses say how they reach their host. Sizes are taken from the tensors of a trial pass."""

    heads = kv_heads = head_dim = value_dim = 0
    columns: Tensor | None = None
    """(D,): which scale each channel of q and k has, where rotary positions tie them (`aet.backbones.rotary`)."""
    heads_first = False
    """Whether the output is (B, Hq, T, Dv), not (B, T, Hq, Dv)."""
    inside = False
    """Whether a query's weights do not sum to one, so that the value is moved before the sum."""

    def __init__(self) -> None:
        super().__init__()
        self.sources: dict[str, Source] = {}
        """Where q and v come from, for `merge`."""

    @property
    def sized(self) -> bool:
        """Whether a trial pass has come by."""
        return self.heads > 0

    def size(self, query: Tensor, key: Tensor, value: Tensor) -> None:
        """Take the sizes of q (B, Hq, T, D), k (B, Hkv, S, D), v (B, Hkv, S, Dv)."""
        self.heads, self.kv_heads = query.shape[1], key.shape[1]
        self.head_dim, self.value_dim = query.shape[3], value.shape[3]

    def dial_shapes(self) -> dict[str, tuple[int, ...]]:
        """(Hq, 1, D) of the query, (Hkv, 1, D) of key and value, (Hq, 1, 1); D is fewer where rotary pairs share."""
        free = self.head_dim if self.columns is None else int(self.columns.max()) + 1
        query, value = (self.heads, 1, free), (self.kv_heads, 1, self.value_dim)
        shapes = {"q_scale": query, "q_shift": query, "k_scale": (self.kv_heads, 1, free)}
        if self.columns is not None:
            del shapes["q_shift"]
        single = (self.heads, 1, 1)
        return {**shapes, "v_scale": value, "v_shift": value, "log_beta": single, "log_gate": single}

    def moves(self, dials: Mapping[str, Tensor]) -> Moves:
        """Gains and shifts."""
        beta, gate = dials["log_beta"].exp(), dials["log_gate"].exp()
        key = beta * (1 + self.each_head(self.each_channel(dials["k_scale"])))
        shift = dials.get("q_shift")
        query = key * (1 + self.each_channel(dials["q_scale"])), None if shift is None else key * shift
        value = 1 + dials["v_scale"], dials["v_shift"]
        if self.inside:
            return Moves(*query, *value, gate, None)
        return Moves(*query, None, None, *(gate * self.each_head(dial) for dial in value))

    def each_channel(self, dial: Tensor) -> Tensor:
        """(..., free) -> (..., D)."""
        return dial if self.columns is None else dial[..., self.columns]

    def each_head(self, dial: Tensor) -> Tensor:
        """(..., Hkv, 1, D) -> (..., Hq, 1, D): each key head serves its group of queries."""
        times = self.heads // self.kv_heads
        return dial if times == 1 else dial.repeat_interleave(times, -3)

    def line(self, x: Tensor, gain: Tensor | None, shift: Tensor | None, fresh: bool = False) -> Tensor:
        """gain·x + shift for x (B, H, T, D), or the like; `fresh` if nobody else holds x."""
        if gain is None:
            return x
        return line(x, self.fitted(gain, x), None if shift is None else self.fitted(shift, x), fresh)

    def fitted(self, move: Tensor, x: Tensor) -> Tensor:
        """A gain or shift for the batch of x, in its type, where it is."""
        move = self.for_batch(move, len(x)) if move.ndim == 4 else move
        return alike(move, x)

    def laid(self, dials: Mapping[str, Tensor]) -> Moves:
        """`moves`, as the output lies."""
        moves = self.moves(dials)
        if self.heads_first:
            return moves
        shift = None if moves.shift is None else moves.shift.transpose(-3, -2)
        return moves._replace(gain=moves.gain.transpose(-3, -2), shift=shift)

    def attended(self, attention: Callable[[Tensor, Tensor], Any], query: Tensor, key: Tensor, value: Tensor) -> Any:
        """`attention(query, value)` under the dials; its result, or the first of a tuple, is what they move."""
        probe = PROBE.get()
        if probe is not None:
            probe.see(self, query, key, value)
        moves = self.now(self.laid)
        if moves is None:
            out = attention(query, value)
            if probe is not None:
                probe.went_on(self, out[0] if isinstance(out, tuple) else out)
            return out
        self.check(query, key, value)
        query = self.line(query, moves.query_gain, moves.query_shift)
        out = attention(query, self.line(value, moves.value_gain, moves.value_shift))
        if isinstance(out, tuple):
            return self.line(out[0], moves.gain, moves.shift, fresh=True), *out[1:]
        return self.line(out, moves.gain, moves.shift, fresh=True)

    def check(self, query: Tensor, key: Tensor, value: Tensor) -> None:
        """ConfigError where the tensors are not of the sizes of the trial pass."""
        given = (query.shape[1], key.shape[1], query.shape[3], value.shape[3])
        expected = (self.heads, self.kv_heads, self.head_dim, self.value_dim)
        if given != expected:
            raise ConfigError(
                f"{self.elastic_name} was made for (query heads, key heads, channels, value channels) {expected}, got "
                f"{given}. Make the model elastic again, with `example` of what it will be given."
            )

    def fold(self, dials: Mapping[str, Tensor]) -> None:
        """Move the weights that q, v and the mixed values come from and go to (`aet.backbones.sources`)."""
        moves = self.moves(dials)
        self.move("query", moves.query_gain, moves.query_shift)
        gain, gate = 1 + dials["v_scale"], dials["log_gate"].exp()  # (Hkv, 1, Dv), (Hq, 1, 1)
        if self.heads == self.kv_heads:
            self.move("value", gate * gain, gate * dials["v_shift"])
        else:
            self.move("value", gain, dials["v_shift"])
            self.move("mixed", gate.expand(-1, 1, self.value_dim), None)

    def move(self, role: str, gain: Tensor, shift: Tensor | None) -> None:
        """Have what plays `role`, (..., H, ..., D), come out as gain (H, 1, D) times it, plus shift."""
        if bool((gain == 1).all()) and (shift is None or not bool(shift.any())):
            return
        source = self.sources.get(role)
        if source is None:
            raise ConfigError(
                f"The state cannot be folded into {self.elastic_name}: its {role} does not come straight from a linear "
                "layer or a norm that a trial pass found. Expected a state that leaves it alone. Fold "
                "state.select(lambda name: ...) without these dials, or serve the model under `applied(state)`."
            )
        source.move(self.host, gain, shift)
