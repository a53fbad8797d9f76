"""How much one key may do: requests, rows, labels, and its share of a stream's rows.

A bucket of `burst` fills at `rate` a second; what is taken must be in it. In any t seconds at most burst + rate · t are
taken (token bucket, Turner 1986).
"""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from aet.errors import AetError, ConfigError
from aet.serving.keys import Caller, Forbidden

Clock = Callable[[], float]
MOST = 10_000
"""Buckets, or streams, remembered at a time; the one unused for the longest goes first."""
HOUR = 3600.0


class Exceeded(AetError):
    """More than a key may do now. `seconds` says when to try again."""

    def __init__(self, sentence: str, seconds: float) -> None:
        super().__init__(sentence)
        self.seconds = max(1, math.ceil(min(seconds, 24 * HOUR)))


class TooLarge(AetError):
    """More than one request may bring, at any time."""


class Buckets:
    """One bucket for each name, all alike.

    >>> now = 0.0
    >>> buckets = Buckets(rate=2.0, burst=10.0, clock=lambda: now)
    >>> buckets.take("a", 10), buckets.take("a", 4), buckets.take("b", 4)
    (0.0, 2.0, 0.0)
    >>> now = 2.0
    >>> buckets.take("a", 4)
    0.0
    """

    def __init__(self, rate: float, burst: float, clock: Clock = time.monotonic, most: int = MOST) -> None:
        if not (rate > 0 and burst > 0 and math.isfinite(rate) and math.isfinite(burst)):
            raise ConfigError(f"A limit needs a rate and a burst above 0, got {rate} and {burst}.")
        self.rate, self.burst, self.clock, self.most = rate, burst, clock, most
        self._lock = threading.Lock()
        self._levels: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._levels)

    def take(self, name: Hashable, amount: float) -> float:
        """0 if it was taken; else nothing was, and so many seconds until it can be; infinite for more than a burst."""
        with self._lock:
            now = self.clock()
            level, since = self._levels.pop(name, (self.burst, now))
            level = min(self.burst, level + self.rate * max(0.0, now - since))
            wait = 0.0 if amount <= level else (amount - level) / self.rate if amount <= self.burst else math.inf
            self._levels[name] = (level if wait else level - amount, now)
            while len(self._levels) > self.most:
                self._levels.popitem(last=False)
            return wait

    def give(self, name: Hashable, amount: float) -> None:
        """Put back what was taken and not used."""
        with self._lock:
            if name in self._levels:
                level, since = self._levels[name]
                self._levels[name] = (min(self.burst, level + amount), since)


@dataclass(frozen=True)
class Allowed:
    """What each key may do. A burst is what may come at once.

    Args:
        requests: a second; `burst_requests` at once.
        rows: a second; `burst_rows` at once, and in one request.
        asked: labels an hour, and at once, that the stream asked for, for each key and stream.
        unasked: labels an hour, and at once, that nobody asked for, for each key and stream.
        share: of a stream's rows that one key may send, of the last hours, once others send there too; 1 is no limit.
        least: rows of a stream from which the share counts.
    """

    requests: float = 50.0
    burst_requests: float = 200.0
    rows: float = 5_000.0
    burst_rows: float = 20_000.0
    asked: float = 2_000.0
    unasked: float = 200.0
    share: float = 1.0
    least: float = 1_000.0

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ConfigError(f"share lies above 0 and at most at 1, got {self.share}.")


