"""The table of tags word by word: precision, recall, F1 and support of each, and their averages."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from aet.outputs.entities import f_score

FIGURES = ("precision", "recall", "f1")
AVERAGES = ("micro", "macro", "weighted", "micro_without_O")
OUTSIDE = "O"


def token_report(truth: npt.ArrayLike, guess: npt.ArrayLike, tags: Sequence[str]) -> pd.DataFrame:
    """One row a tag, then micro, macro and weighted averages over the tags that occur, "O" among them, and micro
    averages over the tags but "O".

    A word counts by itself, so a tag that is right inside a half-found entity counts too: the figures are higher than
    those of whole entities (`aet.outputs.entities`), and micro precision, recall and F1 are all the share of words that
    are right. Averages as in scikit-learn's `classification_report`; 0 where there is nothing to divide by.

    Args:
        truth: numbers of the words' true tags, (N,).
        guess: of those answered, (N,).
        tags: their names, (C,).

    >>> table = token_report([0, 0, 1, 1], [0, 1, 1, 1], ["O", "B-PER", "I-PER"])
    >>> table.loc[["B-PER", "micro"], ["precision", "support"]].round(3).to_numpy().tolist()
    [[0.667, 2.0], [0.75, 4.0]]
    """
    number = len(tags)
    pairs = np.asarray(truth, dtype=np.int64) * number + np.asarray(guess, dtype=np.int64)
    joint = np.bincount(pairs, minlength=number**2).reshape(number, number).astype(float)  # (C, C): true, answered
    hits, wanted, given = joint.diagonal(), joint.sum(1), joint.sum(0)
    table = np.stack([divided(hits, given), divided(hits, wanted), divided(2 * hits, given + wanted)], 1)
    total = wanted.sum()
    occurs = (given + wanted) > 0
    rows = {
        "micro": np.full(3, hits.sum() / max(total, 1)),
        "macro": table[occurs].mean(0) if occurs.any() else np.zeros(3),
        "weighted": (table * wanted[:, None]).sum(0) / max(total, 1),
    }
    inside = np.array([tag != OUTSIDE for tag in tags])
    found, named, due = (counts[inside].sum() for counts in (hits, given, wanted))
    rows["micro_without_O"] = np.array(list(f_score(found, named, due).values()))
    figures = np.concatenate([table, *(rows[name][None] for name in AVERAGES)])
    frame = pd.DataFrame(figures, index=[*tags, *AVERAGES], columns=list(FIGURES))
    return frame.assign(support=[*wanted, total, total, total, due])


def divided(above: npt.NDArray[np.float64], below: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """0 where there is nothing to divide by."""
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)
