"""Garbage and poison: 1,000 bad batches into one stream, and what clean rows are answered afterwards.

    python benchmarks/garbage.py [--quick] [--seeds N] [--json FILE]

The breast cancer table of scikit-learn, half to train, half clean rows. Batches of 16 rows, in turn: noise of any
scale, constants, the largest and smallest numbers there are, mostly missing cells, one row sixteen times, and one of 64
distorted rows of which the model is least sure, sixteen times. "Wrong labels": after every 50th batch 8 rows are asked,
and half of their labels are wrong; 8 more that nobody asked for all are. Beside the bad stream runs another of the same
model, which must not change by a bit.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from common import Record, arguments, summary, write

import aet
from aet.adaptation import Stream
from aet.adaptation.base import RADIUS

ROWS = 16
METHODS = ("auto", "restandardise", "align", "tent", "prior")


def table(seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Training rows, clean rows."""
    from sklearn.datasets import load_breast_cancer

    frame = load_breast_cancer(as_frame=True).frame.sample(frac=1, random_state=seed).reset_index(drop=True)
    frame["target"] = np.where(frame["target"] == 1, "benign", "malignant")
    half = len(frame) // 2
    return frame.iloc[:half], frame.iloc[half:].reset_index(drop=True)


def bad(number: int, clean: pd.DataFrame, stream: Stream, rng: np.random.Generator) -> pd.DataFrame:
    """The next bad batch."""
    columns = [name for name in clean if name != "target"]
    shape, scale = (ROWS, len(columns)), clean[columns].std().to_numpy()
    kind = number % 6
    if kind == 0:
        x = rng.normal(size=shape) * scale * 10 ** rng.uniform(-2, 5)
    elif kind == 1:
        x = np.full(shape, rng.normal() * 1000)
    elif kind == 2:
        x = rng.choice([-1e308, 1e308, 3e38, 1e-300, 0.0], shape)
    elif kind == 3:
        x = np.where(rng.random(shape) < 0.8, np.nan, rng.normal(size=shape) * scale)
    elif kind == 4:
        x = np.tile(clean[columns].iloc[[rng.integers(len(clean))]].to_numpy(), (ROWS, 1))
    else:
        x = np.tile(worst(columns, clean, stream, rng), (ROWS, 1))
    return pd.DataFrame(x, columns=columns)


def worst(columns: list[str], clean: pd.DataFrame, stream: Stream, rng: np.random.Generator) -> np.ndarray:
    """Of 64 distorted rows the one of which the model is least sure: the strongest pull on what learns from it."""
    start = clean[columns].iloc[rng.integers(0, len(clean), 64)].to_numpy()
    tried = start + rng.normal(size=start.shape) * clean[columns].std().to_numpy() * rng.uniform(0, 5, (64, 1))
    confidence = stream.model.predict(pd.DataFrame(tried, columns=columns))["confidence"].to_numpy(float)
    found: np.ndarray = tried[[int(np.nanargmin(confidence))]]
    return found


def accuracy(model: aet.Model, stream: Stream, clean: pd.DataFrame) -> tuple[float, float]:
    """Served and proposal accuracy on the clean rows, as they would be answered by what stands now."""
    target = model.output.encode(clean[["target"]])
    batch = model.encode(clean)
    found = []
    for state, corrected in ((stream.served_state, stream.choice.corrected), (stream.state, lambda logits: logits)):
        with aet.attention.state.applied(state):
            found.append(100 * float(model.output.scores(corrected(model.logits(batch)), target).mean()))
    return found[0], found[1]


def poisoned(stream: Stream, clean: pd.DataFrame, rng: np.random.Generator) -> None:
    """Wrong labels: half of those asked, all of those not asked."""
    classes = np.array(["benign", "malignant"])
    answers = stream.predict(clean.drop(columns="target").iloc[:64])
    truth = dict(zip(answers["id"], clean["target"].iloc[:64], strict=True))
    asked = [i for i in stream.ask(8, newest=64) if i in truth]
    other = [i for i in truth if i not in asked][:8]
    flip = rng.random(len(asked)) < 0.5
    stream.feedback(
        asked, [classes[int((truth[i] == "malignant") ^ bool(f))] for i, f in zip(asked, flip, strict=True)]
    )
    stream.feedback(other, [classes[int(truth[i] == "benign")] for i in other])


def run(model: aet.Model, clean: pd.DataFrame, adapt: str, labels: bool, batches: int, seed: int) -> dict[str, float]:
    """One stream of bad batches beside one that must stay."""
    rng = np.random.default_rng(seed)
    stream, calm = model.stream(adapt=adapt, seed=seed), model.stream(adapt=adapt, seed=seed)
    calm.predict(clean.drop(columns="target"))
    before = {name: t.clone() for name, t in calm.state.items()}
    largest, harmed = 0.0, 0
    source = 100 * float((model.predict(clean)["prediction"] == clean["target"]).mean())
    for number in range(batches):
        answers = stream.predict(bad(number, clean, stream, rng))
        harmed += int((answers["served_by"] == "proposal").sum())
        largest = max(largest, *(float(t.abs().max()) for t in stream.state.values()))
        if labels and number % 50 == 49:
            poisoned(stream, clean, rng)
    served, proposal = accuracy(model, stream, clean)
    for start in range(0, len(clean), ROWS):
        stream.predict(clean.drop(columns="target").iloc[start : start + ROWS])
    return {
        "source": source,
        "served after": served,
        "proposal after": proposal,
        "proposal after the clean rows": accuracy(model, stream, clean)[1],
        "rows the proposal answered": harmed,
        "largest element of the state": largest,
        "other stream identical": float(all(torch.equal(t, before[name]) for name, t in calm.state.items())),
    }


def main() -> None:
    """The table."""
    options = arguments(__doc__)
    torch.set_num_threads(1)
    seeds, batches = (1, 60) if options.quick else (options.seeds, 1000)
    found: dict[str, list[dict[str, float]]] = {}
    for seed in range(seeds):
        train, clean = table(seed)
        config = {"seed": seed, "train": {"epochs": 20}, "model": {"dim": 32, "depth": 2}}
        model = aet.train(train, target="target", config=config)
        for adapt in METHODS:
            for labels in (False, True) if adapt == "auto" else (False,):
                name = f"{adapt}, wrong labels" if labels else adapt
                found.setdefault(name, []).append(run(model, clean, adapt, labels, batches, seed))
                print(f"  seed {seed} {name:20}", {k: round(v, 2) for k, v in found[name][-1].items()}, flush=True)
    records = [
        Record("garbage", "breast cancer", name, metric, mean, f"{batches} bad batches", spread, seeds)
        for name, runs in found.items()
        for metric in runs[0]
        for mean, spread in [summary([one[metric] for one in runs])]
    ]
    print(f"Trust region: {RADIUS:g}. Mean of {seeds} seeds:")
    for record in records:
        print(f"  {record.method:22} {record.metric:32} {record.value:8.2f}")
    write(records, options.json)


if __name__ == "__main__":
    main()
