"""What an output that answers step by step is told of the rows, beside the tokens that it reads.

An answer made step by step is judged against the truth only knowing it: each piece is asked for after the true pieces
before it (teacher forcing). So whoever passes rows with known answers through a model says which these are:

    with telling(Told(pieces, target)):
        logits = output(read)
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Told:
    """pieces (B, T): what stands behind each token in the output's own vocabulary, -1 where nothing does; target, as
    the output encodes it, None where it is not known.
    """

    pieces: Tensor
    target: Tensor | None = None


_TOLD: ContextVar[Told | None] = ContextVar("aet_told", default=None)


@contextmanager
def telling(what: Told | None) -> Iterator[None]:
    """Within the context outputs know this of the rows that they answer."""
    token = _TOLD.set(what)
    try:
        yield
    finally:
        _TOLD.reset(token)


def told() -> Told | None:
    """What is told now; None where nothing is."""
    return _TOLD.get()
