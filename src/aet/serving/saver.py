"""Streams are saved from time to time, and versions that other programs changed are followed."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from aet.errors import AetError
from aet.serving.residents import Residents

log = logging.getLogger(__name__)
SHARE = 0.02
"""Of the time that saving streams from time to time may take: answers and their writing wait for it."""


class Saver:
    """A thread of its own, once it is started.

    Args:
        residents: the streams.
        follow: takes over what other programs changed.
        every: seconds after which streams that moved are saved, as far as `SHARE` allows, and versions followed.
    """

    def __init__(self, residents: Residents, follow: Callable[[], None], every: float) -> None:
        self.residents, self.follow, self.every = residents, follow, every
        self._stopped, self._followed = threading.Event(), 0.0
        self._thread = threading.Thread(target=self._run, name="aet-saver", daemon=True)

    def start(self) -> None:
        """Save and follow from now on."""
        self._followed = time.monotonic()
        self._thread.start()

    def stop(self) -> None:
        """No longer."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def save(self, reason: str = "from time to time", share: float = 1.0) -> None:
        """Every stream that moved since it was saved, with rests so that it takes at most a share of the time."""
        first: AetError | None = None
        for resident in self.residents.all():
            started = time.monotonic()
            try:
                self.residents.save(resident, reason)
            except AetError as error:  # one that cannot be saved keeps no other from it
                first = first or error
            if share < 1:
                self._rest((time.monotonic() - started) * (1 / share - 1))
        if first is not None:
            raise first

    def _rest(self, seconds: float) -> None:
        """Wait, and follow where it is time, however long saving takes."""
        if not self._stopped.wait(seconds) and time.monotonic() >= self._followed + self.every:
            self._followed = time.monotonic()
            self.follow()

    def _run(self) -> None:
        """A store that cannot be written now is tried again the next time; the labels it has are safe."""
        while True:
            self._rest(self.every)
            if self._stopped.is_set():
                return
            try:
                self.save(share=SHARE)
            except AetError as error:
                log.error("Streams were not saved: %s", error)
