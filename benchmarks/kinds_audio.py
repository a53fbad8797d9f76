"""Digits by voice: six speakers, each in turn unknown to the model, and a new speaker's 16 late labels.

    python benchmarks/kinds_audio.py [--quick] [--seeds N] [--json FILE]

Free Spoken Digit Dataset (`fsdd` in AET_DATA), 3,000 clips at 8 kHz. Trained on five speakers, the sixth is a stream in
random order, 50 clips at a time. Without labels all 500 clips are scored; with labels, 16 of the first 250 clips are
labelled once those were served, and the other 250, which come later, are scored; `propagate` over three draws.
`random split`: the official split, recordings 0-4 of each digit and speaker are the test.

`source` is the trained model. `propagate` is `model.stream(adapt="propagate")`: its proposal (guard "always"), which
without labels is that of `norm_align`, and what is served with the guard `earned` and unlabelled="always"; `auto` is
what the default stream serves. Beside them, on the same clips: logistic regression on mean and deviation of each band
(`linear`), and the trained model fine-tuned on the same 16 labels, whole or its last layer (of two rates the better on
the test, in its favour).
`throughput`: rows a second over those of a plain PyTorch model of the same layers.
Settings were chosen on jackson and yweweler, held out together (docs/lab/audio.md).
"""

from __future__ import annotations

import copy
import tarfile
import time
import warnings
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from common import Done, Record, arguments, folder, partial, summary, write
from rich.console import Console
from rich.table import Table
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

import aet
from aet.batch import Batch
from aet.cells.waveform import SoundWarning
from aet.model import Model

AUDIO = {"bands": 40, "windows": 4, "stem": 64, "seconds": 0.87}
TRAIN = {"epochs": 24, "batch_size": 50, "lr": 2e-3, "rehearsals": 0, "valid": 0.1}
LABELS, FIRST, AT_ONCE, DRAWS = 16, 250, 50, 3
RATES = (1e-3, 1e-4)
STEPS = 50


def clips() -> pd.DataFrame:
    """clip, digit, speaker, recording."""
    rows = []
    with tarfile.open(folder("fsdd") / "fsdd_recordings.tar.gz") as archive:
        for member in archive:
            if member.name.endswith(".wav") and (file := archive.extractfile(member)) is not None:
                digit, speaker, recording = Path(member.name).stem.split("_")
                cell = {"bytes": file.read(), "path": Path(member.name).name}
                rows.append({"clip": cell, "digit": digit, "speaker": speaker, "recording": int(recording)})
    return pd.DataFrame(rows).sort_values(["speaker", "digit", "recording"], ignore_index=True)


def trained(frame: pd.DataFrame, seed: int, epochs: int | None, kept: Path | None) -> Model:
    """Ours on these clips; taken from the folder `kept` where a stopped run left it."""
    if kept is not None and (kept / "schema.json").is_file():
        return aet.load(kept)
    train = TRAIN if epochs is None else {**TRAIN, "epochs": epochs}
    config = {"inputs": {"audio": AUDIO}, "train": train}
    return aet.train(frame[["clip", "digit"]], target="digit", seed=seed, config=config, out=kept)


def linear(model: Model, train: pd.DataFrame, test: pd.DataFrame) -> float:
    """Logistic regression on mean and deviation of each band."""

    def figures(frame: pd.DataFrame) -> np.ndarray:
        values = model.encode(frame).values["audio0"].numpy()  # (N, M, T)
        return np.concatenate([np.nanmean(values, 2), np.nanstd(values, 2)], 1)

    peer = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(figures(train), train["digit"])
    return 100 * float(np.mean(peer.predict(figures(test)) == test["digit"]))


def streamed(model: Model, frame: pd.DataFrame, **settings: Any) -> tuple[Any, np.ndarray]:
    """A stream that answered these clips, and which of its answers were right."""
    stream = model.stream(**settings)
    return stream, answered(stream, frame)


def answered(stream: Any, frame: pd.DataFrame) -> np.ndarray:
    """Which answers of a stream are right."""
    parts = [frame.iloc[start : start + AT_ONCE] for start in range(0, len(frame), AT_ONCE)]
    given = np.concatenate([stream.predict(part[["clip"]])["prediction"].astype(str) for part in parts])
    return given == frame["digit"].to_numpy()


def accuracy(logits: Tensor, target: Tensor) -> float:
    """In points."""
    return 100 * float((logits.argmax(-1) == target).float().mean())


