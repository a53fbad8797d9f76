"""Moods that move on to another kind of text: from tweets to reviews of Amazon and of films, and to NYT sentences.

Of each kind up to `ROWS` rows are served in the files' order and up to `ROWS` others train the oracle. Labels are asked
in `ROUNDS` rounds over the first half of a stream and come a batch later; proposal, source and oracle are scored on its
second half, harm on all that was served.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import pandas as pd
from common import Done
from shift_models import cached
from text_data import sentiment

import aet
from aet.summaries import summaries
from aet.training.switches.linear_probe import fitted

KINDS = ("amazon", "movies", "nyt")
LABELS = (0, 32, 128)
ROWS, ROUNDS, BATCH = 1000, 4, 64
STRENGTH = 0.01
"""C of the logistic regression beside; not tuned."""
Figures = dict[str, float]


def streamed(model: aet.Model, rows: pd.DataFrame, labels: int, **settings: Any) -> Figures:
    """Percent right: the proposal on the second half, as served there, and what was served over all rows."""
    stream, right = model.stream(**settings), rows["mood"].to_numpy()
    classes, half = np.array(model.output.classes), len(rows) // 2
    served, proposed = [], []
    stream.watch = lambda checked, source, proposal, answers, serving: proposed.append(
        classes[proposal.argmax(-1).numpy()]
    )
    asks = {half * n // ROUNDS // BATCH * BATCH: labels // ROUNDS for n in range(1, ROUNDS + 1) if labels}
    waiting: list[Hashable] = []
    for start in range(0, len(rows), BATCH):
        block = rows.iloc[start : start + BATCH]
        served.append(stream.predict(block[["text"]])["prediction"].to_numpy())
        stream.feedback(waiting, [right[i] for i in waiting])  # type: ignore[call-overload]
        waiting = stream.ask(asks.get(start + BATCH, 0))
    good, told = np.concatenate(served) == right, np.concatenate(proposed) == right
    return {
        "proposal": 100 * float(told[half:].mean()),
        "served": 100 * float(good[half:].mean()),
        "served, whole": 100 * float(good.mean()),
    }


def split(name: str, seed: int, rows: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows to serve, in the file's order, and others for the oracle."""
    every = sentiment(name)
    half = every.sample(frac=0.5, random_state=seed)
    return every.drop(half.index).head(rows).reset_index(drop=True), half.head(rows).reset_index(drop=True)


def percent(model: aet.Model, frame: pd.DataFrame) -> np.ndarray:
    """100 where the answer is right, else 0."""
    return 100.0 * (model.predict(frame[["text"]])["prediction"].to_numpy() == frame["mood"].to_numpy())


def last_layer(model: aet.Model, served: pd.DataFrame, others: pd.DataFrame) -> Figures:
    """Logistic regression on the source's summaries of all the oracle's rows, on the second half."""
    (seen, _), (asked, _) = (
        summaries(model, model.encode(frame)) for frame in (others, served.iloc[len(served) // 2 :])
    )
    truth, right = (model.output.encode(frame) for frame in (others, served.iloc[len(served) // 2 :]))
    weight, bias = fitted(seen, truth, None, STRENGTH)
    return {
        "last layer on the oracle's rows": 100 * float(((asked @ weight.T + bias).argmax(1) == right).float().mean())
    }


def mood(seed: int, source: pd.DataFrame, training: dict[str, Any], rows: int, done: Done, key: str) -> Figures:
    """All figures; each is known in `done` by `key` and what it is of. Streams come first, oracles take longest."""
    found: Figures = {}
    parts = {name: split(name, seed, rows) for name in KINDS}

    def model_of(frame: pd.DataFrame) -> aet.Model:
        return cached(frame, "mood", seed, training)[0]

    def plain(served: pd.DataFrame) -> Figures:
        right = percent(model_of(source), served)
        return {"source": float(right[len(right) // 2 :].mean()), "source, whole": float(right.mean())}

    def ceiling(served: pd.DataFrame, others: pd.DataFrame) -> Figures:
        return {"oracle": float(percent(model_of(others), served.iloc[len(served) // 2 :]).mean())}

    for name, (served, _) in parts.items():
        known = done.get(f"{key} {name} {rows}", lambda s=served: plain(s))  # type: ignore[misc]
        found |= {f"{name}: {figure}": value for figure, value in known.items()}
        for labels in LABELS:
            seen = done.get(
                f"{key} {name} {rows} {labels}",
                lambda s=served, n=labels: streamed(model_of(source), s, n),  # type: ignore[misc]
            )
            found |= {f"{name}: {figure}, {labels} labels": value for figure, value in seen.items()}
            found[f"{name}: harm, {labels} labels"] = known["source, whole"] - seen["served, whole"]
    for name, (served, others) in parts.items():
        peer = done.get(
            f"{key} {name} {rows} last layer", lambda s=served, o=others: last_layer(model_of(source), s, o)
        )  # type: ignore[misc]
        found |= {f"{name}: {figure}": value for figure, value in peer.items()}
    for name, (served, others) in parts.items():
        best = done.get(f"{key} {name} {rows} oracle", lambda s=served, o=others: ceiling(s, o))  # type: ignore[misc]
        found[f"{name}: oracle"] = best["oracle"]
    for labels in LABELS:
        for figure in ("proposal", "served"):
            gaps = {name: found[f"{name}: oracle"] - found[f"{name}: source"] for name in KINDS}
            closed = [
                100 * (found[f"{name}: {figure}, {labels} labels"] - found[f"{name}: source"]) / gap
                for name, gap in gaps.items()
                if gap >= 5
            ]
            if closed:
                found[f"gap closed, {figure}, {labels} labels"] = float(np.clip(closed, -100, 100).mean())
    return found
