"""Moments of the tokens that a model's inputs make of its training rows: enough to draw rows like them, no row kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from aet.attention.state import under

ROWS, RANK = 512, 16
LEAST = 10
"""Rows that a mean is taken over at least, and a direction at least on average: fewer would show themselves in it."""
LARGEST = 2**19
"""Numbers that the moments may take; where they would take more there are none."""
PREFIX = "tokens."


@dataclass
class TokenMoments:
    """A Gaussian a class over all tokens of a row, with the same covariance for every class.

        tokens = centre_c + Σ_r ε_r factor_r + η · rest,    c ~ shares,   ε, η standard normal

    centres (C, T, dim), factor (R, T, dim): the R directions in which rows of a class differ most, rest (T, dim): the
    deviation that these leave, shares (C,), real (T,): how often a token is there. C is 1 for answers without classes.
    """

    centres: Tensor
    factor: Tensor
    rest: Tensor
    shares: Tensor
    real: Tensor

    @classmethod
    def fits(cls, classes: int, tokens: int, dim: int) -> bool:
        """Whether the moments stay small."""
        return (classes + RANK) * tokens * dim <= LARGEST

    @classmethod
    @torch.no_grad()
    def of(cls, tokens: Tensor, mask: Tensor | None, place: Tensor | None, classes: int = 1) -> TokenMoments:
        """Moments of tokens (N, T, dim), those where mask (N, T) is False aside, of rows of the classes `place` (N,).

        A class, or a token of it, with fewer than 10 rows has the mean over all classes, and such a class is not drawn;
        a token with fewer than 10 rows in all has 0.

        >>> x = torch.arange(24.0).view(24, 1, 1)
        >>> place = (torch.arange(24) >= 12).long()
        >>> TokenMoments.of(x, None, place, classes=3).centres.flatten().tolist()
        [5.5, 17.5, 11.5]
        """
        rows, count, dim = tokens.shape
        place = torch.zeros(rows, dtype=torch.long, device=tokens.device) if place is None else place
        there = tokens.new_ones(rows, count) if mask is None else mask.to(tokens.dtype)
        of_class = torch.nn.functional.one_hot(place, classes).to(tokens.dtype)  # (N, C)
        often = of_class.sum(0) * (of_class.sum(0) >= LEAST)
        shares = often if often.any() else of_class.sum(0)
        number = of_class.T @ there  # (C, T)
        sums = torch.einsum("nc,ntd->ctd", of_class, tokens * there[..., None])  # (C, T, dim)
        whole = (sums.sum(0) / number.sum(0).clamp_min(1)[:, None]) * (number.sum(0) >= LEAST)[:, None]
        centres = torch.where((number >= LEAST)[..., None], sums / number.clamp_min(1)[..., None], whole)
        apart = ((tokens - centres[place]) * there[..., None]).flatten(1)  # (N, T·dim)
        # The directions of the rows' own Gram matrix: small, and nothing is drawn.
        _, vectors = torch.linalg.eigh((apart @ apart.T).double())
        kept = vectors.flip(1)[:, : min(RANK, rows // LEAST)].to(apart.dtype)  # (N, R)
        factor = (kept.T @ apart) / rows**0.5
        rest = (apart.square().mean(0) - factor.square().sum(0)).clamp_min(0).sqrt()
        return cls(
            centres, factor.view(kept.shape[1], count, dim), rest.view(count, dim), shares / shares.sum(), there.mean(0)
        )

    def draw(self, rows: int) -> tuple[Tensor, Tensor | None]:
        """Tokens (rows, T, dim) and mask (rows, T), None if every token is always there; by the global generator."""
        place = torch.multinomial(self.shares, rows, replacement=True)
        spread = torch.einsum("nr,rtd->ntd", torch.randn(rows, len(self.factor), device=place.device), self.factor)
        tokens = self.centres[place] + spread + torch.randn_like(spread) * self.rest
        if bool((self.real == 1).all()):
            return tokens, None
        mask = torch.rand(rows, len(self.real), device=place.device) < self.real
        mask[~mask.any(1), self.real.argmax()] = True
        return tokens, mask

    def to(self, device: torch.device) -> TokenMoments:
        """The same on another device."""
        return TokenMoments(**{name: t.to(device) for name, t in vars(self).items()})

    def tensors(self) -> dict[str, Tensor]:
        """By name, for safetensors."""
        return {f"{PREFIX}{name}": t for name, t in vars(self).items()}

    @classmethod
    def read(cls, named: Mapping[str, Tensor]) -> TokenMoments | None:
        """What `tensors` gave; None if it is not there."""
        found = under(PREFIX, named)
        return cls(**found) if found else None
