"""Which rows are worth a label: `ask` beside random, entropy, margin, BADGE and CoreSet.

    python benchmarks/asking.py [--quick] [--seeds N] [--json FILE] [--only DATA]

The same proposal, `feedback` on the elastic state from the source, learns 16 labels at a time, 96 in all (at most half
of the rows at hand), of rows that one of them chose in the first half of a stream. After each round its accuracy on the
second half is taken, so that all are scored on the same rows, none of them asked.

    share   labels after which a mean curve first has the accuracy that random has with all of its labels, between
            rounds by a straight line, over those; "not reached" where it never has. The bar for `ask`: 60 %.

"Development" streams are those that `ask` was made on: USPS and MNIST each way, the sonars of a robot whose gain and
offset wander, and digits as eight groups of pixels that fade and grow noisy, both simulated. "Reported" are the gas
sensors' batches, each from the source; rows in a random order, 600 at most in either half. With --json what is finished
is kept, and a stopped run goes on.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from common import Done, Record, parser, partial, summary, write
from rich.console import Console
from rich.table import Table
from selection import SELECTIONS, Pool
from shift_data import DATA
from shift_models import cached
from shift_run import code_of

from aet.attention.state import applied
from aet.batch import Batch
from aet.demo.gas import TRAINING as GAS
from aet.demo.gas_files import read_batches
from aet.errors import DataError
from aet.model import Model
from aet.summaries import summaries

ROUND, MOST = 16, 96
LEARNING = {"steps": 40, "batch": 32}
"""Of `feedback`, for all alike: half the cost of its defaults."""
ROWS = 600
"""To ask among, and to score on, at most."""
METHODS = ("ask", *SELECTIONS)
GAS_BATCHES = (2, 3, 4, 5, 6, 8, 9)
WEAR = 0.4


@dataclass(frozen=True)
class Case:
    """A source, rows to ask among, rows to score on."""

    name: str
    model: Model
    weights: str
    asked: pd.DataFrame
    scored: pd.DataFrame

    @property
    def budget(self) -> int:
        """Labels in all."""
        return min(MOST, len(self.asked) // 2 // ROUND * ROUND)


def halved(frame: pd.DataFrame, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """In a random order, cut in two."""
    mixed = frame.sample(frac=1, random_state=seed).reset_index(drop=True)[: 2 * ROWS]
    return mixed.iloc[: len(mixed) // 2], mixed.iloc[len(mixed) // 2 :].reset_index(drop=True)


def digits(name: str) -> Callable[[int], Iterator[Case]]:
    """One way between USPS and MNIST."""

    def cases(seed: int) -> Iterator[Case]:
        shift = DATA[name](seed)
        model, weights = cached(shift.rows, shift.target, seed, shift.training)
        served = dict(shift.served)["target"]
        yield Case(name, model, weights, served[:ROWS], shift.oracle[-len(served) :][:ROWS].reset_index(drop=True))

    return cases


def robot(seed: int) -> Iterator[Case]:
    """The wall robot's sonars, each with a gain exp(0.4 n) and an offset of 0.4 n spreads, n normal."""
    shift = DATA["wall robot"](seed)
    model, weights = cached(shift.rows, shift.target, seed, shift.training)
    rows = pd.concat([*[frame for _, frame in shift.served], shift.oracle], ignore_index=True)
    sonars = [name for name in rows if name != shift.target]
    rng = np.random.default_rng([seed, 7])
    gain, offset = np.exp(WEAR * rng.normal(size=len(sonars))), WEAR * rng.normal(size=len(sonars))
    rows[sonars] = rows[sonars] * gain + offset * rows[sonars].std().to_numpy()
    yield Case("robot", model, weights, *halved(rows, seed))