def tuned(model: Model, known: Batch, test: Batch, whole: bool) -> float:
    """The model, or its last layer, trained on the labelled rows alone."""
    assert known.target is not None
    assert test.target is not None
    found = []
    for rate in RATES:
        own = copy.deepcopy(model).eval()
        weights = list((own if whole else own.output).parameters())
        optimiser = torch.optim.AdamW(weights, lr=rate)
        for _ in range(STEPS):
            optimiser.zero_grad()
            F.cross_entropy(own(known), known.target).backward()
            optimiser.step()
        found.append(accuracy(own.logits(test), test.target))
    return max(found)


def speaker(name: str, every: pd.DataFrame, seed: int, epochs: int | None, kept: Path | None) -> dict[str, float]:
    """One speaker left out."""
    train = every[every["speaker"] != name]
    new = every[every["speaker"] == name].sample(frac=1, random_state=seed).reset_index(drop=True)
    model = trained(train, seed, epochs, kept)
    found = {"source": 100 * model.evaluate(new[["clip", "digit"]])["accuracy"], "linear": linear(model, train, new)}
    found["seconds"] = model.report["seconds"]
    found["propagate, no label"] = 100 * streamed(model, new, **STREAMS["propagate, proposal"])[1].mean()
    first, later = new.iloc[:FIRST], new.iloc[FIRST:]
    test = model.encode(later, target=True)
    found["source, later half"] = accuracy(model.logits(test), test.target)
    for what, values in labelled(model, first, later, test, seed).items():
        found[what] = float(np.mean(values))
    return found


STREAMS: dict[str, dict[str, Any]] = {
    "propagate, proposal": {"adapt": "propagate", "guard": "always"},
    "propagate, served": {"adapt": "propagate", "unlabelled": "always"},
    "auto, served": {},
}
METHODS = (
    ("propagate, proposal", True, DRAWS),
    ("propagate, proposal", False, DRAWS),
    ("propagate, served", True, 1),
    ("auto, served", True, 1),
)
"""Stream, whether `ask` chooses the 16 (or they are drawn at random), and draws of them."""


def labelled(model: Model, first: pd.DataFrame, later: pd.DataFrame, test: Batch, seed: int) -> dict[str, list[float]]:
    """Accuracy on the later clips with 16 labels of the first, for each draw."""
    found: dict[str, list[float]] = {}
    asked: list[int] = []
    for method, asks, draws in METHODS:
        name = f"{method}, 16 {'asked' if asks else 'drawn'}"
        for draw in range(draws):
            stream, _ = streamed(model, first, **STREAMS[method], seed=100 * seed + draw)
            rng = np.random.default_rng(100 * seed + draw)
            chosen = stream.ask(LABELS) if asks else rng.permutation(FIRST)[:LABELS].tolist()
            stream.feedback(chosen, first["digit"].iloc[chosen].tolist())
            found.setdefault(name, []).append(100 * answered(stream, later).mean())
            asked = asked or chosen
    known = model.encode(first.iloc[asked], target=True)
    found["fine-tuned, 16 asked"] = [tuned(model, known, test, whole=True)]
    found["last layer, 16 asked"] = [tuned(model, known, test, whole=False)]
    return found


def official(every: pd.DataFrame, seed: int, epochs: int | None, kept: Path | None) -> dict[str, float]:
    """Recordings 0-4 are the test."""
    tests = every["recording"] < 5
    model = trained(every[~tests], seed, epochs, kept)
    test = every[tests].reset_index(drop=True)
    return {
        "source": 100 * model.evaluate(test[["clip", "digit"]])["accuracy"],
        "linear": linear(model, every[~tests], test),
        "seconds": model.report["seconds"],
    }


