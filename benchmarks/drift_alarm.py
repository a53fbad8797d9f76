"""How often a drift alarm is false, and how soon a true one comes: the watch of aet beside what people use.

    python benchmarks/drift_alarm.py [--quick] [--seeds N] [--choose] [--json FILE]

Clean streams (200): rows of the training table that no model saw, in random order, five data sets, a new split and
model for every two streams; labels come for all rows. An alarm of any kind is false. Gas sensors: a model of batch 1
serves each later batch as a stream of its own, shuffled and in file order; rows until the first alarm, beside the fall
in accuracy that was really there. `--choose` is what settings were looked at on: simulated drifts of digits, breast
cancer and wine, no gas.

Beside `watch`, on the same rows and answers: ADWIN (river) on confidences; Kolmogorov-Smirnov on every column, the
newest 100 rows against the training rows, every 50 rows, at 0.05 a look with Bonferroni over columns; the population
stability index above 0.2 in any column, in the same windows, ten bins.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from common import Done, Record, parser, partial, write
from rich.console import Console
from rich.table import Table

import aet
from aet.demo.gas import TRAINING
from aet.demo.gas_files import read_batches
from aet.model import Model
from aet.monitoring.detectors import Detector
from aet.statistics import measured
from aet.watched import arrays, errors, read, watch

Floats = npt.NDArray[np.float64]
Figures = dict[str, float]

LEVEL, WINDOW, EVERY, PIECE = 0.05, 100, 50, 25
SPLITS, ORDERS = 20, 2
"""Of each of five data sets: 200 streams."""
SORTED = 4
"""Splits whose rows are also shown sorted by predicted class."""
LONG = 2000
"""Rows of a made stream."""
FALL = 10.0


def sets() -> dict[str, pd.DataFrame]:
    """Tables by name; the answer is `y`."""
    from sklearn import datasets

    found = {}
    for name, load in (
        ("digits", datasets.load_digits),
        ("cancer", datasets.load_breast_cancer),
        ("wine", datasets.load_wine),
    ):
        bunch = load()
        frame = pd.DataFrame(bunch.data, columns=[f"c{i}" for i in range(bunch.data.shape[1])])
        found[name] = frame.assign(y=[f"class {label}" for label in bunch.target])
    x, y = datasets.make_classification(
        40_000, 20, n_informative=8, n_redundant=4, n_classes=3, flip_y=0.1, random_state=0
    )
    made = pd.DataFrame(x, columns=[f"c{i}" for i in range(20)])
    found["made"] = made.assign(c0=np.where(x[:, 0] > 0.5, "high", np.where(x[:, 0] > -1, "middle", "low")), y=y)
    found["gas, batch 1"] = read_batches()[1].rename(columns={"gas": "y"})
    return found


def clean(frame: pd.DataFrame, name: str, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows to train on and rows to serve."""
    mixed = frame.sample(frac=1, random_state=seed).reset_index(drop=True)
    train = 600 if name == "made" else int(0.6 * len(mixed))
    return mixed[:train], mixed[train : train + LONG]


def trained(frame: pd.DataFrame, name: str, seed: int, quick: bool) -> Model:
    """A model of one table."""
    if name == "gas":
        config = {**TRAINING["config"], "train": {**TRAINING["config"]["train"], "rehearsals": 0}}
        if quick:
            config["train"]["epochs"] = 20
        return aet.train(frame, target="gas", seed=seed, groups=TRAINING["groups"], config=config)
    groups = {"x": [c for c in frame if c != "y"]} if "digits" in name else None
    if name.startswith("gas"):
        groups = TRAINING["groups"]
    train = {"epochs": 2 if quick else 4, "rehearsals": 0, "lr": 2e-3}
    config = {"model": {"dim": 32, "depth": 1}, "train": train}
    return aet.train(frame, target="y", seed=seed, groups=groups, config=config)


