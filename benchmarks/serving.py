"""What `aet serve` costs beside a bare FastAPI with a micro-batcher around the same forward pass.

    python benchmarks/serving.py [--quick] [--seeds N] [--json FILE]

Each server is a process of its own on loopback; one client process keeps 32 connections busy, one row a request. The
servers take turns, in rounds, so that whatever else the machine does meets all alike; figures are ratios in one run.

    bare          FastAPI, pydantic, 64 rows or 5 ms, `model.predict` on the rows together: no streams, no store
    source        `aet serve`, one stream that the source answers, everything written down
    default       `aet serve` as it comes: one stream, `auto` adapts it
    one state     `aet serve`, one stream whose own state answers
    1,000 states  the same with 1,000 streams, each its own state, asked at random

Memory: resident size after the load. Streams that learn: what 1,000 streams of `auto` that each served 16 rows and
learned 4 labels take above one.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from common import Record, parser, summary, write
from rich.console import Console
from rich.table import Table

import aet

COLUMNS, CONNECTIONS, STREAMS = 16, 32, 1000
SERVERS = ("bare", "source", "default", "one state", "1,000 states")
BARS = {
    ("source", "throughput / bare"): ">= 0.95",
    ("source", "p99 / bare"): "<= 1.1",
    ("1,000 states", "throughput / one state"): ">= 0.9",
    ("1,000 states", "MB above one state"): "<= 200",
    ("streams that learn", "MB above one stream"): "<= 200",
}


def table(rows: int, seed: int) -> pd.DataFrame:
    """Numbers and a class."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, COLUMNS))
    frame = pd.DataFrame(x).add_prefix("x")
    return frame.assign(y=np.array(["a", "b", "c"])[np.digitize(x[:, :3].sum(1), [-0.7, 0.7])])


def resident(pid: int | str = "self") -> float:
    """Resident memory of a process in MB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def bare_app(model: aet.Model) -> Any:
    """The least that serves a model to many clients at once."""
    from concurrent.futures import ThreadPoolExecutor

    from fastapi import FastAPI
    from pydantic import BaseModel

    class Body(BaseModel):
        rows: list[dict[str, float]]
        stream: str = ""

    waiting: list[tuple[list[dict[str, float]], asyncio.Future[Any]]] = []
    come, thread = asyncio.Event(), ThreadPoolExecutor(1)

    def answer(rows: list[dict[str, float]]) -> list[dict[str, Any]]:
        frame = model.predict(pd.DataFrame(rows))
        return list(frame.astype(object).where(frame.notna(), None).to_dict("records"))

    async def run() -> None:
        while True:
            await come.wait()
            if len(waiting) < 64:
                await asyncio.sleep(0.005)
            batch, waiting[:] = waiting[:64], waiting[64:]
            if not waiting:
                come.clear()
            rows = [row for rows, _ in batch for row in rows]
            said = await asyncio.get_running_loop().run_in_executor(thread, answer, rows)
            start = 0
            for rows, future in batch:
                future.set_result(said[start : start + len(rows)])
                start += len(rows)

    @contextlib.asynccontextmanager
    async def life(_: FastAPI) -> Any:
        task = asyncio.create_task(run())
        yield
        task.cancel()

    app = FastAPI(lifespan=life)

    async def predict(body: Body) -> dict[str, Any]:
        future = asyncio.get_running_loop().create_future()
        waiting.append((body.rows, future))
        come.set()
        return {"answers": await future}

    predict.__annotations__["body"] = Body
    app.post("/predict")(predict)
    return app


def aet_app(model: aet.Model, kind: str, folder: Path) -> Any:
    """The app of `aet serve`, its streams as the kind says."""
    from aet.serving.app import create_app, protected
    from aet.serving.limits import Allowed, Limits
    from aet.serving.models import Served
    from aet.serving.service import Service
    from aet.serving.store import Store

    stated = "state" in kind
    settings = {"adapt": "auto"} if kind == "default" else {"adapt": "source", "guard": "always" if stated else "never"}
    service = Service({"m": Served("m", "1", model)}, Store(folder / "store.db"), settings)
    if stated:
        draws = torch.Generator().manual_seed(0)
        for number in range(STREAMS if kind == "1,000 states" else 1):
            with service.residents.use("local", f"s{number}", make=True) as found:
                state = found.stream.state
                found.stream.method.state = state.map(lambda _, t: 0.05 * torch.randn(t.shape, generator=draws))
    free = Allowed(requests=1e9, burst_requests=1e9, rows=1e9, burst_rows=1e9)
    return protected(create_app(service, limits=Limits(free)), None)


def serve(run: Path, kind: str, folder: Path) -> None:
    """One of the servers, in this process; prints its port."""
    from aet.serving.server import bound, server_of
    from aet.serving.server import run as serve_app

    torch.set_num_threads(1)
    model = aet.load(run)
    app = bare_app(model) if kind == "bare" else aet_app(model, kind, folder)
    at = bound("127.0.0.1", 0)
    serve_app(server_of(app, lambda: print(at.getsockname()[1], flush=True)), at)


class Load:
    """What a client sends, and how long it waits."""

    def __init__(self, port: int, streams: int, seed: int) -> None:
        rows = table(256, seed).drop(columns="y").to_dict("records")
        self.port, self.streams, self.rng = port, streams, random.Random(seed)
        self.rows = [json.dumps(row) for row in rows]
        self.taken: list[float] = []

    def request(self) -> bytes:
        """One row for one stream."""
        body = f'{{"stream": "s{self.rng.randrange(self.streams)}", "rows": [{self.rng.choice(self.rows)}]}}'
        head = f"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
        return f"{head}\r\n\r\n{body}".encode()

    async def one(self, until: float) -> None:
        """A connection that sends as soon as it was answered."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        while (started := time.perf_counter()) < until:
            writer.write(self.request())
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(head.decode())
            size = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
            await reader.readexactly(int(size.split(b":")[1]))
            self.taken.append(time.perf_counter() - started)
        writer.close()

    async def run(self, seconds: float) -> dict[str, float]:
        """Requests a second and the 99th percentile in milliseconds."""
        self.taken.clear()
        started = time.perf_counter()
        await asyncio.gather(*(self.one(started + seconds) for _ in range(CONNECTIONS)))
        elapsed = time.perf_counter() - started
        return {"rps": len(self.taken) / elapsed, "p99": 1000 * float(np.quantile(self.taken, 0.99))}


