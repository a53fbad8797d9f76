"""A tagger of news that moves on: CoNLL-2003 to politics, science, music, literature, AI, and to WNUT-17's forums.

    AET_DATA=... python benchmarks/tag_shift.py [--quick] [--seeds N] [--json FILE] [--only TARGET]

Types differ, so spans of any type are tagged and scored: F1 of whole spans, in points. The tagger is that of tags.py
with nothing pretrained, trained on `SOURCE` sentences of the news. Sentences of a target's test file come in its order;
labelled sentences are asked in four rounds over the first half, and come a batch later. Source, oracle, proposal and
what `auto` served are scored on the second half, harm over the whole. The oracle is the same network trained on the
news and the target's train and dev files together: on the latter alone, 450 to 750 sentences, it may be below the
source. With --json a stopped run goes on where it was. Lab page: docs/lab/tags.md.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from common import Done, Record, beside, parser, partial, summary, write
from shift_models import cached
from tag_data import DOMAINS, crossner, untyped, wnut

import aet
from aet.outputs.entities import entity_figures

SOURCE, MOST, BATCH, ROUNDS = 1500, 600, 32, 4
"""Sentences of the news, of a target at most (served, or beside the news for the oracle), of a batch; rounds."""
LABELS = (0, 32, 128)
TARGETS = (*DOMAINS, "wnut17")
TRAINING: dict[str, Any] = {
    "config": {
        "model": {"dim": 64, "depth": 2, "dropout": 0.3},
        "train": {"epochs": 10, "batch_size": 16, "lr": 0.003, "drift": 2.0, "monitor": "metric", "rehearsals": 0},
        "inputs": {"words": {"vocabulary": 1500}},
    }
}
Figures = dict[str, float]


def rows_of(target: str, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Sentences to serve, in the file's order, and others for the oracle."""
    read = wnut if target == "wnut17" else lambda part: crossner(target, part)
    others = pd.concat([untyped(read(part)) for part in ("train", "dev")], ignore_index=True)
    return untyped(read("test")).head(MOST), others.sample(min(MOST, len(others)), random_state=seed)


def news(seed: int, quick: bool) -> pd.DataFrame:
    """Sentences of the source."""
    frame = untyped(crossner("conll2003", "train"))
    return frame.sample(400 if quick else SOURCE, random_state=seed).reset_index(drop=True)


def f1(truth: Sequence[list[str]], said: Sequence[list[str]]) -> float:
    """Of whole spans, in points."""
    return 100 * entity_figures(list(truth), list(said), typed=False)["f1"]


def streamed(model: aet.Model, rows: pd.DataFrame, labels: int, adapt: str = "auto") -> Figures:
    """F1 of the proposal and of what was served on the second half, and of what was served over all sentences."""
    stream, truth, half = model.stream(adapt=adapt), rows["tags"].tolist(), len(rows) // 2
    served: list[list[str]] = []
    proposed: list[list[str]] = []
    stream.watch = lambda checked, source, proposal, answers, serving: proposed.extend(
        model.output.answers(proposal)["prediction"]
    )
    asks = {half * n // ROUNDS // BATCH * BATCH: labels // ROUNDS for n in range(1, ROUNDS + 1) if labels}
    waiting: list[Hashable] = []
    for start in range(0, len(rows), BATCH):
        served += stream.predict(rows[["words"]].iloc[start : start + BATCH])["prediction"].tolist()
        stream.feedback(waiting, [truth[i] for i in waiting])  # type: ignore[call-overload]
        waiting = stream.ask(asks.get(start + BATCH, 0))
    return {
        "proposal": f1(truth[half:], proposed[half:]),
        "served": f1(truth[half:], served[half:]),
        "served, whole": f1(truth, served),
    }


def one_target(target: str, seed: int, quick: bool, done: Done) -> Figures:
    """All figures of one target; streams are known in `done` by their labels."""
    source, (rows, others) = news(seed, quick), rows_of(target, seed)
    training = (
        {"config": {**TRAINING["config"], "train": {**TRAINING["config"]["train"], "epochs": 4}}} if quick else TRAINING
    )
    half, truth, key = len(rows) // 2, rows["tags"].tolist(), f"{target} {seed} {len(source)} {training}"

    def ends() -> Figures:
        said = cached(source, "tags", seed, training)[0].predict(rows[["words"]])["prediction"].tolist()
        both = pd.concat([source, others], ignore_index=True)
        best = cached(both, "tags", seed, training)[0].predict(rows[["words"]].iloc[half:])["prediction"].tolist()
        return {
            "source": f1(truth[half:], said[half:]),
            "oracle": f1(truth[half:], best),
            "source, whole": f1(truth, said),
        }

    found = dict(done.get(key, ends))
    for labels in LABELS:
        seen = done.get(
            f"{key} {labels}",
            lambda n=labels: streamed(cached(source, "tags", seed, training)[0], rows, n),  # type: ignore[misc]
        )
        found |= {f"{figure}, {labels} labels": value for figure, value in seen.items()}
        found[f"harm, {labels} labels"] = found["source, whole"] - seen["served, whole"]
    return found


def main() -> None:
    """Print a table, a line a target."""
    made = parser(__doc__, seeds=1)
    made.add_argument("--only", action="append", choices=TARGETS, help="a target by name; may be given again")
    chosen = made.parse_args()
    torch.manual_seed(0)
    done, records, closed = Done(partial(chosen.json)), list[Record](), dict[str, list[float]]()
    shown = ("source", "oracle", *(f"{what}, {n} labels" for n in LABELS for what in ("proposal", "served", "harm")))
    print(f"{'':12}" + "".join(f"{name:>22}" for name in shown))
    for target in chosen.only or TARGETS:
        runs = [one_target(target, seed, chosen.quick, done) for seed in range(chosen.seeds)]
        cells = ""
        for name in shown:
            value, spread = summary([run[name] for run in runs])
            cells += f"{value:22.1f}"
            records.append(Record("tag_shift", target, name, "untyped_entity_f1", value, "test", spread, chosen.seeds))
        print(f"{target:12}{cells}")
        for run in runs:
            if (gap := run["oracle"] - run["source"]) >= 5:
                for name in (name for name in shown if name.startswith(("proposal", "served"))):
                    share = float(np.clip(100 * (run[name] - run["source"]) / gap, -100, 100))
                    closed.setdefault(name, []).append(share)
    for name, shares in closed.items():
        print(f"gap closed, {name}: {np.mean(shares):.0f} % over {len(shares)}")
        records.append(Record("tag_shift", "gap", name, "gap_closed", float(np.mean(shares)), seeds=chosen.seeds))
    write(beside(records, chosen.json), chosen.json)


if __name__ == "__main__":
    main()