def groups(seed: int) -> Iterator[Case]:
    """scikit-learn's digits, a line of pixels a group: contrast and brightness fade, noise grows."""
    from sklearn.datasets import load_digits

    frame = load_digits(as_frame=True).frame.astype({"target": str})
    pixels = [name for name in frame if name != "target"]
    lines = {f"line{i}": pixels[8 * i : 8 * i + 8] for i in range(8)}
    training = {"groups": lines, "config": {"model": {"dim": 48, "depth": 2}, "train": {"epochs": 30, "lr": 3e-3}}}
    mixed = frame.sample(frac=1, random_state=seed).reset_index(drop=True)
    model, weights = cached(mixed.iloc[:700], "target", seed, training)
    rows = mixed.iloc[700:].reset_index(drop=True)
    noise = np.random.default_rng([seed, 8]).normal(size=(len(rows), len(pixels)))
    rows[pixels] = 0.6 * rows[pixels] + 2.4 + 1.6 * noise
    yield Case("digits", model, weights, *halved(rows, seed))


def gas(seed: int) -> Iterator[Case]:
    """Batches of the gas sensors, rows in a random order."""
    batches = read_batches()
    model, weights = cached(batches[1], "gas", seed, GAS)
    for number in GAS_BATCHES:
        yield Case(f"gas, batch {number}", model, weights, *halved(batches[number], seed))


DEVELOPMENT = {
    "USPS to MNIST": digits("USPS to MNIST"),
    "MNIST to USPS": digits("MNIST to USPS"),
    "robot": robot,
    "digits": groups,
}
SOURCES = {**DEVELOPMENT, "gas": gas}


def accuracy(model: Model, rows: Batch) -> float:
    """Right answers in points, under the state applied."""
    assert rows.target is not None
    return 100 * float(model.output.scores(model.logits(rows), rows.target).mean())


def curve(case: Case, method: str, seed: int) -> dict[str, float]:
    """Accuracy of the proposal by number of labels."""
    model, target = case.model, case.model.schema.target
    test, pool = (
        model.encode(model.check(rows, need_target=True).frame, target=True) for rows in (case.scored, case.asked)
    )
    stream = model.stream(adapt="feedback", guard="always", seed=seed, **LEARNING)
    stream.predict(case.asked.drop(columns=target))
    labelled, rng = np.zeros(len(pool), dtype=bool), np.random.default_rng([seed, 9])
    found, started = {"0": accuracy(model, test)}, time.process_time()
    for labels in range(ROUND, case.budget + 1, ROUND):
        if method == "ask":
            chosen = np.array(stream.ask(ROUND))
        else:
            with applied(stream.state):
                summary_of, logits = summaries(model, pool)
            answers = model.output.probabilities(logits).double().numpy()  # type: ignore[operator]
            chosen = SELECTIONS[method](Pool(answers, summary_of.double().numpy(), labelled), ROUND, rng)
        labelled[chosen] = True
        # As `feedback` does, but in one block: the rows leave those kept, then train.
        stream.kept.take(chosen.tolist())
        stream.method.label(pool[torch.from_numpy(chosen)])
        with applied(stream.state):
            found[str(labels)] = accuracy(model, test)
    return {**found, "seconds": time.process_time() - started}


def reached(mean: Sequence[float], goal: float) -> float:
    """Labels, in rounds from 0 on, at which a curve first is at the goal; infinite if it never is.

    >>> reached([60.0, 70.0, 90.0], 80.0), reached([60.0, 70.0], 80.0), reached([60.0, 70.0], 50.0)
    (24.0, inf, 0.0)
    """
    for place, value in enumerate(mean):
        if value >= goal:
            if place == 0:
                return 0.0
            before = mean[place - 1]
            return ROUND * (place - 1 + (goal - before) / (value - before))
    return float("inf")


Curves = dict[tuple[str, str], list[list[float]]]
"""Accuracies by round, one list a seed, by stream and method."""


