"""Gas sensors that age: train on batch 1, serve batches 2, 3, 4, 5, 6, 8, 9; the source, the peers, ours, the oracle.

    python benchmarks/gas.py [--quick] [--seeds N] [--json FILE]

Each batch starts from the source, its rows in a seeded random order ("shuffled") or as they lie in the file ("file
order", sorted by gas and so with correlated labels). Labels are asked among the first half, in four rounds, and
everything is scored on the second. "as served" is the whole batch, in chunks of 64 rows, each label 64 rows late, under
the default guard.

Peers with the same labelled rows: all weights fine-tuned, and the last layer alone. Peers without labels: input
moments (restandardise), activation alignment, TENT, label-mix correction. The oracle is the same network trained from
the start on all labelled rows of the first half.
"""

from __future__ import annotations

import copy
import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pandas as pd
import torch
from common import Record, arguments, in_rounds, write
from rich.console import Console
from rich.table import Table
from torch import nn

from aet.adaptation import METHODS
from aet.adaptation.replay import replay
from aet.attention.state import ElasticState, applied
from aet.batch import Batch
from aet.demo.gas import TRAINING
from aet.demo.gas_files import read_batches
from aet.model import Model
from aet.training.train import train

SERVED = (2, 3, 4, 5, 6, 8, 9)
LABELS, ROUNDS = (16, 48), 4
CHUNK = 64
FREE = ("restandardise", "align", "tent", "prior")

Figures = dict[tuple[str, str, str, str], float]
Values = dict[tuple[str, str], float]
"""Accuracy in points by (method, metric)."""


def accuracy(model: Model, rows: Batch, state: ElasticState | None = None) -> float:
    """Share of right answers in points, under a state."""
    assert rows.target is not None
    with applied(state):
        return 100 * float(model.output.scores(model.logits(rows), rows.target).mean())


def tuned(model: Model, rows: Batch, parameters: Callable[[Model], Iterable[nn.Parameter]], steps: int = 100) -> Model:
    """A copy with some of its weights trained on labelled rows: Adam at 1e-3, the peers' common setting."""
    model = copy.deepcopy(model).eval()
    chosen = list(parameters(model))
    optimiser = torch.optim.Adam(chosen, lr=1e-3)
    assert rows.target is not None
    for _ in range(steps):
        optimiser.zero_grad()
        model.output.loss(model(rows), rows.target).backward()
        optimiser.step()
    return model


def on_batch(model: Model, frame: pd.DataFrame, seed: int, peers: bool) -> Values:
    """All figures of one batch in one order, with the peers that take labels if asked for."""
    half = len(frame) // 2
    first, second = frame.iloc[:half], frame.iloc[half:]
    test = model.encode(model.check(second, need_target=True).frame, target=True)
    seen = model.encode(model.check(first, need_target=True).frame, target=True)
    target = model.schema.target
    found: Values = {("source", "accuracy"): accuracy(model, test)}

    for name in FREE:
        method = METHODS[name](model)
        for index in torch.arange(len(seen)).split(CHUNK):
            method(seen[index])
        right = [method(test[index]).argmax(-1) == test.target[index] for index in torch.arange(len(test)).split(CHUNK)]
        found[name, "accuracy"] = 100 * float(torch.cat(right).float().mean())

    for labels in LABELS:
        stream = model.stream(guard="earned", seed=seed)
        stream.predict(first)
        ids = in_rounds(stream, first[target].tolist(), labels, ROUNDS)
        proposal = accuracy(model, test, stream.state)
        found[f"aet, {labels} labels", "proposal"] = proposal
        found[f"aet, {labels} labels", "served"] = accuracy(model, test, stream.served_state)
        if not peers:
            continue
        random = seen[torch.from_numpy(np.random.default_rng(seed).permutation(half)[:labels])]
        asked = seen[torch.tensor(ids)]
        for sort, rows in (("random", random), ("the same", asked)):
            whole = tuned(model, rows, lambda m: m.parameters())
            last = tuned(model, rows, lambda m: m.output.parameters())
            found[f"fine-tuning, {labels} {sort} labels", "accuracy"] = accuracy(whole, test)
            found[f"last layer, {labels} {sort} labels", "accuracy"] = accuracy(last, test)

    free = model.stream(guard="earned", seed=seed)
    answers = [free.predict(second.iloc[i : i + CHUNK])["prediction"] for i in range(0, len(second), CHUNK)]
    served = 100 * float((pd.concat(answers).to_numpy() == second[target].to_numpy()).mean())
    found["aet, no labels", "served"] = served
    return found


