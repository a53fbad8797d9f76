"""What stands beside the tokens of the rows at hand: figures of each token that a mechanism may read, such as times.

Tokens travel alone, from the inputs through the trunk. Whoever makes them says here what else is known of them, and a
layer finds it without its callers passing it on. Each thread has its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar

from torch import Tensor

from aet.errors import ConfigError

_BESIDE: ContextVar[Mapping[str, Tensor]] = ContextVar("aet_beside_tokens", default={})  # noqa: B039 (never written)


def stand_beside(figures: Mapping[str, Tensor]) -> None:
    """From here on, until the next call in this thread, these figures (B, T, ...) stand beside the tokens (B, T, dim).

    >>> import torch
    >>> stand_beside({"times": torch.zeros(2, 3)})
    >>> beside("times", rows=4).shape  # two members of each row, side by side
    torch.Size([4, 3])
    >>> stand_beside({})
    """
    _BESIDE.set(figures)


def beside(name: str, rows: int) -> Tensor:
    """A figure of the tokens of so many rows, (rows, T, ...); each of its rows as often as the members of an ensemble
    read it. ConfigError where no input gives it, or where it stands beside other rows.
    """
    figures = _BESIDE.get()
    if name not in figures:
        raise ConfigError(
            f"A mechanism reads {name!r} of each token, and no input of this model gives it: expected an input that "
            f"does, as histories give 'times'; got {', '.join(figures) or 'none'}. Leave the mechanism out."
        )
    known = figures[name]
    if len(known) == rows:
        return known
    if not len(known) or rows % len(known):
        raise ConfigError(
            f"{name!r} is known of {len(known)} rows and was asked of {rows}: expected tokens of the rows that were "
            "read last. Turn the part off that makes tokens of its own."
        )
    return known.repeat_interleave(rows // len(known), 0)
