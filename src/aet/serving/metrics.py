"""What Prometheus reads: one registry an app, so that two apps in a process never mix."""

from __future__ import annotations

import time
from collections import Counter as Tally
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.types import ASGIApp, Receive, Scope, Send

from aet.errors import StoreError
from aet.serving.batching import Batcher
from aet.serving.replies import Told
from aet.serving.service import Service

TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
ANSWERING = ("/predict", "/v2/models/{name}/infer", "/v2/models/{name}/versions/{version}/infer")
"""Routes that answer rows."""
NEWEST = 2000
"""Requests for answers whose time is remembered."""
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 1024)


class Metrics:
    """Counters and histograms of one app."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        to = {"registry": self.registry}
        self.requests = Counter("aet_requests", "Requests by route and status.", ["route", "status"], **to)  # type: ignore[arg-type]
        self.seconds = Histogram("aet_request_seconds", "Seconds of a request.", ["route"], buckets=SECONDS, **to)  # type: ignore[arg-type]
        self.rows = Counter("aet_rows", "Rows answered, by who answered.", ["served_by"], **to)  # type: ignore[arg-type]
        self.labels = Counter("aet_labels", "Late labels taken in.", **to)  # type: ignore[arg-type]
        self.batch_rows = Histogram("aet_batch_rows", "Rows of a forward pass.", buckets=ROWS, **to)  # type: ignore[arg-type]
        self.batch_seconds = Histogram("aet_batch_seconds", "Seconds of a forward pass.", buckets=SECONDS, **to)  # type: ignore[arg-type]
        self.newest: deque[float] = deque(maxlen=NEWEST)
        """Seconds of the newest requests for answers."""
        # Looking labels up costs more than counting.
        self._known: dict[tuple[str, int], tuple[Counter, Histogram]] = {}
        self._by: dict[str, Counter] = {}

    def answered(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Rows were answered."""
        for who, count in Tally(row.get("served_by") or "none" for row in rows).items():
            if who not in self._by:
                self._by[who] = self.rows.labels(who)
            self._by[who].inc(count)

    def request(self, route: str, status: int, seconds: float) -> None:
        """A request was answered."""
        if (route, status) not in self._known:
            self._known[route, status] = (self.requests.labels(route, str(status)), self.seconds.labels(route))
        counter, histogram = self._known[route, status]
        counter.inc()
        histogram.observe(seconds)
        if route in ANSWERING:
            self.newest.append(seconds)

    def watch(self, batcher: Batcher) -> None:
        """Gauges of what is so now."""
        service, watched, leases = batcher.service, batcher.service.watches, batcher.service.residents.leases
        for name, what, read in (
            ("aet_waiting_rows", "Rows that wait for a forward pass.", lambda: batcher.held),
            ("aet_resident_streams", "Streams in memory.", lambda: len(service.residents)),
            ("aet_streams_given", "Streams handed to other servers.", lambda: leases.given if leases else 0),
            ("aet_learning_waiting", "What waits to be learned.", lambda: service.learner.waiting),
            ("aet_learning_passed_over", "Rows not learned from.", lambda: service.learner.passed_over),
            ("aet_watch_left_out", "Rows and labels not watched.", lambda: watched.lots.left_out if watched else 0),
            ("aet_alarms_open", "Alarms that nobody closed.", lambda: open_alarms(service)),
        ):
            Gauge(name, what, registry=self.registry).set_function(read)
        batcher.told = self.batch

    def batch(self, requests: int, rows: int, seconds: float) -> None:
        """A forward pass was computed."""
        self.batch_rows.observe(rows)
        self.batch_seconds.observe(seconds)

    def load(self) -> dict[str, float | None]:
        """Requests, how many of them failed by our fault, rows, and how long the newest requests for answers took."""
        requests, slow = totals(self.requests), sorted(self.newest)
        return {
            "requests": sum(value for _, value in requests),
            "failed": sum(value for labels, value in requests if labels["status"].startswith("5")),
            "rows": sum(value for _, value in totals(self.rows)),
            "p50": slow[len(slow) // 2] if slow else None,
            "p99": slow[min(len(slow) - 1, len(slow) * 99 // 100)] if slow else None,
        }

    def text(self) -> bytes:
        """In Prometheus' own format."""
        return bytes(generate_latest(self.registry))


def open_alarms(service: Service) -> float:
    """How many alarms are open; NaN while the store cannot be read."""
    try:
        return len(service.store.alarms())
    except StoreError:
        return float("nan")


def totals(counter: Counter) -> list[tuple[dict[str, str], float]]:
    """What a counter stands at, by its labels."""
    samples = [one for family in counter.collect() for one in family.samples]
    return [(one.labels, one.value) for one in samples if one.name.endswith("_total")]


class Measured:
    """ASGI middleware: counts requests by their route, never by their path, of which there is no end."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, and count."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, told = time.perf_counter(), Told(send)
        try:
            await self.app(scope, receive, told)
        finally:
            route = getattr(scope.get("route"), "path", "none")
            self.metrics.request(route, told.status, time.perf_counter() - started)