def as_served(model: Model, frame: pd.DataFrame, labels: int, seed: int) -> Values:
    """The whole batch as a stream, with late labels and the default guard."""
    result = replay(model, [("batch", frame)], labels=labels, delay=64, seed=seed)
    means = result.scores.means()
    return {(f"whole batch, {labels} labels", name): 100 * float(means[name] or 0) for name in means}


def oracle(frame: pd.DataFrame, model: Model) -> float:
    """The same network, trained on the first half of the target; scored on the second."""
    half = len(frame) // 2
    first = frame.iloc[:half]
    common = first[model.schema.target].map(first[model.schema.target].value_counts()) > 1
    trained = train(first[common], model.schema.target, seed=model.config.seed, **TRAINING)
    test = frame.iloc[half:]
    test = test[test[model.schema.target].isin(trained.output.settings()["classes"])]
    missed = len(frame) - half - len(test)
    return 100 * trained.evaluate(test)["accuracy"] * len(test) / (len(test) + missed)


def one_seed(seed: int, quick: bool) -> tuple[Figures, dict[str, float]]:
    """Every figure by (order, batch, method, metric), and facts about the model."""
    torch.set_num_threads(1)
    batches = read_batches()
    started = time.perf_counter()
    model = train(batches[1], seed=seed, target="gas", **TRAINING)
    facts = {"seconds to train": time.perf_counter() - started, "state bytes": ElasticState.zeros(model).nbytes}
    figures: Figures = {}
    for number in SERVED:
        shuffled = batches[number].sample(frac=1, random_state=seed).reset_index(drop=True)
        for order, frame in (("shuffled", shuffled), ("file order", batches[number])):
            values = on_batch(model, frame, seed, peers=order == "shuffled")
            for labels in LABELS:
                values |= as_served(model, frame, labels, seed)
            if order == "shuffled" and not quick:
                values["oracle", "accuracy"] = oracle(frame, model)
            figures |= {(order, f"batch {number}", *names): value for names, value in values.items()}
        print(f"seed {seed}: batch {number} done", file=sys.stderr)
    return figures, facts


def records(runs: Sequence[tuple[Figures, dict[str, float]]]) -> list[Record]:
    """One record a batch and figure, and the mean over batches with its spread over seeds."""
    seeds, out = len(runs), []
    over: dict[tuple[str, str, str], list[list[float]]] = defaultdict(list)
    for order, batch, method, metric in runs[0][0]:
        values = [figures[order, batch, method, metric] for figures, _ in runs]
        out.append(Record("gas", order, method, metric, float(np.mean(values)), batch, float(np.std(values)), seeds))
        over[order, method, metric].append(values)
    for (order, method, metric), rows in over.items():
        by_seed = np.mean(rows, axis=0)
        mean, spread = float(by_seed.mean()), float(by_seed.std())
        out.append(Record("gas", order, method, metric, mean, "mean over batches", spread, seeds))
    for name in runs[0][1]:
        value = float(np.mean([facts[name] for _, facts in runs]))
        out.append(Record("gas", "model", "aet", name, value, seeds=seeds))
    return out


def show(all_records: Sequence[Record]) -> None:
    """A table an order: methods down, batches across."""
    console = Console(width=150)
    for order in ("shuffled", "file order"):
        chosen = [r for r in all_records if r.task == order]
        streams = list(dict.fromkeys(r.stream for r in chosen if r.stream))
        table = Table(title=f"gas sensors, {order}: accuracy in points (spread: standard deviation over seeds)")
        table.add_column("")
        for stream in streams:
            table.add_column((stream or "").replace("batch ", "b"), justify="right")
        for method, metric in dict.fromkeys((r.method, r.metric) for r in chosen):
            cells = {r.stream: r for r in chosen if (r.method, r.metric) == (method, metric)}
            values = [cells[stream] for stream in streams]
            shown = [f"{r.value:.1f}" for r in values[:-1]] + [f"{values[-1].value:.1f} ± {values[-1].spread:.1f}"]
            table.add_row(f"{method}: {metric}" if metric != "accuracy" else method, *shown)
        console.print(table)
    for r in all_records:
        if r.task == "model":
            console.print(f"{r.metric}: {r.value:,.1f}")


def main() -> None:
    options = arguments(__doc__)
    seeds = 1 if options.quick else options.seeds
    with ProcessPoolExecutor(max_workers=min(seeds, os.cpu_count() or 1), mp_context=get_context("spawn")) as pool:
        runs = list(pool.map(one_seed, range(seeds), [options.quick] * seeds))
    everything = records(runs)
    show(everything)
    write(everything, options.json)


if __name__ == "__main__":
    main()
