"""Tables and settings that many tests share: small enough to train on in a fraction of a second."""

from __future__ import annotations

import numpy as np
import pandas as pd
from torch import Tensor

WORDS = ("red", "blue", "green", "dog", "cat", "tree", "runs", "sleeps", "today", "again")


def quick(epochs=2, **changes):
    """Settings of a tiny model; `changes` go to the section that knows them."""
    model = {"dim": 8, "depth": 1, "heads": 2, "dropout": 0.1, "wide": 0, "first_norm": True}
    train = {"epochs": epochs, "batch_size": 32, "lr": 3e-3, "rehearsals": 0}
    for name, value in changes.items():
        (model if name in ("dim", "depth", "heads", "expansion", "dropout", "attention", "norm") else train)[name] = (
            value
        )
    return {"model": model, "train": train}


def signs(rows=160, seed=0):
    """Two numbers and the sign of their sum."""
    x = np.random.default_rng(seed).normal(size=(rows, 2))
    return pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "y": np.where(x.sum(1) > 0, "plus", "minus")})


def shapes(rows=120, seed=0):
    """Images of 8 x 8 pixels, a bar that lies or stands, and which of the two it is."""
    rng = np.random.default_rng(seed)
    cells, names = np.empty(rows, dtype=object), []
    for row in range(rows):
        image = 0.1 * rng.random((8, 8))
        stands, place = bool(rng.integers(2)), int(rng.integers(1, 7))
        image[:, place] += 0.8 * stands
        image[place, :] += 0.8 * (not stands)
        cells[row] = image.astype(np.float32)
        names.append("stands" if stands else "lies")
    return pd.DataFrame({"picture": cells, "y": names})


def sentences(rows=160, seed=0):
    """Sentences of random words, some of them happy and the others sad by one word."""
    rng = np.random.default_rng(seed)
    moods = {"happy": ("lovely", "great"), "sad": ("awful", "dull")}
    texts, names = [], []
    for _ in range(rows):
        name = str(rng.choice(list(moods)))
        words = [*rng.choice(WORDS, 5), str(rng.choice(moods[name]))]
        texts.append(" ".join(rng.permutation(words)))
        names.append(name)
    return pd.DataFrame({"text": texts, "y": names})


def mixed(rows=200, seed=0):
    """Numbers, categories and texts, each with missing cells, and a class that two of them decide."""
    rng = np.random.default_rng(seed)
    number, category = rng.normal(size=rows), rng.choice(["north", "south", "east"], rows)
    frame = pd.DataFrame(
        {
            "number": number,
            "flat": 0.1,
            "category": category.astype(object),
            "text": [" ".join(rng.choice(WORDS, 4)) for _ in range(rows)],
            "y": np.where(number + (category == "north") > 0.3, "yes", "no"),
        }
    )
    for column in ("number", "category", "text"):
        frame.loc[rng.random(rows) < 0.08, column] = None
    return frame


def loose_tensors(module):
    """Names of tensors that are neither parameters nor buffers, which `.to(device)` would leave behind."""
    kept = {"_parameters": None, "_buffers": None, "_modules": None}
    held = [(name, value) for part in module.modules() for name, value in ({**vars(part), **kept}).items()]
    return [name for name, value in held if isinstance(value, Tensor)]
