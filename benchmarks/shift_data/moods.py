"""Moods of texts: trained on tweets, served on reviews of Amazon, of films, and on NYT sentences; nothing pretrained.

VADER's four sources (Hutto and Gilbert 2014), `vader_sentiment` in AET_DATA.
"""

from __future__ import annotations

from typing import Any

from text_data import sentiment

from shift_data import CORRELATED, DATA, Recipe, Shift, halves, spread

ROWS = 1500
"""Of each kind, evenly spaced."""
TRAINING: dict[str, Any] = {
    "kinds": {"text": "text"},
    "output": "label",
    "config": {
        "model": {"dim": 32, "depth": 1, "dropout": 0.2},
        "inputs": {"text": {"vocabulary": 2000, "max_pieces": 48}},
        "train": {"epochs": 8, "lr": 3e-3},
    },
}
STREAMS = {
    "own order": Recipe("as_filed", quick=True),
    "own order, reset each shift": Recipe("reset_each_shift + as_filed"),
    "mixed": Recipe("mixed"),
    "sorted by class": CORRELATED["sorted by class"],
    "Dirichlet 0.1": CORRELATED["Dirichlet 0.1"],
}


@DATA.register("tweets to reviews")
def moods(seed: int) -> Shift:
    parts = [(name, spread(sentiment(name), ROWS)) for name in ("amazon", "movies", "nyt")]
    served, oracle = halves(parts, seed)
    return Shift(sentiment("tweets"), "mood", TRAINING, served, oracle, STREAMS)
