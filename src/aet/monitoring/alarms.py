"""Signals become alarms: one open at a time for each stream and kind, with what to look at and what to do."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from aet.errors import ConfigError
from aet.monitoring.channels import Channel, Log
from aet.monitoring.delivery import Delivery
from aet.monitoring.watching import KINDS, Signal

RUNBOOK: Mapping[str, str] = {
    "input": (
        "Look at the columns named first: were units, a sensor, or the program that writes them changed? If it is a "
        "fault, mend it and close the alarm. If the world changed, label some of the rows that `ask` gives before "
        "believing any estimate."
    ),
    "prediction": (
        "Look at the mix of answers by day and source: did the rows come sorted, or did the true mix change? If so, "
        "a method that moves the label prior (`prior`, `bbse`) is the mildest answer; label some rows to be sure."
    ),
    "estimate": (
        "Accuracy has probably fallen, but no label says so yet. Label the rows that `ask` gives; they decide between "
        "holding, adapting and retraining."
    ),
    "error": (
        "Labels say that more answers are wrong. See whether the adapted answers do better by the same labels; if they "
        "do, serve them; if not, retrain with the labels at hand or roll back to the version before."
    ),
}
"""What to look at and what to do, a line a kind."""
MOST = 10_000
"""Open alarms that are remembered; the oldest go first."""


@dataclass(frozen=True)
class Alarm:
    """One alarm: stream, kind, when it was opened (UTC), row, sentence, what to do, and how often it was raised."""

    stream: str
    kind: str
    opened: str
    row: int
    text: str
    runbook: str
    evidence: float
    level: float | None
    times: int
    last: float
    """When it was raised last, in seconds since 1970."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        own = asdict(self)
        return {**own, "evidence": None if self.evidence != self.evidence else self.evidence}


class Alarms:
    """Open alarms of many streams. Thread-safe; bounded.

    Args:
        channels: where new alarms go; the log by default.
        quiet: seconds after which an alarm that was not raised again is over, so that the next signal opens a new one.
        clock: seconds since 1970.
        settings: of `Delivery`.

    Raises ConfigError for a negative `quiet`.

    >>> signal = Signal("input", 120, 5e4, 1e3, 0.006, 90, ("age",), "Input drift: ...")
    >>> alarms = Alarms(channels=[])
    >>> [alarm.kind for alarm in alarms.take("site-7", [signal])], alarms.take("site-7", [signal])
    (['input'], [])
    >>> alarms.close("site-7", "input").times, alarms.open()
    (2, [])
    """

    def __init__(
        self,
        channels: Sequence[Channel] | None = None,
        quiet: float = 86_400.0,
        clock: Callable[[], float] = time.time,
        **settings: Any,
    ) -> None:
        if not quiet >= 0:
            raise ConfigError(f"quiet is a number of seconds, 0 or more: got {quiet}.")
        self.delivery = Delivery([Log()] if channels is None else channels, **settings)
        self.quiet, self.clock = quiet, clock
        self._open: OrderedDict[tuple[str, str], Alarm] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, stream: str, signals: Iterable[Signal]) -> list[Alarm]:
        """Signals of a stream: gives the alarms that are new, which go out to the channels; others are only counted."""
        new = []
        with self._lock:
            for signal in signals:
                now, known = self.clock(), self._open.get((stream, signal.kind))
                if known is not None and now - known.last <= self.quiet:
                    self._open[stream, signal.kind] = replace(known, times=known.times + 1, last=max(now, known.last))
                    continue
                new.append(self._new(stream, signal, now))
        for alarm in new:
            self.delivery.push(alarm.to_dict())
        return new

    def _new(self, stream: str, signal: Signal, now: float) -> Alarm:
        opened = datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds")
        told = (signal.text, RUNBOOK[signal.kind], signal.evidence, signal.level)
        alarm = Alarm(stream, signal.kind, opened, signal.row, *told, times=1, last=now)
        self._open.pop((stream, signal.kind), None)
        self._open[stream, signal.kind] = alarm
        while len(self._open) > MOST:
            self._open.popitem(last=False)
        return alarm

    def open(self, stream: str | None = None) -> list[Alarm]:
        """Alarms that are neither closed nor over, the newest first."""
        with self._lock:
            now = self.clock()
            found = [alarm for alarm in self._open.values() if now - alarm.last <= self.quiet]
        return [alarm for alarm in reversed(found) if stream is None or alarm.stream == stream]

    def close(self, stream: str, kind: str) -> Alarm | None:
        """Close an alarm, so that the next signal opens another; None if none was open.

        The watch goes on being silent until its own `restart(kind)`. Raises ConfigError for an unknown kind.
        """
        if kind not in KINDS:
            raise ConfigError(f"Alarms are of {', '.join(KINDS)}: got {kind!r}.")
        with self._lock:
            return self._open.pop((stream, kind), None)

    def forget(self, stream: str) -> None:
        """A stream is gone, and its alarms with it."""
        with self._lock:
            for key in [key for key in self._open if key[0] == stream]:
                del self._open[key]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able memory."""
        with self._lock:
            return {"open": [alarm.to_dict() for alarm in self._open.values()]}

    def load_dict(self, memory: Mapping[str, Any]) -> None:
        """Take back what `to_dict` gave; nothing is sent again."""
        with self._lock:
            for entry in memory["open"]:
                evidence = float("nan") if entry["evidence"] is None else entry["evidence"]
                alarm = Alarm(**{**entry, "evidence": evidence})
                self._open[alarm.stream, alarm.kind] = alarm

    def stop(self, timeout: float = 5.0) -> bool:
        """Send what waits and end the threads; gives whether all went out in time."""
        return self.delivery.close(timeout)
