"""What streams answered, gathered by stream and looked at in lots: off the path of the answers, in bounded memory.

One thread takes at most `share` of the time: after t seconds of looking it rests for t (1 / share - 1). What comes
faster is left out, a stream's oldest rows first, whatever they hold: those that are looked at are rows like others.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from aet.batch import Batch
from aet.errors import ConfigError
from aet.serving.cells import Row
from aet.serving.residents import Resident

LOT, MOST = 64, 256
"""Rows that make a lot, and rows of one stream that may wait."""
STREAMS = 1024
"""Streams of which something may wait; they stay in memory until it was looked at."""
ROOM = 64 * 2**20
"""Bytes that wait, about."""
LABELS = 2048
"""Labelled rows of one stream that may wait."""
REST = 10.0
"""Seconds, at most, between two lots."""

Labelled = tuple[Batch, npt.NDArray[np.float64]]
"""Rows with their true answers, and the weights they were drawn with."""


@dataclass
class Lot:
    """What waits of one stream."""

    resident: Resident
    since: float
    rows: list[Row] = field(default_factory=list)
    labels: list[Labelled] = field(default_factory=list)
    labelled: int = 0
    size: int = 0


class Lots:
    """Thread-safe.

    Args:
        look: what is done with a lot, in a thread of its own.
        failed: told of a lot whose `look` broke off.
        wait: seconds after which a lot is looked at though it is not full.
        share: of the time that may be spent on looking.
    """

    def __init__(
        self,
        look: Callable[[Lot], None],
        failed: Callable[[Lot, BaseException], None],
        wait: float = 2.0,
        share: float = 0.05,
    ) -> None:
        if wait < 0 or not 0 < share <= 1:
            raise ConfigError(
                f"wait is a number of seconds, 0 or more, and share lies in 0..1, above 0: got {wait} and {share}."
            )
        self.look, self.failed, self.wait, self.share = look, failed, wait, share
        self.left_out = 0
        """Rows and labels that were not looked at, since too much waited."""
        self._size = 0
        self._lots: OrderedDict[int, Lot] = OrderedDict()
        self._full: OrderedDict[int, None] = OrderedDict()
        self._changed = threading.Condition()
        self._busy = False
        self._hurry = 0
        self._until: float | None = None
        self._thread: threading.Thread | None = None

    def rows(self, resident: Resident, rows: Sequence[Row]) -> int:
        """Rows were answered; gives how many will not be looked at: where too many wait, the stream's oldest."""
        given, size = rows[-MOST:], sum(map(weight, rows[-MOST:]))
        with self._changed:
            lot = self._lot(resident, size)
            over = len(rows)
            if lot is not None:
                over -= len(given)
                lot.rows += given
                self._grew(lot, size)
                gone = lot.rows[: max(0, len(lot.rows) - MOST)]
                del lot.rows[: len(gone)]
                self._grew(lot, -sum(map(weight, gone)))
                over += len(gone)
            self.left_out += over
            return over

    def labels(self, resident: Resident, given: Labelled) -> int:
        """Labels came; gives how many of them will not be looked at."""
        count, size = len(given[1]), 64 * len(given[1])
        with self._changed:
            lot = self._lot(resident, size)
            if lot is None or lot.labelled >= LABELS:
                self.left_out += count
                return count
            lot.labels.append(given)
            lot.labelled += count
            self._grew(lot, size)
            return 0

    def waiting(self, resident: Resident) -> int:
        """Rows of a stream that wait to be looked at."""
        with self._changed:
            lot = self._lots.get(resident.line.number)
            return 0 if lot is None else len(lot.rows)

    def settle(self) -> None:
        """Look at all that waits, at once; done when this returns."""
        with self._changed:
            self._hurry += 1
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._lots and not self._busy)
            self._hurry -= 1

    def now(self, resident: Resident) -> None:
        """Look at what waits of one stream, in this thread: the stream is about to leave."""
        with self._changed:
            lot = self._lots.pop(resident.line.number, None)
            self._full.pop(resident.line.number, None)
            if lot is None:
                return
            self._size -= lot.size
            self._changed.notify_all()
        with ThreadPoolExecutor(1) as thread:
            self._see(lot, thread)

    def _see(self, lot: Lot, thread: ThreadPoolExecutor) -> None:
        fault = thread.submit(self.look, lot).exception()  # a fault of ours ends this lot, not the thread
        if fault is not None:
            self.failed(lot, fault)
        lot.resident.free()

    def stop(self, seconds: float = 5.0) -> None:
        """Look at what waits for so many seconds, leave the rest out, and end the thread."""
        with self._changed:
            self._until = time.monotonic() + seconds
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _lot(self, resident: Resident, size: int) -> Lot | None:
        """The stream's lot; None if there is no room for one, or for more."""
        if self._until is not None or self._size + size > ROOM:
            return None
        lot = self._lots.get(resident.line.number)
        if lot is None and len(self._lots) < STREAMS:
            resident.take()  # it stays in memory until its lot was looked at
            lot = self._lots[resident.line.number] = Lot(resident, time.monotonic())
        return lot

    def _grew(self, lot: Lot, size: int) -> None:
        lot.size += size
        self._size += size
        if len(lot.rows) >= LOT:
            self._full[lot.resident.line.number] = None
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="aet-watch", daemon=True)
            self._thread.start()
        self._changed.notify_all()

    def _run(self) -> None:
        with ThreadPoolExecutor(1, thread_name_prefix="aet-watching") as thread:
            while (lot := self._next()) is not None:
                started = time.monotonic()
                self._see(lot, thread)
                taken = time.monotonic() - started
                with self._changed:
                    self._busy = False
                    self._changed.notify_all()
                    self._changed.wait_for(self._hurried, min(REST, taken * (1 / self.share - 1)))

    def _hurried(self) -> bool:
        return self._hurry > 0 or self._until is not None

    def _next(self) -> Lot | None:
        """The first full lot, or the oldest once it waited long enough; None at the end."""
        with self._changed:
            while True:
                now = time.monotonic()
                if self._until is not None and (now > self._until or not self._lots):
                    self._drop()
                    return None
                number = next(iter(self._full or self._lots), None)
                due = np.inf if number is None else self._lots[number].since + self.wait
                if number is not None and (number in self._full or self._hurried() or due <= now):
                    self._full.pop(number, None)
                    lot = self._lots.pop(number)
                    self._size -= lot.size
                    self._busy = True
                    return lot
                self._changed.wait(None if number is None else due - now)

    def _drop(self) -> None:
        for lot in self._lots.values():
            lot.resident.free()
            self.left_out += len(lot.rows) + lot.labelled
        self._lots.clear()
        self._full.clear()
        self._changed.notify_all()


def weight(value: Any) -> int:
    """Bytes that a row or a cell takes, about.

    >>> weight({"a": 1.5, "b": "word"}), weight([[1, 2], [3, 4]])
    (228, 192)
    """
    if isinstance(value, str):
        return len(value)
    if isinstance(value, list):
        return 32 * len(value) + sum(weight(part) for part in value if isinstance(part, str | list))
    if isinstance(value, dict):
        return 112 * len(value) + sum(weight(part) for part in value.values() if isinstance(part, str | list))
    return 0