class Plain(nn.Module):
    """The same layers in plain PyTorch: convolutions, patches, a TransformerEncoder, additive pooling, a head."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        part, settings = model.inputs["audio0"], model.config.model
        self.windows, self.project = part.chosen.windows, copy.deepcopy(part.project)
        self.positions = nn.Parameter((part.pitch + part.time).detach().flatten(0, 1).clone())
        layer = nn.TransformerEncoderLayer(
            model.dim,
            settings.heads,
            round(model.dim * settings.expansion),
            settings.dropout,
            "gelu",
            batch_first=True,
            norm_first=True,
        )
        self.trunk = nn.TransformerEncoder(layer, model.depth, nn.LayerNorm(model.dim), enable_nested_tensor=False)
        self.key, self.query = nn.Linear(model.dim, model.dim), nn.Linear(model.dim, 1, bias=False)
        self.head = nn.Linear(model.dim, model.output.width)

    def forward(self, values: Tensor) -> Tensor:
        """Energies (B, M, T) -> logits."""
        real = ~values[:, 0].isnan()
        tokens = self.project(values.nan_to_num(0.0)[:, None]).flatten(2).transpose(1, 2) + self.positions
        gone = ~real.unflatten(1, (-1, self.windows)).any(2)
        last = self.trunk(tokens, src_key_padding_mask=gone)
        share = self.query(torch.tanh(self.key(last))).masked_fill(gone[..., None], -torch.inf).softmax(1)
        return self.head((share * last).sum(1))


def throughput(every: pd.DataFrame) -> dict[str, float]:
    """Rows a second of a training step and of answers, ours over plain; the median of turns taken alternately."""
    model = trained(every.iloc[::20], 0, 1, None)
    batch = model.encode(every.iloc[::47].reset_index(drop=True), target=True)[torch.arange(AT_ONCE)]
    plain, values = Plain(model), batch.values["audio0"]

    def step(module: nn.Module, given: Any) -> Callable[[], None]:
        optimiser = torch.optim.AdamW(module.parameters(), lr=1e-4)

        def once() -> None:
            module.train()
            optimiser.zero_grad()
            F.cross_entropy(module(given), batch.target).backward()
            optimiser.step()

        return once

    def answer(module: nn.Module, given: Any) -> Callable[[], None]:
        def once() -> None:
            module.eval()
            with torch.no_grad():
                module(given)

        return once

    found = {}
    for what, make in (("training", step), ("answers", answer)):
        pair = (make(model, batch), make(plain, values))
        ratios = []
        for turn in range(25):
            spent = []
            for one in pair if turn % 2 else pair[::-1]:
                started = time.process_time()
                one()
                spent.append(time.process_time() - started)
            ours, theirs = spent if turn % 2 else spent[::-1]
            ratios.append(theirs / ours)
        found[what] = float(np.median(ratios[3:]))
    parameters = [sum(p.numel() for p in module.parameters()) for module in (model, plain)]
    return {**found, "parameters": parameters[0], "parameters, plain": parameters[1]}


def folder_of(json: Path | None, name: str, seed: int, epochs: int | None) -> Path | None:
    """Where a trained model is kept, beside the JSON."""
    return json and json.parent / f"{json.stem}.models" / f"{name}_{seed}_{epochs or 'all'}"


def run(quick: bool = False, seeds: int = 1, json: Path | None = None) -> list[Record]:
    """All parts; finished ones are kept beside `json`."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", SoundWarning)
    every, done = clips(), Done(partial(json))
    epochs, seeds = (3, 1) if quick else (None, seeds)
    speakers = sorted(every["speaker"].unique())[: 2 if quick else None]
    mark = f"{AUDIO} {TRAIN} {epochs}"
    figures: dict[str, list[dict[str, float]]] = defaultdict(list)
    for seed in range(seeds):
        for name in speakers:
            kept = folder_of(json, name, seed, epochs)
            key = f"speaker {name} {seed} {mark}"
            part = done.get(key, lambda n=name, s=seed, k=kept: speaker(n, every, s, epochs, k))
            figures[name].append(part)
            Console(stderr=True).print(name, seed, {key: round(value, 1) for key, value in part.items()})
        kept = folder_of(json, "random", seed, epochs)
        found = done.get(f"random {seed} {mark}", lambda s=seed, k=kept: official(every, s, epochs, k))
        figures["random split"].append(found)
    figures["mean over speakers"] = [
        {key: float(np.mean([figures[name][seed][key] for name in speakers])) for key in figures[speakers[0]][seed]}
        for seed in range(seeds)
    ]
    records = []
    for task, parts in figures.items():
        seconds = summary([part["seconds"] for part in parts])[0]
        for method in (key for key in parts[0] if key != "seconds"):
            mean, spread = summary([part[method] for part in parts])
            records.append(Record("kinds_audio", task, method, "accuracy", mean, None, spread, len(parts), seconds))
    speed = done.get(f"throughput {mark}", lambda: throughput(every))
    records += [Record("kinds_audio", "throughput", "ours / plain", what, speed[what]) for what in speed]
    return records


def main() -> None:
    """A table of the records."""
    options = arguments(__doc__, seeds=1)
    records = run(options.quick, options.seeds, options.json)
    table = Table("task", "method", "", title="Digits by voice")
    for record in records:
        table.add_row(record.task, record.method, f"{record.value:.2f} {record.metric}")
    Console().print(table)
    write(records, options.json)


if __name__ == "__main__":
    main()
