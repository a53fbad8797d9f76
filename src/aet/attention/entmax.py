"""Sparse focus: α-entmax in place of softmax, with weights that are exactly 0."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

import torch
from torch import Tensor, nn

from aet.attention.attend import check_shapes, stretch
from aet.attention.mechanisms import MECHANISMS, Bounded, Mechanism
from aet.attention.obvious import attention_scores, softmax_or_zero
from aet.errors import ConfigError

LONGEST = 1024
"""Keys at most: entmax sorts or bisects every row, some 10 to 90 times the cost of the fused kernel."""


def entmax_weights(scores: Tensor, alpha: Tensor | float = 1.5) -> Tensor:
    """α-entmax over the last axis (Peters et al. 2019, Correia et al. 2019).

        p = [(α - 1) z - τ]₊^{1 / (α - 1)},  τ such that Σ p = 1;  α = 1: softmax, α = 2: sparsemax

    Args:
        scores: z, (..., S); -inf hides a key, and a row of -inf gives a row of 0.
        alpha: a number from 1 up, or a tensor that broadcasts to (..., 1) and gets a gradient. Numbers within 0.001
            of 1 count as 1; a tensor's follow the first order around softmax, p = softmax(z - (α - 1)/2 · log²p₁).

    Raises:
        ConfigError: α below 1, or more than 1,024 keys.

    >>> entmax_weights(torch.tensor([-2.0, 0.0, 0.5]), 2.0)
    tensor([0.0000, 0.2500, 0.7500])
    """
    if scores.shape[-1] > LONGEST:
        raise ConfigError(
            f"entmax is for short axes. Expected at most {LONGEST} keys, got {scores.shape[-1]}. Use softmax "
            "with a higher inverse_temperature or a null slot."
        )
    lowest = float(alpha.detach().min()) if isinstance(alpha, Tensor) else alpha
    if not lowest >= 1:
        raise ConfigError(f"alpha is {lowest}. Expected 1 (softmax) or more, 2 is sparsemax. Raise alpha.")
    if not isinstance(alpha, Tensor) and alpha < 1.001:
        return softmax_or_zero(scores)
    from entmax import entmax15, entmax_bisect, sparsemax  # optional: only this focus needs it

    hidden = scores == -torch.inf
    reach = scores.masked_fill(hidden.all(-1, keepdim=True), 0)  # the package has no answer for a row of -inf
    weights: Tensor
    if isinstance(alpha, Tensor):
        stretch("alpha", alpha, torch.Size((*scores.shape[:-1], 1)))
        soft = alpha < 1.001
        weights = entmax_bisect(reach, torch.where(soft, 1.5, alpha), dim=-1)
        return torch.where(soft, _near_softmax(reach, alpha, hidden), weights.masked_fill(hidden, 0))
    if alpha == 1.5:
        weights = entmax15(reach, dim=-1)
    elif alpha == 2:
        weights = sparsemax(reach, dim=-1)
    else:
        weights = entmax_bisect(reach, alpha, dim=-1)
    return weights.masked_fill(hidden, 0)


def _near_softmax(scores: Tensor, alpha: Tensor, hidden: Tensor) -> Tensor:
    """α-entmax to first order in α - 1: from p^{α-1} = (α-1)z - τ, d log p_i/dα = const - log²p_i / 2 at α = 1."""
    surprise = torch.log_softmax(scores, -1).masked_fill(hidden, 0)
    return softmax_or_zero((scores - (alpha - 1) / 2 * surprise.square()).masked_fill(hidden, -torch.inf))


def attend_entmax(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    alpha: Tensor | float = 1.5,
    gate: Tensor | float | None = None,
    **dials: Any,
) -> Tensor:  # (B, H, T, Dv)
    """`attend` with α-entmax in place of softmax; not fused, for short axes.

    Args:
        query: (B, H, T, D).
        key: (B, Hkv, S, D).
        value: (B, Hkv, S, Dv).
        alpha: see `entmax_weights`; (H, 1, 1) for one a head.
        gate: as in `attend`.
        dials: the others of `attend`.

    >>> q, k, v = torch.randn(3, 1, 2, 5, 4).unbind()
    >>> attend_entmax(q, k, v, alpha=2.0, causal=True).shape
    torch.Size([1, 2, 5, 4])
    """
    check_shapes(query, key, value)
    weights = entmax_weights(attention_scores(query, key, **dials), alpha)[..., : key.shape[2]]
    out = weights @ value.repeat_interleave(query.shape[1] // key.shape[1], 1)
    return out if gate is None else out * stretch("gate", gate, out.shape)


@MECHANISMS.register("entmax")
class Entmax(Mechanism):
    """Exact zeros where a head looks away: α-entmax, α learned for each head (Correia et al. 2019).

    α = 1 + a, 0 <= a <= 1; α = 1, the softmax, is its zero setting.

    The paper's α = 1 + σ(a) never reaches softmax but where it cannot leave it; `Bounded` can do both.

    >>> Entmax(heads=2, alpha=1.5).alpha.flatten()
    tensor([1.5000, 1.5000], grad_fn=...)
    """

    gives: ClassVar[Literal["dials", "query", "output"]] = "output"

    def __init__(self, heads: int, alpha: float = 1.5) -> None:
        super().__init__()
        if not 1 <= alpha <= 2:
            raise ConfigError(f"alpha is {alpha}. Expected 1 <= alpha <= 2. Use attend_entmax for other values.")
        self.raw = nn.Parameter(torch.full((heads, 1, 1), alpha - 1.0))  # a

    @classmethod
    def at_zero(cls, dim: int, heads: int) -> Self:
        """α = 1 for every head."""
        return cls(heads, 1.0)

    @property
    def alpha(self) -> Tensor:
        """α, (H, 1, 1)."""
        clipped: Tensor = Bounded.apply(self.raw, 0.0, 1.0)  # type: ignore[no-untyped-call]
        return 1 + clipped

    def learned(self) -> dict[str, tuple[Tensor, Tensor | float]]:
        """α."""
        return {"alpha": (self.alpha, 1.0)}

    def forward(self, query: Tensor, key: Tensor, value: Tensor, **dials: Any) -> Tensor:  # (B, H, T, Dv)
        """Output of `attend_entmax` at this α."""
        return attend_entmax(query, key, value, alpha=self.alpha, **dials)
