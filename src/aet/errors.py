"""Errors that a user can mend: each says what was wrong, what was expected, what was given and the way out.

Anything else that escapes aet with a traceback is a bug of ours.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any


class AetError(Exception):
    """Base of every error that aet raises on purpose."""

    def __str__(self) -> str:
        # KeyError would quote its message; a sentence is meant to be read.
        return str(self.args[0]) if self.args else ""


class DataError(AetError, ValueError):
    """The rows cannot be used as they are: unreadable file, no rows, infinite values, a wrong type."""


class SchemaError(AetError, ValueError):
    """The columns do not fit: missing, renamed, declared twice, or of a kind that aet does not know."""


class ConfigError(AetError, ValueError):
    """A setting is unknown or out of range."""


class MissingPackage(ConfigError, ImportError):
    """What was asked for needs an optional package that is not installed."""


class RunError(AetError, ValueError):
    """A run folder is missing, damaged, foreign, or of a format this version cannot read."""


class FeedbackError(AetError, ValueError):
    """A late label cannot be used: unknown id, given twice, or a class the model does not know."""


class ForgottenRow(FeedbackError, KeyError):
    """A late label came for a row that was served but is no longer kept."""


class StoreError(AetError, OSError):
    """What is written down in service cannot be reached or written: disk full, database gone, file damaged or newer."""


class UpdateRefused(AetError, ValueError):
    """An update forgets more than its gate allows, and no model was written. `report` holds its figures."""

    def __init__(self, *said: object, report: dict[str, Any] | None = None) -> None:
        super().__init__(*said)
        self.report = report or {}


class NotElastic(AetError, TypeError):
    """A module has no attention that an elastic state could move."""


def nearest(given: object, known: Iterable[str]) -> str:
    """Sentence that lists the known names and, if one is close, suggests it.

    >>> nearest("acc", ["accuracy", "loss"])
    "Known: 'accuracy', 'loss'."
    >>> nearest("los", ["accuracy", "loss"])
    "Did you mean 'loss'? Known: 'accuracy', 'loss'."
    """
    known = list(known)
    close = get_close_matches(given, known, n=1) if isinstance(given, str) else []
    suggestion = f"Did you mean {close[0]!r}? " if close else ""
    return f"{suggestion}Known: {', '.join(repr(k) for k in known)}."
