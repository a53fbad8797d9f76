"""Texts of the benchmarks, read from the folder that AET_DATA names (or `../shared/data` beside a checkout)."""

from __future__ import annotations

import gzip
import json

import pandas as pd
from common import folder


def banking() -> tuple[pd.DataFrame, pd.DataFrame]:
    """BANKING77 (Casanueva et al. 2020, 2003.04807): training and test rows, columns text and intent."""
    where = folder("banking77")
    train, test = (
        pd.read_csv(where / f"{part}.csv").rename(columns={"category": "intent"}) for part in ("train", "test")
    )
    return train, test


def clinc() -> dict[str, pd.DataFrame]:
    """CLINC150 (Larson et al. 2019, D19-1131) by part: train, val, test and oos_train, oos_val, oos_test."""
    with gzip.open(folder("clinc150") / "data_full.json.gz", "rt", encoding="utf-8") as file:
        parts = json.load(file)
    return {name: pd.DataFrame(rows, columns=["text", "intent"]) for name, rows in parts.items()}


def sentiment(name: str) -> pd.DataFrame:
    """One of VADER's sources (Hutto and Gilbert 2014): "tweets", "amazon", "movies" or "nyt".

    Rows whose mean human score is at least half a point from 0, with `mood` positive or negative.
    """
    files = {
        "tweets": "tweets",
        "amazon": "amazonReviewSnippets",
        "movies": "movieReviewSnippets",
        "nyt": "nytEditorialSnippets",
    }
    path = folder("vader_sentiment") / f"{files[name]}_GroundTruth.txt.gz"
    rows = pd.read_csv(path, sep="\t", header=None, names=["id", "score", "text"], quoting=3)
    rows = rows[rows["score"].abs() >= 0.5].reset_index(drop=True)
    return pd.DataFrame({"text": rows["text"], "mood": rows["score"].gt(0).map({True: "positive", False: "negative"})})