class Stream:
    """What every alarm reads of a stream of rows: columns, features, answers, errors."""

    def __init__(self, model: Model, frame: pd.DataFrame) -> None:
        checked = model.check(frame, need_target=True)
        batch = model.encode(checked.frame, target=True)
        assert batch.target is not None
        self.columns = arrays(measured(checked.frame, model.schema))
        self.features, self.p = read(model, batch)
        self.errors = errors(model, model.logits(batch), batch.target)

    def __len__(self) -> int:
        return len(self.errors)

    def shuffled(self, order: Any) -> Stream:
        """The same rows in another order."""
        made = object.__new__(Stream)
        made.columns = {name: column[order] for name, column in self.columns.items()}
        made.features = None if self.features is None else self.features[order]
        made.p, made.errors = self.p[order], self.errors[order]
        return made


def watched(model: Model, stream: Stream, seed: int, labels: bool = True) -> Figures:
    """Row (counted from 1) of the first alarm of each kind of the watch; infinite for none."""
    own, found = (
        watch(model, level=LEVEL, seed=seed),
        dict.fromkeys(("input", "prediction", "estimate", "error"), np.inf),
    )
    for start in range(0, len(stream), PIECE):
        piece = slice(start, start + PIECE)
        columns = {name: column[piece] for name, column in stream.columns.items()}
        features = None if stream.features is None else stream.features[piece]
        signals = own.see(columns, features, stream.p[piece])
        signals += own.label(stream.errors[piece]) if labels else []
        for signal in signals:
            found[signal.kind] = min(found[signal.kind], signal.row + 1 if signal.kind != "error" else start + PIECE)
    found["any"] = min(found.values())
    found["without labels"] = min(found[kind] for kind in ("input", "prediction", "estimate"))
    return {f"watch, {kind}": float(row) for kind, row in found.items()}


def peers(known: Floats, stream: Stream) -> Figures:
    """Row of the first alarm of each peer; `known` (n, J) are the training rows' columns of numbers."""
    adwin = Detector("adwin").see(stream.p.max(1))
    found = {"ADWIN on confidences": adwin[0] + 1 if adwin else np.inf, "KS, Bonferroni": np.inf, "PSI > 0.2": np.inf}
    rows, ordered = numeric(stream.columns), np.sort(known, 0)
    edges = [np.unique(np.quantile(column, np.linspace(0.1, 0.9, 9))) for column in known.T]
    for end in range(WINDOW, len(stream) + 1, EVERY):
        window = rows[end - WINDOW : end]
        if kolmogorov(ordered, window) <= LEVEL / known.shape[1]:
            found["KS, Bonferroni"] = min(found["KS, Bonferroni"], end)
        if max(map(stability, edges, known.T, window.T)) > 0.2:
            found["PSI > 0.2"] = min(found["PSI > 0.2"], end)
        if np.isfinite(found["KS, Bonferroni"]) and np.isfinite(found["PSI > 0.2"]):
            break
    return {name: float(row) for name, row in found.items()}


def numeric(columns: dict[str, Any]) -> Floats:
    """Columns of numbers (N, J)."""
    return np.stack([c.astype(float) for c in columns.values() if c.dtype != object and c.dtype.kind in "fi"], 1)


def kolmogorov(known: Floats, now: Floats) -> float:
    """Smallest p-value of two-sample Kolmogorov-Smirnov tests of the columns of sorted rows (n, J) and of (m, J)."""
    from scipy.stats import kstwo

    n, m, largest = len(known), len(now), 0.0
    for one, other in zip(known.T, np.sort(now, 0).T, strict=True):
        both = np.concatenate([one, other])
        gaps = np.searchsorted(one, both, "right") / n - np.searchsorted(other, both, "right") / m
        largest = max(largest, float(np.abs(gaps).max()))
    return float(kstwo.sf(largest, round(n * m / (n + m))))


def stability(edges: Floats, known: Floats, now: Floats) -> float:
    """Population stability index over bins of equal mass, half a row added to each."""
    bins = len(edges) + 1
    counts = [np.bincount(np.searchsorted(edges, part), minlength=bins) + 0.5 for part in (known, now)]
    before, after = (count / count.sum() for count in counts)
    return float(((after - before) * np.log(after / before)).sum())


def training_rows(model: Model, frame: pd.DataFrame) -> Floats:
    """What the peers compare with."""
    return numeric(arrays(measured(model.check(frame).frame, model.schema)))


