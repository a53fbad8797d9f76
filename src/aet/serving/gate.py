"""A gate that many pass side by side, and that one can close behind those who are inside."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Gate:
    """Whoever is inside may pass again, so that a thread which holds one thing can always get the next and leave.

    >>> gate = Gate()
    >>> with gate.passing(), gate.passing():
    ...     pass
    >>> with gate.closed():
    ...     pass
    """

    def __init__(self) -> None:
        self._change = threading.Condition()
        self._inside: dict[int, int] = {}
        self._shut = False

    @contextmanager
    def passing(self) -> Iterator[None]:
        """Inside while the block lasts; waits where the gate is closed."""
        me = threading.get_ident()
        with self._change:
            while self._shut and me not in self._inside:
                self._change.wait()
            self._inside[me] = self._inside.get(me, 0) + 1
        try:
            yield
        finally:
            with self._change:
                self._inside[me] -= 1
                if not self._inside[me]:
                    del self._inside[me]
                if self._shut:
                    self._change.notify_all()

    @contextmanager
    def closed(self) -> Iterator[None]:
        """Alone while the block lasts: waits until those inside are out, and lets nobody in before its end."""
        with self._change:
            while self._shut:
                self._change.wait()
            self._shut = True
            while self._inside:
                self._change.wait()
        try:
            yield
        finally:
            with self._change:
                self._shut = False
                self._change.notify_all()