def measured(run: Path, seed: int, seconds: float, rounds: int) -> dict[tuple[str, str], float]:
    """All servers in turn, in rounds."""
    with contextlib.ExitStack() as stack:
        loads, processes = {}, {}
        for kind in SERVERS:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            command = [sys.executable, __file__, "--serve", kind, "--run", str(run), "--folder", folder]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            stack.callback(process.wait)
            stack.callback(process.terminate)
            assert process.stdout is not None
            port = int(process.stdout.readline())
            processes[kind], loads[kind] = process, Load(port, STREAMS if kind == "1,000 states" else 1, seed)
        for kind in SERVERS:  # warm
            asyncio.run(loads[kind].run(min(2.0, seconds)))
        found: dict[tuple[str, str], list[float]] = {}
        for turn in range(rounds):
            for kind in SERVERS if turn % 2 else SERVERS[::-1]:
                for name, value in asyncio.run(loads[kind].run(seconds)).items():
                    found.setdefault((kind, name), []).append(value)
        memory = {kind: resident(process.pid) for kind, process in processes.items()}
    figures: dict[tuple[str, str], float] = {}
    for kind in SERVERS:
        figures[kind, "requests a second"] = statistics.median(found[kind, "rps"])
        figures[kind, "p99, ms"] = statistics.median(found[kind, "p99"])
        figures[kind, "MB"] = memory[kind]
    for kind, beside in (("source", "bare"), ("default", "bare"), ("one state", "bare"), ("1,000 states", "one state")):
        for name, key in (("throughput", "rps"), ("p99", "p99")):
            # Of each round, what was measured one after the other.
            ratios = [a / b for a, b in zip(found[kind, key], found[beside, key], strict=True)]
            figures[kind, f"{name} / {beside}"] = statistics.median(ratios)
    figures["1,000 states", "MB above one state"] = memory["1,000 states"] - memory["one state"]
    return figures


def learned(run: Path, streams: int, seed: int) -> dict[tuple[str, str], float]:
    """Memory of streams that served and learned, in this process."""
    from aet.serving.asks import Ask
    from aet.serving.models import Served
    from aet.serving.service import Service
    from aet.serving.store import Label, Store

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "store.db") as store:
        service = Service({"m": Served("m", "1", aet.load(run))}, store)
        frame, before = table(64 * 16, seed), 0.0
        rows, truth = frame.drop(columns="y").to_dict("records"), frame["y"].tolist()
        for number in range(streams):
            first = 16 * (number % 64)
            (said,) = service.answer([Ask("local", f"s{number}", rows[first : first + 16])])
            assert not isinstance(said, Exception)
            service.write([said], [rows[first : first + 16]])
            service.feedback("local", f"s{number}", [Label(i, truth[first + i]) for i in range(4)]).result()
            if number == 0:
                before = resident()
        taken = resident() - before
        service.stop()
    kind = "streams that learn" if streams == STREAMS else f"{streams} streams that learn"
    return {(kind, "MB above one stream"): taken, (kind, "KB a stream"): 1024 * taken / max(1, streams - 1)}


def main() -> None:
    made = parser(__doc__)
    for hidden in ("--serve", "--run", "--folder"):
        made.add_argument(hidden, help=argparse.SUPPRESS)
    args = made.parse_args()
    if args.serve:
        serve(Path(args.run), args.serve, Path(args.folder))
        return
    torch.set_num_threads(1)
    seconds, rounds = (4.0, 3) if args.quick else (15.0, 6)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        aet.train(table(1000, 0), target="y", config={"train": {"epochs": 3}}, out=run)
        for seed in range(1 if args.quick else args.seeds):
            figures = measured(run, seed, seconds, rounds)
            found.append(figures | learned(run, 50 if args.quick else STREAMS, seed))
    printed, records = Table("server", "figure", "mean", "spread", "bar"), []
    for kind, metric in found[0]:
        mean, spread = summary([one[kind, metric] for one in found])
        printed.add_row(kind, metric, f"{mean:.3g}", f"{spread:.2g}", BARS.get((kind, metric), ""))
        records.append(Record("serving", kind, "aet serve", metric, mean, spread=spread, seeds=len(found)))
    Console().print(printed)
    write(records, args.json)


if __name__ == "__main__":
    main()
