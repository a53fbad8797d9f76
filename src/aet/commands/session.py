"""One command from start to end: what it prints, where, and with which exit code.

Standard output carries the answer: text for people, or with `--json` exactly one JSON object. Everything else
(progress, warnings, errors) goes to standard error. Exit codes: 0 done, 2 an error that the user can mend, 3 an
update refused by its gate, 130 interrupted.
"""

from __future__ import annotations

import json
import math
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from typing import Any

import typer

from aet.errors import AetError
from aet.ranks import leads

MENDABLE, REFUSED, INTERRUPTED = 2, 3, 130
"""Exit codes."""


class Session:
    """Where a command puts what it has to say."""

    def __init__(self, as_json: bool) -> None:
        self.as_json, self.speaks = as_json, leads()
        self.going_on = "The same command starts it again."
        """What to tell a person who interrupts."""

    @property
    def progress(self) -> bool:
        """Whether to show progress."""
        return self.speaks and not self.as_json

    def give(self, answer: Mapping[str, Any]) -> None:
        """The one JSON object of a command."""
        if self.as_json and self.speaks:
            typer.echo(json.dumps(plain(answer), ensure_ascii=False, allow_nan=False))

    def show(self, *shown: Any) -> None:
        """Text and tables for people."""
        if self.progress:
            console = make_console()
            for thing in shown:
                console.print(thing, highlight=False, markup=False)

    def tell(self, sentence: str, colour: str = "yellow") -> None:
        """A sentence on standard error."""
        if self.speaks:
            typer.secho(sentence, fg=colour, err=True)

    def fail(self, kind: str, message: str, code: int) -> typer.Exit:
        """Report what went wrong; gives the exit to raise."""
        self.give({"error": {"kind": kind, "message": message}})
        typer.secho(message, fg="red", err=True)
        return typer.Exit(code)


@contextmanager
def session(as_json: bool) -> Iterator[Session]:
    """A command's session: errors that the user can mend become a sentence, warnings too."""
    made = Session(as_json)
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *rest: made.tell(f"Note: {message}")
        try:
            yield made
        except AetError as error:
            raise made.fail(type(error).__name__, str(error), MENDABLE) from None
        except BrokenPipeError:
            raise  # whoever read the answer has enough of it
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            message = f"{where}{error.strerror or error}. Check that the path is right, may be written, and has room."
            raise made.fail(type(error).__name__, message, MENDABLE) from None
        except KeyboardInterrupt:
            raise made.fail("Interrupted", f"Interrupted. {made.going_on}", INTERRUPTED) from None


def make_console() -> Any:
    """A console on standard output; wide where there is no terminal, so that nothing is cut off in files."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 160)


def plain(value: Any) -> Any:
    """The same as JSON knows it: null for numbers that are not finite and for missing values.

    >>> plain({"a": float("nan"), "b": (1, "x")})
    {'a': None, 'b': [1, 'x']}
    """
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set):
        return [plain(inner) for inner in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, date):
        return value.isoformat()
    return value if isinstance(value, str | int | bool | None) else str(value)
