"""What `aet serve` costs beside a bare FastAPI with a micro-batcher around the same forward pass, and beside LitServe.

    python benchmarks/serving.py [--quick] [--seeds N] [--json FILE] [--part NAME]... [--litserve PYTHON]
                                 [--soak MINUTES]

Each server is a process of its own on loopback; one client process keeps 32 connections busy, one row a request. The
servers take turns, in rounds, so that whatever else the machine does meets all alike; figures are medians of ratios
within a round. CPU is what the server's process took, by request: on a machine that is shared the steadiest figure.

    bare          FastAPI, pydantic, 64 rows or 5 ms, `model.predict` on the rows together: no streams, no store
    litserve      LitServe, the same batches and `model.predict`, in an interpreter that has it (`--litserve PYTHON`)
    source        `aet serve`, one stream that the source answers, everything written down
    default       `aet serve` as it comes: one stream, `auto` adapts it
    one state     `aet serve`, one stream whose own state answers
    1,000 states  the same with 1,000 streams, each its own state, asked at random

Parts: `load`, these; `streams`, what 1,000 streams of `auto` that each served 16 rows and learned 4 labels take above
one; `soak`, `aet serve` as it comes for MINUTES at 70 % of the peak found just before, labels among the rows: errors,
and the slope of memory once all that a stream keeps is full; `fuzz`, 10,000 bodies that nobody should send
(`serving_fuzz.py`). Memory is resident size after the load; of several processes, what each has alone and once what
they share.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import socket
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from common import Record, parser, summary, write
from rich.console import Console
from rich.table import Table
from serving_fuzz import fuzzed
from serving_load import Load, family, resident, resident_together

import aet

COLUMNS, STREAMS, BODIES = 16, 1000, 10_000
SERVERS = ("bare", "source", "default", "one state", "1,000 states")
PARTS = ("load", "streams", "soak", "fuzz")
SHARE = 0.7
"""Of the peak, for the soak."""
BARS = {
    ("source", "throughput / bare"): ">= 0.95",
    ("source", "p99 / bare"): "<= 1.1",
    ("source", "throughput / litserve"): ">= 1",
    ("source", "MB / litserve"): "<= 0.5",
    ("soak", "errors"): "0",
    ("soak", "MB an hour"): "within 2 standard errors",
    ("fuzz", "answers 5xx"): "0",
    ("fuzz", "crashed"): "0",
    ("fuzz", "no answer"): "0",
    ("fuzz", "MB a 1,000 bodies"): "within 2 standard errors",
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


@contextlib.contextmanager
def started(kind: str, run: Path, litserve: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A server in a process of its own, and its port once it answers."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--serve", kind, "--run", str(run), "--folder", folder]
        beside, port = None, 0
        if kind == "litserve":
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = free.getsockname()[1]
            command = [litserve, str(Path(__file__).with_name("serving_litserve.py")), str(run), str(port)]
            lacks = os.pathsep.join((str(Path(aet.__file__).parents[1]), sysconfig.get_paths()["purelib"]))
            beside = {**os.environ, "AET_BENCH_PATH": lacks}
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=beside, start_new_session=True)
        try:
            assert process.stdout is not None
            port = answering(process, port) if port else int(process.stdout.readline())
            yield process, port
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)  # LitServe has processes of its own
            process.wait()


def answering(process: subprocess.Popen[str], port: int, seconds: float = 120.0) -> int:
    """The port, once a server that does not say so answers there."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
            return port
        time.sleep(0.5)
    raise RuntimeError(f"The server at {port} did not come up.")