def records(found: Curves) -> list[Record]:
    """Mean accuracy after each round, and `share` of each stream and of the mean stream of either sort."""
    out = []
    streams = list(dict.fromkeys(name for name, _ in found))
    for name, method in found:
        runs = found[name, method]
        for place, values in enumerate(zip(*runs, strict=True)):
            mean, spread = summary(values)
            out.append(
                Record("asking", sort_of(name), method, f"{ROUND * place} labels", mean, name, spread, len(runs))
            )
    for sort, names in {s: [n for n in streams if sort_of(n) == s] for s in map(sort_of, streams)}.items():
        sets = {**{name: [name] for name in names}, f"{sort}, mean": [n for n in names if full(found, n)]}
        for title, chosen in sets.items():
            if not chosen:
                continue
            goal = mean_curve(found, chosen, "random")[-1]
            for method in METHODS:
                mean = mean_curve(found, chosen, method)
                share = 100 * reached(mean, goal) / (ROUND * (len(mean) - 1))
                seeds = len(found[chosen[0], method])
                if title.endswith("mean"):
                    for place, value in enumerate(mean):
                        out.append(Record("asking", sort, method, f"{ROUND * place} labels", value, title, None, seeds))
                # JSON has no infinity: a share that was never reached is written as 200.
                out.append(Record("asking", sort, method, "share", min(share, 200.0), title, None, seeds))
    return out


def sort_of(name: str) -> str:
    return "reported" if name.startswith("gas") else "development"


def full(found: Curves, name: str) -> bool:
    """Whether all rounds fitted into the stream."""
    return len(found[name, "random"][0]) == MOST // ROUND + 1


def mean_curve(found: Curves, names: Sequence[str], method: str) -> list[float]:
    """Mean over seeds and streams, by round."""
    return np.mean([run for name in names for run in found[name, method]], axis=0).tolist()


def show(made: Sequence[Record]) -> None:
    """A table a stream: methods down, labels across."""
    console = Console()
    for stream in dict.fromkeys(r.stream for r in made if r.metric == "share"):
        rows = [r for r in made if r.stream == stream]
        steps = list(dict.fromkeys(r.metric for r in rows if r.metric.endswith("labels")))
        table = Table("", *(s.removesuffix(" labels") for s in steps), "share", title=f"{rows[0].task}: {stream}")
        for method in METHODS:
            own = {r.metric: r for r in rows if r.method == method}
            share = own["share"].value
            shown = "not reached" if share > 100 else f"{share:.0f} %"
            table.add_row(method, *(f"{own[s].value:.1f}" for s in steps), shown)
        console.print(table)


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--only", action="append", choices=list(SOURCES), help="one of the sources; may be given again")
    options = made.parse_args()
    torch.set_num_threads(1)
    done, seeds = Done(partial(options.json)), range(1 if options.quick else options.seeds)
    code = code_of("aet.adaptation.methods.feedback")
    codes = {m: code + (code_of("aet.adaptation.ask") if m == "ask" else own_code()) for m in METHODS}
    found: Curves = {}
    for source in options.only or SOURCES:
        for seed in seeds:
            try:
                cases = list(SOURCES[source](seed))
            except DataError as error:
                print(f"{source} is left out: {error}")
                break
            for case in cases[:1] if options.quick else cases:
                for method in METHODS:
                    key = f"{case.name} {method} {seed} {case.weights} {codes[method]}"
                    figures = done.get(key, lambda c=case, m=method, s=seed: curve(c, m, s))  # type: ignore[misc]
                    values = [figures[str(n)] for n in range(0, case.budget + 1, ROUND)]
                    found.setdefault((case.name, method), []).append(values)
                    line = " ".join(f"{v:.1f}" for v in values)
                    print(f"seed {seed}, {case.name}, {method}: {line}", file=sys.stderr, flush=True)
    everything = records(found)
    write(everything, options.json)
    show(everything)


def own_code() -> str:
    """Of the peers."""
    return code_of("selection", ("selection",))


if __name__ == "__main__":
    main()
