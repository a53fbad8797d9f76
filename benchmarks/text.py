"""Texts: intents, requests that belong to none, and moods that move on to another kind of text.

    python benchmarks/text.py [--quick] [--seeds N] [--json FILE] [--only PART]

banking77   77 intents of bank customers; accuracy on the published test rows
clinc150    150 intents of ten domains; accuracy in scope, and how well requests out of scope are told apart (AUROC) by
            each score of `aet.Scope`; the score that is shown as ours is the best on the validation rows
mood        positive or negative, on texts of another kind (text_mood.py): `auto` without labels, with 32 and with 128

Models are `aet.train` with the text backbone "minilm"; beside them a linear model on TF-IDF features and logistic
regression on the frozen network's mean states. Validation rows are drawn from the training rows. `--quick`: 1,500
training rows and 3 epochs, one seed: a look, not a result. With --json a stopped run goes on where it was.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import torch
from common import Done, Record, beside, parser, partial, summary, write
from rich.console import Console
from rich.table import Table
from text_data import banking, clinc, sentiment
from text_mood import ROWS, mood

import aet
from aet.knowledge import Sentences
from aet.scope import SCORES

Figures = dict[str, float]
QUICK_ROWS, QUICK_EPOCHS = 1500, 3
METRICS = {"minutes": "minutes", "AUROC": "auroc", "gap closed": "gap_closed", "harm": "harm"}
"""What is no accuracy, by a word in the figure's name."""
EPOCHS = {"banking77": 4, "clinc150": 3, "mood": 3}
TOLD: dict[str, Any] = {"kinds": {"text": "text"}, "output": "label", "progress": True}


def config(part: str, quick: bool) -> dict[str, Any]:
    """Settings of a training; rates after a look at validation rows of BANKING77 (docs/lab/text.md)."""
    epochs = QUICK_EPOCHS if quick else EPOCHS[part]
    train = {"epochs": epochs, "batch_size": 32, "lr": 0.001, "patience": epochs, "rehearsals": 0, "valid": 0.1}
    drift = (
        {} if part == "mood" else {"drift": 0.0}
    )  # hidden words cost a point where the test rows are like the training's
    switches = {"switches": {"linear_probe": {}}}
    return {
        "inputs": {"text": {"backbone": "minilm", "rate": 0.1, "max_pieces": 64}},
        "train": {**train, **drift, **switches},
    }


def thinned(frame: pd.DataFrame, quick: bool, seed: int) -> pd.DataFrame:
    """All rows, or some for a look."""
    return frame.sample(QUICK_ROWS, random_state=seed) if quick and len(frame) > QUICK_ROWS else frame


def trained(frame: pd.DataFrame, target: str, part: str, seed: int, quick: bool) -> tuple[aet.Model, float]:
    """A model and the minutes it took."""
    started = time.monotonic()
    model = aet.train(frame, target, seed=seed, config=config(part, quick), **TOLD)
    return model, (time.monotonic() - started) / 60


def accuracy(model: aet.Model, frame: pd.DataFrame, target: str) -> float:
    """In percent."""
    return 100 * float((model.predict(frame[["text"]])["prediction"].to_numpy() == frame[target].to_numpy()).mean())


def linear(train: pd.DataFrame, test: pd.DataFrame, target: str) -> float:
    """TF-IDF of words and characters and a linear support vector machine, in percent."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline, make_union
    from sklearn.svm import LinearSVC

    features = make_union(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True),
        TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True),
    )
    fitted = make_pipeline(features, LinearSVC()).fit(train["text"], train[target])
    return 100 * float(fitted.score(test["text"], test[target]))


def frozen(train: pd.DataFrame, test: pd.DataFrame, target: str) -> float:
    """Logistic regression on MiniLM's mean states, in percent."""
    from sklearn.linear_model import LogisticRegression

    embed = Sentences()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the solver may be scaled
        fitted = LogisticRegression(C=10, max_iter=1000).fit(embed(list(train["text"])).numpy(), train[target])
    return 100 * float(fitted.score(embed(list(test["text"])).numpy(), test[target]))


def peers(train: pd.DataFrame, test: pd.DataFrame, target: str) -> Figures:
    """Both of them."""
    return {"linear on TF-IDF": linear(train, test, target), "frozen MiniLM + LR": frozen(train, test, target)}


def banking_part(seed: int, quick: bool, done: Done) -> Figures:
    train, test = banking()
    train = thinned(train, quick, seed)
    model, minutes = trained(train, "intent", "banking77", seed, quick)
    return {"aet": accuracy(model, test, "intent"), "minutes": minutes, **peers(train, test, "intent")}


def clinc_part(seed: int, quick: bool, done: Done) -> Figures:
    from sklearn.metrics import roc_auc_score

    parts = clinc()
    train = thinned(parts["train"], quick, seed)
    model, minutes = trained(train, "intent", "clinc150", seed, quick)
    found = {"aet": accuracy(model, parts["test"], "intent"), "minutes": minutes}
    for name in SCORES:
        scope = aet.Scope(model, parts["val"], score=name)
        for split, known, strange in (("", "test", "oos_test"), (" on validation rows", "val", "oos_val")):
            scores = [scope.strangeness(parts[rows][["text"]]) for rows in (known, strange)]
            truth = np.repeat([0, 1], [len(s) for s in scores])
            found[f"AUROC {name}{split}"] = 100 * float(roc_auc_score(truth, np.concatenate(scores)))
    best = max(SCORES, key=lambda name: found[f"AUROC {name} on validation rows"])
    return {**found, "AUROC": found[f"AUROC {best}"], **peers(train, parts["test"], "intent")}


def mood_part(seed: int, quick: bool, done: Done) -> Figures:
    rows, training = thinned(sentiment("tweets"), quick, seed), {**TOLD, "config": config("mood", quick)}
    return mood(seed, rows, training, QUICK_ROWS // 3 if quick else ROWS, done, f"mood {seed} {training}")


PARTS: dict[str, Callable[[int, bool, Done], Figures]] = {
    "banking77": banking_part,
    "clinc150": clinc_part,
    "mood": mood_part,
}


def main() -> None:
    made = parser(__doc__, seeds=1)
    made.add_argument("--only", action="append", choices=list(PARTS), help="a part by name; may be given again")
    options = made.parse_args()
    torch.manual_seed(0)
    done, records = Done(partial(options.json)), []
    shown = Table("part", "figure", "mean", "± over seeds")
    for part in options.only or PARTS:
        runs = [
            done.get(
                f"{part} {seed} {config(part, options.quick)}", lambda p=part, s=seed: PARTS[p](s, options.quick, done)
            )  # type: ignore[misc]
            for seed in range(1 if options.quick else options.seeds)
        ]
        for name in runs[0]:
            mean, spread = summary([run[name] for run in runs])
            metric = next((metric for word, metric in METRICS.items() if word in name), "accuracy")
            records.append(Record("text", part, name, metric, mean, spread=spread, seeds=len(runs)))
            shown.add_row(part, name, f"{mean:.1f}", f"{spread:.1f}")
    Console(width=120).print(shown)
    write(beside(records, options.json), options.json)


if __name__ == "__main__":
    main()