def cpu(pid: int) -> float:
    """Seconds that a process and those that it began have taken."""
    ticks = 0
    for one in family(pid):
        ticks += sum(map(int, Path(f"/proc/{one}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def load_on(port: int, kind: str, seed: int) -> Load:
    """What is sent to a server of a kind."""
    rows = table(256, seed).drop(columns="y").to_dict("records")
    return Load(port, rows, STREAMS if kind == "1,000 states" else 1, seed)


def measured(run: Path, seed: int, seconds: float, rounds: int, litserve: str) -> dict[tuple[str, str], float]:
    """All servers in turn, in rounds."""
    kinds = (*SERVERS, "litserve") if litserve else SERVERS
    found: dict[tuple[str, str], list[float]] = {}
    with contextlib.ExitStack() as stack:
        loads, processes = {}, {}
        for kind in kinds:
            processes[kind], port = stack.enter_context(started(kind, run, litserve))
            loads[kind] = load_on(port, kind, seed)
        for kind in kinds:  # warm
            asyncio.run(loads[kind].run(min(2.0, seconds)))
        for turn in range(rounds):
            for kind in kinds if turn % 2 else kinds[::-1]:
                before = cpu(processes[kind].pid)
                for name, value in asyncio.run(loads[kind].run(seconds)).items():
                    found.setdefault((kind, name), []).append(value)
                spent = 1000 * (cpu(processes[kind].pid) - before) / len(loads[kind].taken)
                found.setdefault((kind, "cpu"), []).append(spent)
        memory = {kind: resident_together(process.pid) for kind, process in processes.items()}
    figures: dict[tuple[str, str], float] = {}
    for kind in kinds:
        for name, key in (("requests a second", "rps"), ("p99, ms", "p99"), ("CPU a request, ms", "cpu")):
            figures[kind, name] = statistics.median(found[kind, key])
        figures[kind, "MB"] = memory[kind]
    pairs = [("source", "bare"), ("default", "bare"), ("one state", "bare"), ("1,000 states", "one state")]
    for kind, beside in pairs + ([("source", "litserve"), ("default", "litserve")] if litserve else []):
        for name, key in (("throughput", "rps"), ("p99", "p99"), ("CPU", "cpu")):
            # Of each round, what was measured one after the other.
            ratios = [a / b for a, b in zip(found[kind, key], found[beside, key], strict=True)]
            figures[kind, f"{name} / {beside}"] = statistics.median(ratios)
        figures[kind, f"MB / {beside}"] = memory[kind] / memory[beside]
    figures["1,000 states", "MB above one state"] = memory["1,000 states"] - memory["one state"]
    return figures


def soaked(run: Path, seed: int, minutes: float) -> dict[tuple[str, str], float]:
    """`aet serve` as it comes, at a steady share of the peak."""
    with started("default", run, "") as (process, port):
        load = load_on(port, "default", seed)
        peak = asyncio.run(load.run(10.0))["rps"]
        found = asyncio.run(load.soak(process.pid, SHARE * peak, 60 * minutes))
    return {("soak", name): value for name, value in {"peak, requests a second": peak, **found}.items()}


def fuzz(run: Path, seed: int, bodies: int) -> dict[tuple[str, str], float]:
    """Bodies that nobody should send."""
    with started("default", run, "") as (process, port):
        row = table(1, seed).drop(columns="y").to_dict("records")[0]
        found = fuzzed(process, port, bodies, row, seed)
    return {("fuzz", name): value for name, value in found.items()}


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
    made.add_argument("--part", action="append", choices=PARTS, help="one part; repeatable (all)")
    made.add_argument("--litserve", default="", metavar="PYTHON", help="an interpreter that has litserve")
    made.add_argument("--soak", type=float, metavar="MINUTES", help="length of the soak (30; 1 with --quick)")
    for hidden in ("--serve", "--run", "--folder"):
        made.add_argument(hidden, help=argparse.SUPPRESS)
    args = made.parse_args()
    if args.serve:
        serve(Path(args.run), args.serve, Path(args.folder))
        return
    torch.set_num_threads(1)
    has = args.litserve and not subprocess.run([args.litserve, "-c", "import litserve"], capture_output=True).returncode
    parts, found = args.part or PARTS, []
    if "load" in parts and not has:
        Console().print("LitServe is not installed: left out. Name an interpreter that has it with --litserve PYTHON.")
    seconds, rounds = (4.0, 3) if args.quick else (15.0, 6)
    minutes = args.soak or (1.0 if args.quick else 30.0)
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "m"
        aet.train(table(1000, 0), target="y", config={"train": {"epochs": 3}}, out=run)
        for seed in range(1 if args.quick else args.seeds):
            figures: dict[tuple[str, str], float] = {}
            if "load" in parts:
                figures |= measured(run, seed, seconds, rounds, args.litserve if has else "")
            if "streams" in parts:
                figures |= learned(run, 50 if args.quick else STREAMS, seed)
            if "fuzz" in parts:
                figures |= fuzz(run, seed, BODIES // 10 if args.quick else BODIES)
            if "soak" in parts and not seed:  # once
                soak = soaked(run, seed, minutes)
            found.append(figures)
    printed, records = Table("server", "figure", "mean", "spread", "bar"), []
    means = {(kind, metric): summary([one[kind, metric] for one in found]) for kind, metric in found[0]}
    means |= {named: (value, 0.0) for named, value in soak.items()} if "soak" in parts else {}
    for (kind, metric), (mean, spread) in means.items():
        printed.add_row(kind, metric, f"{mean:.3g}", f"{spread:.2g}", BARS.get((kind, metric), ""))
        records.append(Record("serving", kind, "aet serve", metric, mean, spread=spread, seeds=len(found)))
    Console().print(printed)
    write(records, args.json)


if __name__ == "__main__":
    main()
