"""What an output reads that answers for each word, or word by word: the trunk's last tokens, not their summary.

Tags are read at the words' places. Before the first block each word hears its neighbours, in place of a window of words
(Collobert et al. 2011, 1103.0398):

    x_w ← x_w + A x_{w-1} + B x_{w+1}            A = B = 0 at the start

An entity is told from the next by what stands beside a word, and attention takes far more sentences to find that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aet.cells import TARGETS
from aet.cells.words import MOST
from aet.errors import ConfigError

if TYPE_CHECKING:
    from aet.model import Model


class Places(nn.Module):
    """Stands where the pooling stands: every token, as what answers step by step reads them.

    tokens (B, T, dim), mask (B, T) -> summary (B, dim), weights (B, T); `words` gives (B, W, dim + 1), whose last
    channel is 1 where there is a token. The summary is their mean, for whoever asks for one a row.

    >>> tokens, mask = torch.arange(8.0).view(1, 4, 2), torch.tensor([[True, True, False, True]])
    >>> Places()(tokens, mask)[0].tolist(), Places().words(tokens, mask).shape
    ([[2.66..., 3.66...]], torch.Size([1, 4, 3]))
    """

    span = slice(None)
    """Which tokens are read."""

    def around(self, tokens: Tensor, mask: Tensor | None) -> Tensor:
        """The tokens (B, T, dim) before the first block."""
        return tokens

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Mean over the tokens read, and the weights that it takes."""
        weights = torch.zeros_like(tokens[..., 0])
        real = self.real(tokens, mask)
        weights[:, self.span] = real / real.sum(-1, keepdim=True).clamp_min(1)
        return (weights[:, None] @ tokens).squeeze(1), weights

    def words(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """The tokens read, 0 where there is none, each with its mark."""
        real = self.real(tokens, mask)[..., None]
        return torch.cat([tokens[:, self.span] * real, real], -1)

    def real(self, tokens: Tensor, mask: Tensor | None) -> Tensor:
        """1 where there is a token, (B, W)."""
        mask = tokens.new_ones(tokens.shape[:2], dtype=torch.bool) if mask is None else mask
        return mask[:, self.span].to(tokens.dtype)


class WordPlaces(Places):
    """Stands where the pooling stands: its summary is the mean over the words, for whoever asks for one a row.

    tokens (B, T, dim), mask (B, T) -> summary (B, dim), weights (B, T); `words` gives (B, W, dim + 1), whose last
    channel is 1 where there is a word.

    Args:
        dim: channels of a token.
        first: place of the first word among the tokens.
        count: W.

    >>> places = WordPlaces(2, first=1, count=2)
    >>> tokens, mask = torch.arange(8.0).view(1, 4, 2), torch.tensor([[True, True, False, True]])
    >>> places.words(tokens, mask).tolist()
    [[[2.0, 3.0, 1.0], [0.0, 0.0, 0.0]]]
    >>> places(tokens, mask)[0].tolist()
    [[2.0, 3.0]]
    """

    def __init__(self, dim: int, first: int = 0, count: int = MOST) -> None:
        super().__init__()
        self.span = slice(first, first + count)
        self.before, self.after = (nn.Linear(dim, dim, bias=False) for _ in range(2))  # A, B
        for side in (self.before, self.after):
            nn.init.zeros_(side.weight)

    def around(self, tokens: Tensor, mask: Tensor | None) -> Tensor:
        """The tokens (B, T, dim), each word with what it hears of its neighbours."""
        words = self.words(tokens, mask)[..., :-1]
        heard = F.pad(self.before(words[:, :-1]), (0, 0, 1, 0)) + F.pad(self.after(words[:, 1:]), (0, 0, 0, 1))
        start, stop = self.span.start, tokens.shape[1] - self.span.stop
        return tokens + F.pad(heard, (0, 0, start, stop))


def places_of(model: Model, wide: bool) -> Places:
    """What a model's output reads: the one input that its target speaks of, or all; ConfigError beside a wide path,
    which sums rows up.
    """
    if wide:
        raise ConfigError(
            f"The output {model.output.kind!r} answers for each word, the wide path for the whole row: expected "
            f"model.wide=0, got {model.config.model.wide}. Leave it out."
        )
    kind, first = TARGETS[model.schema.output].reads, 0
    if kind is None:
        return Places()
    for _, part in model.parts():
        if part.kind == kind:
            break
        first += len(part.token_names())
    return WordPlaces(model.dim, first)


def used(mask: Tensor | None) -> Tensor | None:
    """Places (T,) where any row has a token; None if that is not known or is every place."""
    if mask is None or torch.compiler.is_compiling():
        return None
    some = mask.any(0)
    return None if bool(some.all()) else some


def spread(tokens: Tensor, places: Tensor) -> Tensor:
    """Tokens (B, t, dim) back at their places (T,), t of them True: (B, T, dim), 0 elsewhere."""
    whole = tokens.new_zeros(len(tokens), len(places), tokens.shape[-1])
    whole[:, places] = tokens
    return whole
