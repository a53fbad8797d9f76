"""The null slot: a query may attend to nothing."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aet.attention.attend import attend, stretch
from aet.attention.mechanisms import MECHANISMS, Bounded, Dials, Mechanism


def softmax_off_by_one(scores: Tensor, dim: int = -1) -> Tensor:
    """e^{s_j} / (1 + Σ e^s) written out (Miller 2023): softmax beside one more score of 0.

    >>> softmax_off_by_one(torch.tensor([0.0, 0.0, -torch.inf]))
    tensor([0.3333, 0.3333, 0.0000])
    """
    top = scores.amax(dim, keepdim=True).clamp(min=0)
    terms = (scores - top).exp()
    return terms / ((-top).exp() + terms.sum(dim, keepdim=True))


def null_slot(score: Tensor | None = None) -> Dials:
    """Dials that add a null slot, of score 0 (softmax off by one) or of a learned one for each head.

    Only score differences count, so a null slot of score z is one of score 0 with -z added to every other
    key, and that is a rank-1 factor. These are the learned sinks of GPT-OSS.

    Args:
        score: z, (H,) or a scalar; the lower, the less goes to nothing.

    >>> from aet.attention.attend import attend
    >>> q = torch.zeros(1, 1, 1, 4)
    >>> attend(q, q, q + 1, **null_slot())
    tensor([[[[0.5000, 0.5000, 0.5000, 0.5000]]]])
    >>> attend(q, q, q + 1, **null_slot(torch.tensor(3.0).log()))
    tensor([[[[0.2500, 0.2500, 0.2500, 0.2500]]]])
    """
    if score is None:
        return Dials(null_slot=True)
    return Dials(null_slot=True, query_factor=-score[..., None, None], key_factor=score.new_ones(1, 1))


def attend_with_null_mass(
    query: Tensor, key: Tensor, value: Tensor, *, gate: Tensor | float | None = None, **dials: Any
) -> tuple[Tensor, Tensor]:
    """`attend` with a null slot, and the weight that each query gives to it, in one call of the kernel.

    A channel of ones beside the value collects the weight of the real keys.

    Args:
        query: (B, H, T, D).
        key: (B, Hkv, S, D).
        value: (B, Hkv, S, Dv).
        gate: as in `attend`.
        dials: the others of `attend`; the null slot is on.

    Returns:
        The output (B, H, T, Dv) and the mass on nothing (B, H, T), which is 1 for a query that sees no key.

    >>> q = torch.zeros(1, 1, 1, 4)
    >>> attend_with_null_mass(q, q, q)[1]
    tensor([[[0.5000]]])
    """
    scale = dials.pop("scale", None)
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    if (beta := dials.pop("inverse_temperature", None)) is not None:
        query = (query * stretch("inverse_temperature", beta, query.shape)).to(query.dtype)
    ones = value.new_ones(*value.shape[:3], 1)
    both = attend(
        F.pad(query, (0, 1)),  # one width for q, k and v
        F.pad(key, (0, 1)),
        torch.cat([value, ones], -1),
        scale=scale,
        **(dials | {"null_slot": True}),
    )
    out, kept = both[..., :-1], both[..., -1]
    return out if gate is None else out * stretch("gate", gate, out.shape), 1 - kept


@MECHANISMS.register("null_slot")
class NullSlot(Mechanism):
    """A null slot that counts w times, learned for each head; none, w = 0, is its zero setting.

        out = Σ_j e^{s_j} v_j / (w + Σ_j e^{s_j}) = out₁ / (kept₁ + w (1 - kept₁))

    with out₁ and kept₁ those of w = 1. A learned score z is w = e^z, but from no slot at all it would have no slope.

    >>> q = torch.zeros(1, 2, 1, 4)
    >>> NullSlot(heads=2, weight=3.0)(q, q, q + 1)[0, 0]
    tensor([[0.2500, 0.2500, 0.2500, 0.2500]], grad_fn=...)
    """

    gives: ClassVar[Literal["dials", "query", "output"]] = "output"

    def __init__(self, heads: int, weight: float = 1.0) -> None:
        super().__init__()
        self.raw = nn.Parameter(torch.full((heads, 1, 1), weight))

    @classmethod
    def at_zero(cls, dim: int, heads: int) -> Self:
        """No slot: w = 0."""
        return cls(heads, 0.0)

    @property
    def weight(self) -> Tensor:
        """w, (H, 1, 1)."""
        clipped: Tensor = Bounded.apply(self.raw, 0.0, math.inf)  # type: ignore[no-untyped-call]
        return clipped

    def learned(self) -> dict[str, tuple[Tensor, Tensor | float]]:
        """The weight w."""
        return {"weight of nothing": (self.weight, 0.0)}

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, *, gate: Tensor | float | None = None, **dials: Any
    ) -> Tensor:  # (B, H, T, Dv)
        """Output of the formula above; arguments as in `attend`."""
        out, nothing = attend_with_null_mass(query, key, value, **dials)
        kept = 1 - nothing[..., None]
        share = kept + self.weight * nothing[..., None]
        out = out / torch.where(kept > 0, share, 1)
        return out if gate is None else out * stretch("gate", gate, out.shape)
