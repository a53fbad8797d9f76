"""Clients of `serving.py`: as much as a server can take, or a steady share of that for long; and what memory does."""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

CONNECTIONS = 32
LOOK, LABELS, PAUSE = 10.0, 8, 180.0
"""Of a long load: seconds between two looks at memory; labels sent at once, and seconds between: 160 an hour, where the
server takes 200 that it did not ask for."""
KEPT = 400_000
"""Rows of a stream after which all that it keeps is full: 10,000 rows, the ids of eight times as many more, and 2,000
estimates, one for every 200 rows."""


def resident(pid: int | str = "self") -> float:
    """Resident memory of a process in MB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def family(pid: int) -> list[int]:
    """A process and those that it began."""
    lists = [path.read_text(encoding="ascii") for path in Path(f"/proc/{pid}/task").glob("*/children")]
    return [pid, *(found for child in " ".join(lists).split() for found in family(int(child)))]


def resident_together(pid: int) -> float:
    """Memory of a process and those that it began in MB: what each has alone, and once what they share."""
    own, shared = 0.0, [0.0]
    for one in family(pid):
        text = Path(f"/proc/{one}/smaps_rollup").read_text(encoding="ascii")
        lines = dict(line.split(":", 1) for line in text.splitlines()[1:])
        size = {name: int(lines[name].split()[0]) / 1024 for name in ("Rss", "Private_Clean", "Private_Dirty")}
        alone = size["Private_Clean"] + size["Private_Dirty"]
        own += alone
        shared.append(size["Rss"] - alone)
    return own + max(shared)


def drift(seen: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Slope of (x, y) pairs (N, 2) and its standard error, widened for what neighbouring residuals share.

    se = sqrt(Σe² / (N - 2) / Σ(x - x̄)²) · sqrt((1 + ρ) / (1 - ρ)),    ρ: correlation of e with itself one step on
    """
    if len(seen) < 4:
        return float("nan"), float("nan")
    x, y = seen[:, 0] - seen[:, 0].mean(), seen[:, 1] - seen[:, 1].mean()
    slope = float(x @ y / (x @ x))
    left = y - slope * x
    error = float(np.sqrt(left @ left / (len(x) - 2) / (x @ x)))
    alike = float(np.clip(left[1:] @ left[:-1] / max(left @ left, 1e-12), 0.0, 0.95))
    return slope, error * ((1 + alike) / (1 - alike)) ** 0.5


class Load:
    """What a client sends, and how long it waits."""

    def __init__(self, port: int, rows: list[dict[str, Any]], streams: int, seed: int) -> None:
        self.port, self.streams, self.rng = port, streams, random.Random(seed)
        self.rows = [json.dumps(row) for row in rows]
        self.taken: list[float] = []
        self.errors = 0
        self.labels_due = 0.0

    def request(self) -> bytes:
        """One row for one stream."""
        return post("/predict", f'{{"stream": "s{self.rng.randrange(self.streams)}", "rows": [{self.chosen()}]}}')

    def chosen(self) -> str:
        """A row."""
        return self.rng.choice(self.rows)

    async def one(self, until: float) -> None:
        """A connection that sends as soon as it was answered."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        while (started := time.perf_counter()) < until:
            head, _ = await exchange(reader, writer, self.request())
            if not head.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(head.decode())
            self.taken.append(time.perf_counter() - started)
        writer.close()

    async def run(self, seconds: float) -> dict[str, float]:
        """Requests a second and the 99th percentile in milliseconds."""
        self.taken.clear()
        started = time.perf_counter()
        await asyncio.gather(*(self.one(started + seconds) for _ in range(CONNECTIONS)))
        elapsed = time.perf_counter() - started
        return {"rps": len(self.taken) / elapsed, "p99": 1000 * float(np.quantile(self.taken, 0.99))}

    async def steady(self, each: float, until: float) -> None:
        """A connection that sends every `each` seconds, labels among it; what is not answered with 200 is an error."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        due = time.perf_counter() + each * self.rng.random()
        newest: list[int] = []
        while due < until:
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            due = max(due + each, time.perf_counter() - 1.0)  # what cannot be caught up is left out
            head, body = await exchange(reader, writer, self.request())
            self.errors += not head.startswith(b"HTTP/1.1 200")
            self.taken.append(time.perf_counter())
            newest = [*newest[1 - LABELS :], json.loads(body)["answers"][0]["id"]]
            if time.perf_counter() > self.labels_due:
                self.labels_due = time.perf_counter() + PAUSE
                labels = [{"id": known, "label": self.rng.choice("abc")} for known in dict.fromkeys(newest)]
                head, _ = await exchange(
                    reader, writer, post("/feedback", json.dumps({"stream": "s0", "labels": labels}))
                )
                self.errors += not head.startswith(b"HTTP/1.1 200")
        writer.close()

    async def soak(self, pid: int, rate: float, seconds: float) -> dict[str, float]:
        """A steady load on one stream: errors, and the slope of memory once all that the stream keeps is full."""
        self.taken, self.errors, seen, full = [], 0, [], float("nan")
        started = time.perf_counter()
        self.labels_due = started + 1.0
        until = started + seconds
        work = [asyncio.create_task(self.steady(CONNECTIONS / rate, until)) for _ in range(CONNECTIONS)]
        while (now := time.perf_counter()) < until:
            if len(self.taken) >= KEPT:
                full = now - started if np.isnan(full) else full
                seen.append(((now - started) / 3600, resident(pid)))
            await asyncio.sleep(min(LOOK, until - now))
        await asyncio.gather(*work)
        slope, error = drift(np.array(seen).reshape(-1, 2))
        return {
            "requests a second": len(self.taken) / seconds,
            "errors": float(self.errors),
            "minutes after its windows were full": (seconds - full) / 60,
            "MB at the end": resident(pid),
            "MB an hour": slope,
            "standard error of that": error,
        }


def post(path: str, body: str) -> bytes:
    """A request."""
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
    return f"{head}\r\n\r\n{body}".encode()


async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> tuple[bytes, bytes]:
    """Head and body of the answer."""
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    size = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
    return head, await reader.readexactly(int(size.split(b":")[1]))