def clean_split(name: str, frame: pd.DataFrame, seed: int, quick: bool) -> Figures:
    """First alarms on streams of one split."""
    known, rest = clean(frame, name, seed)
    model = trained(known, name, seed, quick)
    stream, out = Stream(model, rest), dict[str, float]()
    for order in range(ORDERS):
        mixed = stream.shuffled(np.random.default_rng([seed, order]).permutation(len(stream)))
        found = watched(model, mixed, seed=order) | peers(training_rows(model, known), mixed)
        out |= {f"{order} | {method}": row for method, row in found.items()}
    if seed < SORTED:
        by_class = np.argsort(stream.p.argmax(1), kind="stable")
        found = watched(model, stream.shuffled(by_class), seed=0)
        out |= {f"sorted | {method}": row for method, row in found.items()}
    return {**out, "rows": len(stream), "accuracy": 100 * (1 - float(stream.errors.mean()))}


def gas_batches(seed: int, quick: bool) -> Figures:
    """First alarms in each later batch, the fall in accuracy beside them."""
    batches = read_batches()
    model = trained(batches[1], "gas", seed, quick)
    held = model.known_statistics().held_out
    assert held is not None
    known, out = training_rows(model, batches[1]), dict[str, float]()
    for number, frame in batches.items():
        if number == 1:
            continue
        stream = Stream(model, frame)
        orders = {
            "file order": np.arange(len(stream)),
            "shuffled": np.random.default_rng(seed).permutation(len(stream)),
        }
        for order, places in orders.items():
            own = stream.shuffled(places)
            start = f"{order} | {number} | "
            out |= {start + method: row for method, row in (watched(model, own, seed) | peers(known, own)).items()}
            out[start + "fall"] = 100 * (held.accuracy - 1 + float(stream.errors.mean()))
            out[start + "fall in 100"] = 100 * (held.accuracy - 1 + float(own.errors[:100].mean()))
            out[start + "rows"] = len(stream)
    return out


