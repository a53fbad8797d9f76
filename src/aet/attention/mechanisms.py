"""What the mechanisms share: the dials they give, how dials add up, and the registries that find them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self, TypedDict, cast

import torch
from torch import Tensor, nn

from aet.attention.attend import attend
from aet.errors import ConfigError
from aet.registry import Registry


class Dials(TypedDict, total=False):
    """Keyword arguments of `attend`; a mechanism returns those it sets."""

    inverse_temperature: Tensor | float
    gate: Tensor | float
    query_factor: Tensor
    key_factor: Tensor
    bias: Tensor
    null_slot: bool
    causal: bool
    scale: float


class Mechanism(nn.Module):
    """A choice of dials, learned or given.

    `forward` names what it reads among: query (B, H, T, D), key and value (B, H, S, D), tokens (B, T, dim),
    weights (B, S), times (B, S), concepts (B, T), lengths (B, T), entropy (B, H, T), context (B, dim), the mean of a
    row's real tokens. It returns what `gives` says: the dials, a query that replaces the old one, or the output itself.
    """

    gives: ClassVar[Literal["dials", "query", "output"]] = "dials"

    @classmethod
    def at_zero(cls, dim: int, heads: int) -> Self:
        """The zero setting, for a model of `dim` channels: attention as if the mechanism were not there."""
        raise NotImplementedError(f"{cls.__name__} must say what its zero setting is.")

    def learned(self) -> dict[str, tuple[Tensor, Tensor | float]]:
        """What training moves, by a name for people: the values, and what they are at the zero setting."""
        return {}


class RatedHeads(Mechanism):
    """A mechanism that learns one rate λ for each head; 0 is its zero setting."""

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.rate = nn.Parameter(torch.zeros(heads))

    @classmethod
    def at_zero(cls, dim: int, heads: int) -> Self:
        """Rates of 0."""
        return cls(heads)

    def learned(self) -> dict[str, tuple[Tensor, Tensor | float]]:
        """λ."""
        return {"rate": (self.rate, 0.0)}


MECHANISMS: Registry[type[Mechanism]] = Registry("mechanism")
"""Mechanisms by name; each file of this folder enters its own."""

POOLINGS: Registry[type[nn.Module]] = Registry("pooling")
"""Poolings by name, built as `POOLINGS[name](dim, hidden)`: tokens (B, T, D) to one vector a row."""


def reads(mechanism: Mechanism, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those of `inputs` that `mechanism.forward` names; ConfigError if one without a default is missing.

    >>> from aet.attention.decay import Decay
    >>> list(reads(Decay(heads=2), {"tokens": torch.zeros(1, 3, 8), "times": torch.zeros(1, 3)}))
    ['times']
    """
    named = readable(mechanism)
    missing = [name for name, needed in named.items() if needed and name not in inputs]
    if missing:
        raise ConfigError(
            f"{type(mechanism).__name__} lacks inputs. Expected {list(named)}, got {sorted(inputs)}. Add {missing}."
        )
    return {name: inputs[name] for name in named if name in inputs}


def readable(mechanism: Mechanism | type[Mechanism]) -> dict[str, bool]:
    """Names that `mechanism.forward` reads, and whether it cannot do without."""
    parameters = inspect.signature(mechanism.forward).parameters.values()
    named = [p for p in parameters if p.kind != p.VAR_KEYWORD and p.name != "self"]
    return {p.name: p.default is p.empty for p in named}


class Bounded(torch.autograd.Function):
    """x clipped to [low, high], with the slope of x itself wherever a step down that slope leads back inside.

    A parameter that lies on its bound can so leave it, and one beyond it is not lost.

    >>> x = torch.tensor([-1.0, -1.0, 0.0, 0.5], requires_grad=True)
    >>> y = Bounded.apply(x, 0.0, 1.0)
    >>> (y * torch.tensor([1.0, -1.0, -1.0, 1.0])).sum().backward()
    >>> y.tolist(), x.grad.tolist()
    ([0.0, 0.0, 0.0, 0.5], [0.0, -1.0, -1.0, 1.0])
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, low: float, high: float) -> Tensor:
        """Clip."""
        ctx.save_for_backward(x)
        ctx.low, ctx.high = low, high
        return x.clamp(low, high)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor, None, None]:
        """The slope that a step down may follow."""
        (x,), (slope,) = ctx.saved_tensors, slopes
        kept = ((x > ctx.low) | (slope < 0)) & ((x < ctx.high) | (slope > 0))
        return slope * kept, None, None


def attend_with(mechanism: Mechanism, inputs: Mapping[str, Tensor], **dials: Any) -> Tensor:  # (B, H, T, D)
    """Attention with one mechanism, which takes what it reads from `inputs`, and with more dials beside it.

    Raises the ConfigErrors of `reads` and `attend`.

    >>> from aet.attention.gate import OutputGate
    >>> off = OutputGate.at_zero(dim=8, heads=2)
    >>> q, k, v = torch.randn(3, 1, 2, 5, 4).unbind()
    >>> x = torch.randn(1, 5, 8)
    >>> torch.allclose(attend_with(off, {"query": q, "key": k, "value": v, "tokens": x}), attend(q, k, v))
    True
    """
    query, key, value = inputs["query"], inputs["key"], inputs["value"]
    read = reads(mechanism, inputs)
    if mechanism.gives == "output":
        out: Tensor = mechanism(**read, **dials)
        return out
    if mechanism.gives == "query":
        return attend(mechanism(**read), key, value, **dials)
    return attend(query, key, value, **combine(mechanism(**read), cast(Dials, dials)))


def combine(*dials: Dials) -> Dials:
    """All dials at once: temperatures and gates multiply, scores add up, masks intersect.

    Factors are joined along their rank, so every bias stays on the fused kernel. A null slot or a causal mask
    that one asks for holds for all. Raises ConfigError if two ask for different scales.

    >>> one = Dials(query_factor=torch.ones(1, 1), key_factor=torch.zeros(5, 1), gate=0.5)
    >>> two = Dials(query_factor=torch.ones(4, 1, 2), key_factor=torch.zeros(5, 2), gate=0.5)
    >>> both = combine(one, two)
    >>> both["query_factor"].shape, both["key_factor"].shape, both["gate"]
    (torch.Size([4, 1, 3]), torch.Size([5, 3]), 0.25)
    """
    total: dict[str, Any] = {}
    for given in dials:
        for name, dial in given.items():
            total[name] = _join(name, total[name], dial) if name in total else dial
    return cast(Dials, total)


def _join(name: str, old: Any, new: Any) -> Any:
    if name in ("inverse_temperature", "gate"):
        return old * new
    if name in ("query_factor", "key_factor"):
        lead = torch.broadcast_shapes(old.shape[:-1], new.shape[:-1])
        return torch.cat([old.expand(*lead, -1), new.expand(*lead, -1)], -1)
    if name == "bias":
        return _join_masks(old, new)
    if name in ("null_slot", "causal"):
        return old or new
    if old != new:
        raise ConfigError(f"Two values for {name}. Expected one, got {old} and {new}. Leave one of them out.")
    return old


def _join_masks(old: Tensor, new: Tensor) -> Tensor:
    if old.dtype == new.dtype == torch.bool:
        return old & new
    if old.dtype != torch.bool and new.dtype != torch.bool:
        return old + new
    seen, scores = (old, new) if old.dtype == torch.bool else (new, old)
    return torch.where(seen, scores, -torch.inf)
