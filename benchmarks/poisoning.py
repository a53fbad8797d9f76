"""Poisoning: what one key that lies can do to its own owner's stream, with the labels that it is asked for and others.

    python benchmarks/poisoning.py [--quick] [--seeds N] [--json FILE]

The breast cancer table of scikit-learn, half to train, half served again and again in an order drawn anew, 64 rows at a
time, undrifted. After each 64 rows: "asked": 16 rows are asked and every label is the other class; "unasked": 16 labels
that nobody asked for, all wrong; "random": the same, said to have come at random (which over HTTP takes an admin).
"right": asked, and true. Accuracy of what is served after so many labels, and after one `reset`; the source beside it.
"""

from __future__ import annotations

import statistics

import numpy as np
import pandas as pd
from common import Record, arguments, write
from garbage import accuracy, table

import aet
from aet.adaptation import Stream

KINDS = ("right", "asked", "unasked", "random")
AFTER = (0, 16, 32, 64, 128, 256)
ROWS = 64


def lie(stream: Stream, answers: pd.DataFrame, truth: pd.Series, kind: str) -> None:
    """Sixteen labels."""
    known = dict(zip(answers["id"], truth, strict=True))
    ids = list(known)[:16] if kind in ("unasked", "random") else stream.ask(16, newest=ROWS)
    other = {"benign": "malignant", "malignant": "benign"}
    labels = [known[i] if kind == "right" else other[known[i]] for i in ids]
    stream.feedback(ids, labels, at_random=kind == "random")


def run(model: aet.Model, clean: pd.DataFrame, kind: str, seed: int) -> dict[int, float]:
    """Accuracy of what is served, by labels so far; -1: after a reset."""
    rng, stream, served = np.random.default_rng(seed), model.stream(seed=seed), {}
    while True:
        if stream.labels in AFTER:
            served[stream.labels] = accuracy(model, stream, clean)[0]
        if stream.labels >= AFTER[-1]:
            break
        rows = clean.iloc[rng.permutation(len(clean))[:ROWS]]
        lie(stream, stream.predict(rows.drop(columns="target")), rows["target"], kind)
    stream.reset()
    served[-1] = accuracy(model, stream, clean)[0]
    return served


def main() -> None:
    """The table."""
    options = arguments(__doc__)
    seeds = 1 if options.quick else options.seeds
    runs: dict[str, list[dict[int, float]]] = {kind: [] for kind in KINDS}
    for seed in range(seeds):
        train, clean = table(seed)
        model = aet.train(train, target="target", seed=seed, config={"train": {"epochs": 20}})
        for kind in KINDS:
            runs[kind].append(run(model, clean, kind, seed))
            print(seed, kind, {labels: round(value, 1) for labels, value in runs[kind][-1].items()}, flush=True)
    records = []
    print(f"\n{'labels':10}" + "".join(f"{labels if labels >= 0 else 'reset':>12}" for labels in (*AFTER, -1)))
    for kind in KINDS:
        cells = ""
        for labels in (*AFTER, -1):
            values = [found[labels] for found in runs[kind]]
            spread = statistics.stdev(values) if seeds > 1 else None
            after = "after reset" if labels < 0 else f"after {labels} labels"
            mean = statistics.mean(values)
            records.append(Record("poisoning", "breast cancer", kind, f"served {after}", mean, None, spread, seeds))
            cells += f"{mean:12.1f}"
        print(f"{kind:10}{cells}")
    write(records, options.json)


if __name__ == "__main__":
    main()
