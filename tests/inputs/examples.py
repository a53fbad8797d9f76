"""One example a kind of input, for the contract tests: a new kind needs an entry here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from aet.cells.words import objects
from aet.schema import InputSpec

WORDS = ("red", "blue", "green", "dog", "cat", "tree", "runs", "sleeps")


@dataclass(frozen=True)
class Example:
    """Columns, `frame(rows, seed)` of checked rows as `aet.rows.check_rows` gives them, and rows that are `odd`:
    missing, unseen or extreme cells that the kind must bear.
    """

    specs: list[InputSpec]
    frame: Callable[[int, int], pd.DataFrame]
    odd: pd.DataFrame
    settings: dict[str, Any] = field(default_factory=dict)
    kind: str = ""  # that of the name it stands under, unless given


def numbers(rows, seed):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(rng.normal([0, 5, 100, -3], [1, 2, 30, 0.1], (rows, 4)), columns=["a", "b", "c", "d"])
    return frame.mask(rng.random(frame.shape) < 0.1)


def categories(rows, seed):
    rng = np.random.default_rng(seed)
    values = {"city": ["Oslo", "Rome", "Bern"], "size": ["1", "2", "30"]}
    frame = pd.DataFrame({name: rng.choice(some, rows) for name, some in values.items()}).astype(object)
    return frame.mask(rng.random(frame.shape) < 0.1, None)


def texts(rows, seed):
    rng = np.random.default_rng(seed)
    cells = [" ".join(rng.choice(WORDS, rng.integers(1, 6))) for _ in range(rows)]
    return pd.DataFrame({"text": pd.Series(cells, dtype=object)})


def images(rows, seed):
    rng = np.random.default_rng(seed)
    cells = np.empty(rows, dtype=object)
    for row in range(rows):
        cells[row] = (rng.random((6, 5, 3)) * 0.5).astype(np.float32)
    return pd.DataFrame({"picture": cells})


def odd_images():
    cells = np.empty(4, dtype=object)
    cells[:] = [
        np.zeros((6, 5), dtype=np.uint8),
        np.full((30, 40, 3), 255, dtype=np.uint8),
        np.ones((2, 3, 1), dtype=np.float32),
        np.full((6, 5, 4), 0.5, dtype=np.float64),
    ]
    return pd.DataFrame({"picture": cells})


def number_example(single=False, **settings):
    pairs = [InputSpec("left", "number", ("a", "b")), InputSpec("right", "number", ("c", "d"))]
    return Example(
        [InputSpec(name, "number", (name,)) for name in "abcd"] if single else pairs,
        numbers,
        pd.DataFrame(
            [[np.nan] * 4, [3.4e38, -3.4e38, 1e-300, 0.0], [np.nan, 1e30, np.nan, -1e30]], columns=["a", "b", "c", "d"]
        ),
        settings,
        "number",
    )


def sentences(rows, seed):
    rng = np.random.default_rng(seed)
    cells = [[str(w) for w in rng.choice([*WORDS, "Ann", "EU", "42"], rng.integers(1, 6))] for _ in range(rows)]
    return pd.DataFrame({"words": objects(cells)})


def sounds(rows, seed):
    rng = np.random.default_rng(seed)
    cells = []
    for _ in range(rows):
        at = np.arange(rng.integers(300, 1200)) / 4000
        wave = np.sin(2 * np.pi * rng.uniform(200, 1500) * at) + 0.3 * rng.normal(size=len(at))
        cells.append((4000, (0.3 * wave).astype(np.float32)))
    return pd.DataFrame({"clip": objects(cells)})


def odd_sounds():
    rng = np.random.default_rng(5)
    cells = [
        (4000, np.array([1.0, -1.0])),
        (8000, rng.normal(size=(900, 2)).clip(-1, 1)),
        (4000, (32767 * rng.uniform(-1, 1, 500)).astype(np.int16)),
        {"array": [0.0] * 300 + [1e-3] + [0.0] * 300, "sampling_rate": 2000},
        rng.normal(size=700),
    ]
    return pd.DataFrame({"clip": objects(cells)})


def stretches(rows, seed, series=1):
    """Waves on a slope, each with a stretch that is missing and some of them shorter."""
    rng = np.random.default_rng(seed)
    cells = []
    for _ in range(rows):
        t = np.arange(24)[:, None] + rng.integers(0, 8, series)
        x = rng.normal(50, 5) + 3 * np.sin(np.pi * t / 4) + 0.1 * t + rng.normal(0, 0.5, t.shape)
        x[rng.integers(0, 24)] = np.nan
        cells.append((x[:, 0] if series == 1 else x)[rng.integers(0, 6) :])
    return pd.DataFrame({"past": objects(cells)})


def series_example(series=1, **settings):
    def odd(*columns):
        return np.array(columns[0]) if series == 1 else np.stack([columns[0]] * series, 1)

    cells = [odd([np.nan] * 24), odd([7.0] * 24), odd([3e38, -3e38, *[50.0] * 22]), odd([51.0]), None]
    return Example(
        [InputSpec("past", "series", ("past",))],
        lambda rows, seed: stretches(rows, seed, series),
        pd.DataFrame({"past": objects([*cells, odd(np.linspace(0, 1, 90))])}),
        settings,
        "series",
    )


def histories(rows, seed):
    """Up to seven events: an item, most with a time, a price and a shelf."""
    rng = np.random.default_rng(seed)
    cells = []
    for _ in range(rows):
        times = np.sort(rng.integers(0, 10**6, rng.integers(0, 8))).astype(float)
        cells.append(
            [
                {
                    "item": int(rng.integers(12)),
                    "time": None if rng.random() < 0.1 else float(time),
                    **({"price": float(rng.normal(5, 2))} if rng.random() < 0.8 else {}),
                    "shelf": str(rng.choice(["north|top", "south", "top"])),
                }
                for time in times
            ]
        )
    return pd.DataFrame({"history": objects(cells)})


def odd_histories():
    cells = [
        [],
        [{"item": "unheard of", "time": 1e12, "price": 3e38, "shelf": "moon"}],
        [{"item": 3, "time": None}] * 40,
        [{"item": 1, "time": 0.0, "price": "dear"}, {"item": 1, "time": 0.0, "shelf": ["top", "south"]}],
    ]
    return pd.DataFrame({"history": objects(cells)})


ITEMS = [{"item": i, "title": f"The {w} of {WORDS[i % 3]}", "year": 1990 + i} for i, w in enumerate(WORDS * 2)]

EXAMPLES: dict[str, Example] = {
    "number": number_example(),
    "number, single columns": number_example(single=True),
    "number, standard": number_example(scaling="standard"),
    "number, quantile": number_example(scaling="quantile"),
    "number, piecewise": number_example(embedding="piecewise", bins=5),
    "number, periodic": number_example(embedding="periodic", bins=3),
    "number, pca": number_example(reduce="pca", components=1),
    "number, lda": number_example(reduce="lda", components=2, embedding="piecewise", scaling="quantile"),
    "category": Example(
        [InputSpec("city", "category", ("city",)), InputSpec("size", "category", ("size",))],
        categories,
        pd.DataFrame({"city": [None, "Atlantis", "Oslo"], "size": [None, "", "1.0"]}, dtype=object),
    ),
    "text": Example(
        [InputSpec("text", "text", ("text",))],
        texts,
        pd.DataFrame({"text": [None, "", "Ωmega 漢字 🦊", "red " * 500, "[PAD] [START] [UNK]"]}, dtype=object),
        {"vocabulary": 40},
    ),
    "words": Example(
        [InputSpec("words", "words", ("words",))],
        sentences,
        pd.DataFrame(
            {
                "words": objects(
                    [
                        [""],
                        ["Ωmega", "漢字", "🦊", "\ud83e", "\x00", "مرحبا"],
                        ["unheardof"] * 128,
                        ["[PAD]", "[START] red"],
                    ]
                )
            }
        ),
        {"vocabulary": 40},
    ),
    "image": Example([InputSpec("picture", "image", ("picture",))], images, odd_images(), {"patch": 2}),
    "audio": Example(
        [InputSpec("clip", "audio", ("clip",))],
        sounds,
        odd_sounds(),
        {"mels": 6, "bands": 4, "windows": 8, "stem": 2, "seconds": 0.3},
    ),
    "audio, deltas": Example(
        [InputSpec("clip", "audio", ("clip",))],
        sounds,
        odd_sounds(),
        {"mels": 4, "bands": 4, "windows": 8, "stem": 2, "seconds": 0.3, "deltas": True, "loudness": False},
        "audio",
    ),
    "series": series_example(),
    "series, side by side": series_example(2, tokens="variate"),
    "series, patches": series_example(tokens="patch", patch=5, stride=3, normalise="standard"),
    "series, as they are": series_example(normalise="none", level=False),
    "series, no level": series_example(level=False, length=30),
    "events": Example([InputSpec("history", "events", ("history",))], histories, odd_histories(), {"length": 6}),
    "events, with items": Example(
        [InputSpec("history", "events", ("history",))],
        histories,
        odd_histories(),
        {"length": 6, "items": ITEMS},
        "events",
    ),
}