class Limits:
    """The limits of a server. What is refused is not counted.

    Methods raise `Exceeded` (429: try again later), `TooLarge` (413: send less) or `Forbidden` (403).

    >>> limits = Limits(Allowed(burst_rows=100))
    >>> limits.request(Caller("0a", "predict", "local"), rows=100)
    >>> limits.request(Caller("0a", "predict", "local"), rows=101)
    Traceback (most recent call last):
    aet.serving.limits.TooLarge: One request takes at most 100 rows, got 101. Send them in parts.
    """

    def __init__(self, allowed: Allowed | None = None, clock: Clock = time.monotonic) -> None:
        self.allowed = a = allowed or Allowed()
        self.requests = Buckets(a.requests, a.burst_requests, clock)
        self.rows = Buckets(a.rows, a.burst_rows, clock)
        self.asked = Buckets(a.asked / HOUR, a.asked, clock)
        self.unasked = Buckets(a.unasked / HOUR, a.unasked, clock)
        self.shares = Shares(a.share, a.least, clock)

    def request(self, caller: Caller, rows: int = 0) -> None:
        """A request with so many rows; an admin's count too, since a key can be stolen."""
        most = self.allowed.burst_rows
        if rows > most:
            raise TooLarge(f"One request takes at most {most:,.0f} rows, got {rows:,}. Send them in parts.")
        wait = self.requests.take(caller.key, 1)
        if wait:
            raise Exceeded(f"At most {self.allowed.requests:g} requests a second for each key.", wait)
        wait = self.rows.take(caller.key, rows)
        if wait:
            raise Exceeded(f"At most {self.allowed.rows:,.0f} rows a second for each key.", wait)

    def labels(self, caller: Caller, stream: str, asked: int, unasked: int = 0, at_random: bool = False) -> None:
        """Labels for a stream of the caller's owner: of rows that `ask` named, and of others.

        Unasked labels said to have come at random feed the guard as asked ones do; nobody can check the claim, so it
        takes an admin.
        """
        if at_random and unasked and not caller.may("admin"):
            raise Forbidden(
                "Only a key of the role admin may say that unasked labels came at random, since they then count as "
                "evidence. Leave `at_random` out: they train all the same."
            )
        name = (caller.key, caller.owner, stream)
        self._labels(self.unasked, name, unasked, self.allowed.unasked, "not asked for")
        try:
            self._labels(self.asked, name, asked, self.allowed.asked, "asked for")
        except AetError:
            self.unasked.give(name, unasked)
            raise

    def _labels(self, buckets: Buckets, name: Hashable, count: int, most: float, kind: str) -> None:
        if count > most:
            raise TooLarge(f"One request takes at most {most:,.0f} labels of rows {kind}, got {count:,}.")
        wait = buckets.take(name, count)
        if wait:
            raise Exceeded(f"At most {most:,.0f} labels an hour of rows {kind}, for each key and stream.", wait)

    def share(self, caller: Caller, stream: str, rows: int) -> None:
        """Rows for a stream: no key's are more than its share, once others send there too."""
        wait = self.shares.take((caller.owner, stream), caller.key, rows)
        if wait:
            raise Exceeded(
                f"At most {self.allowed.share:.0%} of this stream's rows may come from one key, since others send rows "
                "to it too. Send them to a stream of their own.",
                wait,
            )


class Shares:
    """Rows of each key in each stream; what came before counts half after each `half_life` seconds.

    >>> shares = Shares(share=0.5, least=10, clock=lambda: 0.0)
    >>> [shares.take("site", key, 20) > 0 for key in ("a", "a", "b", "a", "b")]
    [False, False, False, True, False]
    """

    def __init__(
        self, share: float, least: float, clock: Clock = time.monotonic, half_life: float = HOUR, most: int = MOST
    ) -> None:
        self.share, self.least, self.clock, self.half_life, self.most = share, least, clock, half_life, most
        self._lock = threading.Lock()
        self._streams: OrderedDict[Hashable, tuple[dict[str, float], float]] = OrderedDict()

    def take(self, stream: Hashable, key: str, rows: float) -> float:
        """0 if they were counted; else they are over the share, and so many seconds until it is worth another try."""
        if self.share >= 1:
            return 0.0
        with self._lock:
            now = self.clock()
            counts, since = self._streams.pop(stream, ({}, now))
            fade = 0.5 ** (max(0.0, now - since) / self.half_life)
            counts = {who: count * fade for who, count in counts.items() if count * fade >= 1}
            self._streams[stream] = (counts, now)
            while len(self._streams) > self.most:
                self._streams.popitem(last=False)
            own, total = counts.get(key, 0.0) + rows, sum(counts.values()) + rows
            if set(counts) - {key} and total > self.least and own > self.share * total:
                return 60.0
            counts[key] = own
            return 0.0
