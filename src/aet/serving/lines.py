"""What the store takes and gives: one line of each table."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class StreamLine:
    """A stream; `settings` are the arguments of `model.stream`."""

    number: int
    owner: str
    name: str
    model: str
    settings: dict[str, Any]
    made: datetime


@dataclass(frozen=True)
class AnsweredRow:
    """A row and its answer; `values` is None where they are not kept, `masked` if personal data was replaced."""

    id: Hashable
    values: Mapping[str, Any] | None
    masked: bool
    answer: Mapping[str, Any]


@dataclass(frozen=True)
class Label:
    """A true answer that came late."""

    id: Hashable
    label: Any
    at_random: bool = False


@dataclass(frozen=True)
class LabelledRow:
    """A row whose true answer is known, with what was answered and by which version; numbered as labels came."""

    number: int
    stream: int
    id: Hashable
    at: datetime
    version: str
    values: Mapping[str, Any]
    masked: bool
    answer: Mapping[str, Any]
    label: Any
    at_random: bool


@dataclass(frozen=True)
class StateLine:
    """What a stream was at a moment; `content` is None in lists, and for states older than the newest kept."""

    number: int
    at: datetime
    reason: str
    size: int
    version: str
    """Of the model."""
    content: bytes | None = None


@dataclass(frozen=True)
class DecisionLine:
    """What adaptation or guard did after so many rows, and why."""

    number: int
    at: datetime
    rows: int
    kind: str
    text: str


@dataclass(frozen=True)
class AlarmLine:
    """An alarm: raised `times` times between `first` and `last`; `stream` is None for one of the whole server."""

    number: int
    stream: int | None
    kind: str
    first: datetime
    last: datetime
    times: int
    text: str
    todo: str
    closed: datetime | None


@dataclass(frozen=True)
class AuditLine:
    """Who did what, about what."""

    number: int
    at: datetime
    key: str
    act: str
    about: str


@dataclass(frozen=True)
class Forgotten:
    """How many lines are gone; `stays` says in words what is not, and what to do about it."""

    rows: int = 0
    labels: int = 0
    states: int = 0
    decisions: int = 0
    alarms: int = 0
    stays: tuple[str, ...] = ()
