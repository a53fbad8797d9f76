"""One example a kind of output, for the contract tests: a new kind needs an entry here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from aet.cells.words import objects


@dataclass(frozen=True)
class Example:
    """Target columns, `frame(rows, seed)` of checked rows, rows with answers the kind cannot take (`wrong`), and rows
    from which nothing can be learned (`dull`).
    """

    targets: tuple[str, ...]
    frame: Callable[[int, int], pd.DataFrame]
    wrong: list[pd.DataFrame]
    dull: pd.DataFrame
    reach: float = 0.9
    """A mean score that answers fitted to the rows exceed."""


def labels(rows, seed):
    return pd.DataFrame({"y": np.random.default_rng(seed).choice(["cat", "dog", "eel"], rows, p=[0.6, 0.3, 0.1])})


def tags(rows, seed):
    rng = np.random.default_rng(seed)
    return pd.DataFrame({"warm": rng.integers(0, 2, rows), "wet": (rng.random(rows) < 0.3).astype(float)})


def prices(rows, seed):
    return pd.DataFrame({"price": np.random.default_rng(seed).normal(1e6, 2e3, rows)})


def readings(rows, seed):
    """A class and a number, each missing in some rows but never both."""
    rng = np.random.default_rng(seed)
    frame = pd.concat([labels(rows, seed), prices(rows, seed + 1)], axis=1)
    lacks = rng.integers(0, 8, rows)
    return frame.assign(y=frame["y"].where(lacks != 0, None), price=frame["price"].where(lacks != 1))


def logged(rows, seed):
    """Actions, what they earned, and how likely they were."""
    rng = np.random.default_rng(seed)
    action, chance = rng.choice(["left", "right"], rows), rng.uniform(0.2, 0.8, rows)
    return pd.DataFrame({"action": action, "reward": rng.normal(10, 3, rows), "chance": chance})


def entities(rows, seed):
    """Tags of sentences of 1 to 6 words, people and places among them."""
    rng = np.random.default_rng(seed)
    some = [["O"], ["B-PER"], ["B-PER", "I-PER"], ["B-LOC"], ["B-LOC", "I-LOC", "I-LOC"]]
    cells = [[tag for i in rng.integers(0, len(some), rng.integers(1, 4)) for tag in some[i]] for _ in range(rows)]
    return pd.DataFrame({"tags": objects(cells)})


def futures(rows, seed):
    """Four values, one of them missing in some rows."""
    rng = np.random.default_rng(seed)
    cells = rng.normal(300, 20, (rows, 4))
    cells[rng.random(rows) < 0.2, 1] = np.nan
    return pd.DataFrame({"next": objects(list(cells))})


def items(rows, seed):
    rng = np.random.default_rng(seed)
    return pd.DataFrame({"next": pd.Series(rng.choice(["a", "b", "c", "d", "7"], rows), dtype=object)})


def replies(rows, seed):
    """Texts of 1 to 4 words, with a character that few have."""
    rng = np.random.default_rng(seed)
    words = ["Save", "as", "new", "größer", "%(name)s", "名"]
    return pd.DataFrame({"said": [" ".join(rng.choice(words, rng.integers(1, 5))) for _ in range(rows)]})


EXAMPLES: dict[str, Example] = {
    "label": Example(
        ("y",),
        labels,
        [pd.DataFrame({"y": ["cat", "cow"]}), pd.DataFrame({"y": [None]}, dtype=object)],
        pd.DataFrame({"y": ["cat"] * 5}),
    ),
    "multilabel": Example(
        ("warm", "wet"),
        tags,
        [
            pd.DataFrame({"warm": [0, 2], "wet": [1, 1]}),
            pd.DataFrame({"warm": [1], "wet": [np.nan]}),
            pd.DataFrame({"warm": ["yes"], "wet": ["no"]}),
        ],
        pd.DataFrame({"warm": [0, 1, 0], "wet": [1, 1, 1]}),
    ),
    "number": Example(
        ("price",),
        prices,
        [pd.DataFrame({"price": [1.0, np.inf]}), pd.DataFrame({"price": ["dear"]}), pd.DataFrame({"price": [None]})],
        pd.DataFrame({"price": [0.1] * 7}),
    ),
    "several": Example(
        ("y", "price"),
        readings,
        [
            pd.DataFrame({"y": ["cow"], "price": [1.0]}),
            pd.DataFrame({"y": ["cat"], "price": [np.inf]}),
            pd.DataFrame({"y": [None], "price": [np.nan]}),
        ],
        pd.DataFrame({"y": ["cat", "dog"] * 4, "price": [0.1] * 8}),
    ),
    "policy": Example(
        ("action", "reward", "chance"),
        logged,
        [
            pd.DataFrame({"action": ["up"], "reward": [1.0], "chance": [0.5]}),
            pd.DataFrame({"action": ["left"], "reward": [np.nan], "chance": [0.5]}),
            pd.DataFrame({"action": ["left"], "reward": [1.0], "chance": [0.0]}),
            pd.DataFrame({"action": ["left"], "reward": ["much"], "chance": [0.5]}),
        ],
        pd.DataFrame({"action": ["left"] * 5, "reward": np.arange(5.0), "chance": [0.5] * 5}),
        reach=0.15,
    ),
    "tags": Example(
        ("tags",),
        entities,
        [
            pd.DataFrame({"tags": objects([["O"], ["O", "B-ORG"]])}),
            pd.DataFrame({"tags": objects([["NOUN"]])}),
            pd.DataFrame({"tags": objects([None])}),
            pd.DataFrame({"tags": objects([[]])}),
            pd.DataFrame({"tags": objects([["O"] * 129])}),
        ],
        pd.DataFrame({"tags": objects([["O", "O"], ["O"]])}),
    ),
    "forecast": Example(
        ("next",),
        futures,
        [
            pd.DataFrame({"next": objects([[1.0, 2.0, 3.0]])}),
            pd.DataFrame({"next": objects([[1.0, 2.0, 3.0, np.inf]])}),
            pd.DataFrame({"next": objects([[np.nan] * 4])}),
            pd.DataFrame({"next": objects([None])}),
            pd.DataFrame({"next": objects(["soon"])}),
        ],
        pd.DataFrame({"next": objects([np.full(4, 0.1)] * 5)}),
    ),
    "rank": Example(
        ("next",),
        items,
        [pd.DataFrame({"next": ["a", "unheard of"]}), pd.DataFrame({"next": [None]}, dtype=object)],
        pd.DataFrame({"next": ["a"] * 5}),
    ),
    "sequence": Example(
        ("said",),
        replies,
        [
            pd.DataFrame({"said": ["Save", None]}),
            pd.DataFrame({"said": ["  "]}),
            pd.DataFrame({"said": [3.5]}),
            pd.DataFrame({"said": ["Save as " * 200]}),
        ],
        pd.DataFrame({"said": ["Save"] * 5}),
    ),
}
