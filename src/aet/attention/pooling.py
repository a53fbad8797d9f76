"""From a score for each token to one vector a row."""

from __future__ import annotations

import torch
from torch import Tensor

from aet.attention.obvious import softmax_or_zero
from aet.errors import ConfigError


def pool(
    scores: Tensor, tokens: Tensor, mask: Tensor | None = None, key_weights: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Mean of the tokens under w · softmax(scores), over real tokens only.

        a_j = w_j e^{s_j} / Σ_k w_k e^{s_k}        pooled = Σ_j a_j x_j

    Args:
        scores: s, (B, T).
        tokens: x, (B, T, D).
        mask: (B, T), True = real.
        key_weights: w, (B, T), none negative; weight 2 is the token given twice.

    Returns:
        pooled (B, D) and a (B, T); zeros for a row without real tokens.

    Raises:
        ConfigError: shapes that do not fit, a mask that is not boolean, or a negative weight.

    >>> x = torch.tensor([[[1.0], [3.0], [9.0]]])
    >>> pool(torch.zeros(1, 3), x, torch.tensor([[True, True, False]]))
    (tensor([[2.]]), tensor([[0.5000, 0.5000, 0.0000]]))
    """
    shape = tokens.shape[:2]
    for name, given in (("mask", mask), ("key_weights", key_weights), ("scores", scores)):
        if given is not None and given.shape != shape:
            raise ConfigError(
                f"{name} does not fit the tokens. Expected {tuple(shape)}, got {tuple(given.shape)}. "
                "Give one entry a token."
            )
    if key_weights is not None:
        if not bool((key_weights >= 0).all()):
            worst = key_weights.min().item()
            raise ConfigError(f"Key weights must be 0 or more. Got {worst} among them. Clip or drop such weights.")
        present = key_weights > 0
        scores = torch.where(present, scores + torch.where(present, key_weights, 1).log(), -torch.inf)
    if mask is not None:
        if mask.dtype != torch.bool:
            raise ConfigError(f"mask holds {mask.dtype}. Expected booleans, True = real. Use mask.bool().")
        scores = scores.masked_fill(~mask, -torch.inf)
        tokens = tokens.masked_fill(~mask[..., None], 0)  # padding may hold anything, nan too
    weights = softmax_or_zero(scores)  # (B, T)
    return (weights[:, None] @ tokens)[:, 0], weights
