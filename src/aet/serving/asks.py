"""What is asked of a service, and what it answers."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from aet.errors import DataError
from aet.serving.cells import Row
from aet.serving.refusals import Unknown
from aet.serving.residents import Resident

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ask:
    """Rows of one request for one stream."""

    owner: str
    stream: str
    rows: Sequence[Row]
    model: str | None = None
    proba: bool = False
    columns: frozenset[str] = field(init=False)
    """That any of the rows has."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "columns", frozenset().union(*self.rows))


@dataclass(frozen=True)
class Answers:
    """One answer a row, in order, and who gave them."""

    model: str
    version: str
    stream: str
    rows: list[dict[str, Any]]
    number: int = 0
    """Of the stream in the store."""
    resident: Resident | None = field(default=None, repr=False, compare=False)


def gone(stream: str) -> Unknown:
    """What to raise for a stream that was forgotten while it answered."""
    return Unknown(f"The stream {stream[:80]!r} was forgotten just now. Send the rows again to make it anew.")


def unreadable(error: Exception) -> DataError:
    """What to answer for rows that nothing foresaw; the log has the whole of it."""
    log.error("Rows could not be read.", exc_info=error)
    return DataError(f"These rows cannot be read: {error}.")
