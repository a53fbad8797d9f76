"""Alarms on their way: handed over at once, sent by a thread a channel, tried again, never in the way of serving."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from aet.errors import ConfigError
from aet.monitoring.channels import Channel, NotSent

LOGGER = logging.getLogger("aet.alarms")


class Outbox:
    """One channel's alarms that wait to be sent, `size` at most; if there are more the oldest is dropped, and counted.

    Args:
        channel: where they go.
        size: how many may wait.
        tries: of each alarm.
        wait: seconds before the second try; doubled before each one after, up to a minute.

    >>> class Kept:
    ...     def __init__(self): self.alarms = []
    ...     def send(self, alarm): self.alarms.append(alarm["text"])
    >>> kept = Kept()
    >>> outbox = Outbox(kept)
    >>> outbox.push({"text": "drift"})
    >>> outbox.close(), kept.alarms, outbox.sent
    (True, ['drift'], 1)
    """

    def __init__(self, channel: Channel, size: int = 100, tries: int = 5, wait: float = 1.0) -> None:
        if size < 1 or tries < 1 or wait < 0:
            raise ConfigError(f"size and tries are 1 or more, wait 0 or more: got {size}, {tries} and {wait}.")
        self.channel, self.size, self.tries, self.wait = channel, size, tries, wait
        self.sent = self.failed = self.dropped = 0
        self.problem: str | None = None
        """What went wrong last; None once a later alarm went out."""
        self._waiting: deque[Mapping[str, Any]] = deque()
        self._changed = threading.Condition()
        self._closing = self._hurry = False
        self._thread: threading.Thread | None = None

    def push(self, alarm: Mapping[str, Any]) -> None:
        """Hand an alarm over; never waits for the channel."""
        with self._changed:
            if self._closing:
                self.dropped += 1
                return
            if len(self._waiting) >= self.size:
                self._waiting.popleft()
                self.dropped += 1
            self._waiting.append(alarm)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="aet-alarms", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing)
                if not self._waiting or self._hurry:
                    return
                alarm = self._waiting.popleft()
            self._send(alarm)

    def _send(self, alarm: Mapping[str, Any]) -> None:
        out = False
        try:
            out = self._tried(alarm)
        finally:  # also where a channel raises what it should not, which ends the thread; `push` starts another
            with self._changed:
                self.sent += out
                self.failed += not out
                self.problem = None if out else self.problem or f"{self.channel!r} broke off."
        if not out:
            LOGGER.error("An alarm did not go out: %s", self.problem)

    def _tried(self, alarm: Mapping[str, Any]) -> bool:
        """Whether it went out at one of the tries."""
        for number in range(self.tries):
            try:
                self.channel.send(alarm)
            except NotSent as error:
                self.problem = str(error)
                if not error.again or number + 1 == self.tries or self._paused(number):
                    return False
            else:
                return True
        return False

    def _paused(self, number: int) -> bool:
        """Wait before the next try; True if there is no time for one."""
        with self._changed:
            return self._changed.wait_for(lambda: self._hurry, min(60.0, self.wait * 2**number))

    def close(self, timeout: float = 5.0) -> bool:
        """Send what waits, within `timeout` seconds; gives whether nothing was left behind. Nothing is taken after."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(timeout)
        with self._changed:
            self._hurry = True
            self.dropped += len(self._waiting)
            left = len(self._waiting) > 0 or (self._thread is not None and self._thread.is_alive())
            self._waiting.clear()
            self._changed.notify_all()
        return not left

    def status(self) -> dict[str, Any]:
        """JSON-able: how many went out, failed, were dropped and wait, and what went wrong last."""
        counts = {name: getattr(self, name) for name in ("sent", "failed", "dropped", "problem")}
        return {"channel": repr(self.channel), **counts, "waiting": len(self._waiting)}


class Delivery:
    """Every alarm to every channel; arguments as in `Outbox`."""

    def __init__(self, channels: Sequence[Channel], size: int = 100, tries: int = 5, wait: float = 1.0) -> None:
        self.outboxes = [Outbox(channel, size, tries, wait) for channel in channels]

    def push(self, alarm: Mapping[str, Any]) -> None:
        """Hand an alarm over to each channel."""
        for outbox in self.outboxes:
            outbox.push(alarm)

    def close(self, timeout: float = 5.0) -> bool:
        """`Outbox.close` of each; gives whether nothing was left behind."""
        closed = [outbox.close(timeout) for outbox in self.outboxes]
        return all(closed)

    def status(self) -> list[dict[str, Any]]:
        """`Outbox.status` of each."""
        return [outbox.status() for outbox in self.outboxes]