def simulated(name: str, frame: pd.DataFrame, seed: int, quick: bool) -> Figures:
    """Where settings are chosen: rows until an alarm after half of a clean stream, under drifts of three columns."""
    known, rest = clean(frame, name, seed)
    model, out = trained(known, name, seed, quick), dict[str, float]()
    rng = np.random.default_rng(seed)
    columns = [c for c in known.columns if c != "y" and known[c].std() > 0]
    half = len(rest) // 2
    for size in (0.5, 1.0, 2.0):
        for kind in ("offset", "gain", "noise"):
            moved = rest.copy()
            chosen = rng.choice(columns, max(1, len(columns) // 3), replace=False)
            spread = known[chosen].std()
            part = moved.loc[moved.index[half:], chosen]
            new = {
                "offset": part + size * spread,
                "gain": part * (1 + size),
                "noise": part + spread.to_numpy() * size * rng.normal(size=part.shape),
            }
            moved.loc[moved.index[half:], chosen] = new[kind]
            stream = Stream(model, moved)
            fell = 100 * float(stream.errors[half:].mean() - stream.errors[:half].mean())
            found = watched(model, stream, seed)
            out |= {f"{kind} {size:g} | {method}": row - half for method, row in found.items()}
            out[f"{kind} {size:g} | fall"] = fell
    return out


def rates(found: dict[str, dict[str, list[float]]], stated: float) -> Table:
    """Share of clean streams that alarmed."""
    table = Table(title=f"False alarms on clean streams, in % (stated: at most {100 * stated:g})")
    methods = list(next(iter(found.values())))
    for heading in ("", *methods):
        table.add_column(heading)
    for name, own in found.items():
        table.add_row(f"{name} ({len(own[methods[0]])})", *(f"{100 * np.isfinite(own[m]).mean():.1f}" for m in methods))
    return table


def of_clean(done: Done, seeds: int, quick: bool) -> tuple[list[Record], list[Table]]:
    """The clean streams."""
    calm: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    ordered: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for name, frame in sets().items():
        for seed in range(2 if quick else SPLITS):
            figures = done.get(
                f"clean | {name} | {seed} | {quick}", lambda f=frame, n=name, s=seed: clean_split(n, f, s, quick)
            )
            for key, row in figures.items():
                order, _, method = key.partition(" | ")
                if method:
                    for group in (name, "all"):
                        (ordered if order == "sorted" else calm)[group][method].append(row)
    records = [
        Record(
            "drift_alarm",
            name,
            method,
            "false_alarms",
            100 * float(np.isfinite(rows).mean()),
            stream=stream,
            seeds=len(rows),
        )
        for stream, groups in (("clean", calm), ("sorted", ordered))
        for name, own in groups.items()
        for method, rows in own.items()
    ]
    for groups in (calm, ordered):
        groups["all"] = groups.pop("all")
    second = rates(ordered, LEVEL)
    second.title = "Alarms on the same rows sorted by predicted class, in %"
    return records, [rates(calm, LEVEL), second]


def of_gas(done: Done, seeds: int, quick: bool) -> tuple[list[Record], list[Table]]:
    """The gas sensors."""
    found: dict[tuple[str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for seed in range(1 if quick else seeds):
        for key, value in done.get(f"gas | {seed} | {quick}", lambda s=seed: gas_batches(s, quick)).items():
            order, number, method = key.split(" | ")
            found[order, number][method].append(value)
    tables, records = [], []
    for order in ("file order", "shuffled"):
        table = Table(title=f"Gas sensors, {order}: rows until the alarm (every seed; - none)")
        methods = [m for m in next(iter(found.values())) if m not in ("fall", "rows", "fall in 100")]
        for heading in ("batch", "fall, points", "in 100 rows", *methods):
            table.add_column(heading)
        for (own, number), figures in found.items():
            if own == order:
                cells = [" ".join("-" if np.isinf(r) else f"{r:.0f}" for r in figures[m]) for m in methods]
                falls = [" ".join(f"{f:.0f}" for f in figures[m]) for m in ("fall", "fall in 100")]
                table.add_row(number, *falls, *cells)
                for method in methods:
                    row = float(np.median(figures[method]))
                    named = {"stream": f"batch {number}, {order}", "seeds": len(figures[method])}
                    row = row if np.isfinite(row) else -1.0
                    records.append(Record("drift_alarm", "gas", method, "rows_until_alarm", row, **named))
        tables.append(table)
        for method in methods:
            fell = [
                r
                for (own, _), f in found.items()
                if own == order
                for r, d in zip(f[method], f["fall"], strict=True)
                if d >= FALL
            ]
            if fell:
                share = 100 * float((np.array(fell) <= 100).mean())
                records.append(
                    Record("drift_alarm", "gas", method, "alarm_within_100", share, stream=order, seeds=len(fell))
                )
    return records, tables


def of_choice(done: Done, seeds: int, quick: bool) -> Iterator[str]:
    """Lines of what settings are chosen on."""
    for name, frame in list(sets().items())[:3]:
        for seed in range(seeds):
            figures = done.get(
                f"choose | {name} | {seed} | {quick}", lambda n=name, f=frame, s=seed: simulated(n, f, s, quick)
            )
            for drift in sorted({key.partition(" | ")[0] for key in figures}):
                kinds = ("input", "prediction", "estimate", "error", "any")
                rows = [figures[f"{drift} | watch, {kind}"] for kind in kinds]
                said = " ".join("   -" if np.isinf(r) else f"{r:4.0f}" for r in rows)
                yield f"{name:8} {seed} {drift:12} fall {figures[f'{drift} | fall']:5.1f}   {said}"


def main() -> None:
    command = parser(__doc__)
    command.add_argument("--choose", action="store_true", help="simulated drifts of other data, to choose settings on")
    given = command.parse_args()
    torch.set_num_threads(1)
    done, console = Done(partial(given.json)), Console(width=200)
    if given.choose:
        for text in of_choice(done, given.seeds, given.quick):
            console.print(text, highlight=False)
        return
    records: list[Record] = []
    for part in (of_gas, of_clean):
        made, tables = part(done, given.seeds, given.quick)
        records += made
        for table in tables:
            console.print(table)
    write(records, given.json)


if __name__ == "__main__":
    main()
