"""What an output reads that answers what comes next: the last token, and while training those of all places.

A place sees the places before it and itself alone, or each would be shown its answer (Kang and McAuley 2018,
1808.09781); so the one at the end is trained at every place. Tokens of other inputs are seen by all places and see each
other only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from aet.attention.mechanisms import MECHANISMS, readable
from aet.errors import ConfigError

if TYPE_CHECKING:
    from aet.model import Model


class LastPlace(nn.Module):
    """Stands where the pooling stands: its summary is the last token of one input.

    tokens (B, T, dim), mask (B, T) -> summary (B, dim), weights (B, T); `every` gives (B, W, dim).

    Args:
        tokens: T.
        first: place of the input's first token.
        count: W.

    >>> place = LastPlace(tokens=4, first=1, count=3)
    >>> place.sees[1].int().tolist(), place.sees[3].int().tolist(), place.sees[0].int().tolist()
    ([1, 1, 0, 0], [1, 1, 1, 1], [1, 0, 0, 0])
    >>> place(torch.arange(8.0).view(1, 4, 2))[0].tolist()
    [[6.0, 7.0]]
    """

    sees: Tensor
    own: Tensor

    def __init__(self, tokens: int, first: int, count: int) -> None:
        super().__init__()
        self.span = slice(first, first + count)
        order = torch.zeros(tokens)
        order[self.span] = torch.arange(1.0, count + 1)
        self.register_buffer("sees", order[:, None] >= order, persistent=False)  # (T, T)
        self.register_buffer("own", torch.eye(tokens, dtype=torch.bool), persistent=False)

    def bias(self, mask: Tensor | None) -> Tensor:
        """Who sees whom, (B, 1, T, T) or (1, 1, T, T): a place that is not there sees itself, or it would see none."""
        if mask is None:
            return self.sees[None, None]
        return ((mask[:, None] & self.sees) | self.own)[:, None]

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The last token, and the weights that it takes."""
        weights = torch.zeros_like(tokens[..., 0])
        weights[:, self.span.stop - 1] = 1
        return tokens[:, self.span.stop - 1], weights

    def every(self, tokens: Tensor) -> Tensor:
        """The tokens of all places."""
        return tokens[:, self.span]


def last_place(model: Model, kind: str, wide: bool) -> LastPlace:
    """That of a model with one input of a kind; ConfigError beside what would show a place what comes after it."""
    if wide:
        raise ConfigError(
            f"The output {model.output.kind!r} is trained at each place, the wide path answers for the whole row: "
            f"expected model.wide=0, got {model.config.model.wide}. Leave it out."
        )
    if leaks := [n for n in model.config.model.attention if n in MECHANISMS and "context" in readable(MECHANISMS[n])]:
        raise ConfigError(
            f"The mechanism {leaks[0]!r} reads the mean of all tokens, and the output {model.output.kind!r} is trained "
            "at each place, which may not know what comes after it: expected another mechanism. Leave it out."
        )
    first = 0
    for _, part in model.parts():
        count = len(part.token_names())
        if part.kind == kind:
            break
        first += count
    return LastPlace(len(model.token_names()), first, count)
